"""``[capacity]``: how engines are asked for their load, and how much each may work on."""

__all__ = ["CapacityTable"]

from typing import Annotated

from msgspec import Meta, Struct

_Positive = Annotated[float, Meta(gt=0)]


class CapacityTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[capacity]``: off, everything is let through and nobody is asked.

    ``scrape_period_s``: how often local engines, servers and pools are asked for their load, and
    ``probe_period_s`` how often servers and pools whether they are well; 0 never asks. ``queue``
    calls
    may wait for one deployment, ``queue_wait_s`` long. ``start_concurrency`` is what a gate opens
    with, ``max_concurrency`` what it never passes (``None``: the deployment's slots).
    ``slow_ratio``: an answer whose tokens take longer than so many times those of a lone answer
    lowers the limit.
    """

    enabled: bool = True
    scrape_period_s: Annotated[float, Meta(ge=0, le=3600)] = 1.0
    probe_period_s: Annotated[float, Meta(ge=0, le=3600)] = 5.0
    queue: Annotated[int, Meta(ge=0)] = 256
    queue_wait_s: _Positive = 120.0
    start_concurrency: Annotated[int, Meta(ge=1)] | None = None
    max_concurrency: Annotated[int, Meta(ge=1)] | None = None
    slow_ratio: Annotated[float, Meta(gt=1)] = 3.0
