"""What ``metabolic doctor`` finds."""

__all__ = ["Finding", "Status"]

from typing import Literal

from msgspec import Struct

Status = Literal["ok", "note", "warn", "fail"]


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that was looked at; ``fail`` is what keeps the gateway from running.

    ``why`` is the kind of obstacle of a sensor that does not read (``permission``, ``driver``,
    ``library``, ``container``, ``platform``, …), ``remedy`` what to do about it.
    """

    area: str
    name: str
    value: str
    status: Status = "ok"
    why: str | None = None
    remedy: str = ""
