"""``[admin]``: where operators look in."""

__all__ = ["AdminTable"]

from typing import Annotated

from msgspec import Meta, Struct


class AdminTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[admin]``: the page at ``/ui``, and a listener of its own for it.

    Without a ``port`` the page is on the gateway's listener, and only where that is on loopback
    and no ``[[key]]`` is: one client must not see what another asks for. With one, the page,
    health, metrics and receipts are there, under the same keys; 0 takes a free port. A ``host``
    outside loopback needs at least one ``[[key]]``.
    """

    page: bool = True
    host: Annotated[str, Meta(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] | None = None
