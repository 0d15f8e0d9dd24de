"""``[deployment.sleep]``: how a deployment is put to sleep, and what that costs and saves."""

__all__ = ["SleepTable"]

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta, Struct

_Positive = Annotated[float, Meta(gt=0)]
_NotNegative = Annotated[float, Meta(ge=0)]


class SleepTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[deployment.sleep]``: without this table only local models ever sleep.

    ``hand`` names who does it, with its own ``options``; a ``local`` deployment has none, its
    process is ours. ``min_awake`` replicas of its model stay up. ``idle_s`` takes the place of
    ``[engines] idle_sleep_s``. ``idle_w`` and ``asleep_w`` is what it draws with nothing to do,
    awake and asleep; ``wake_s`` and ``wake_j`` what waking takes: believed until measured.
    ``answers_per_s`` is what one replica does in time (``None``: as its answers show).
    ``memory_bytes`` is what it takes of the memory of its ``device``.
    """

    hand: str | None = None
    options: Mapping[str, object] = {}
    idle_s: _Positive | None = None
    min_awake: Annotated[int, Meta(ge=0)] = 0
    warm_up: bool | None = None
    idle_w: _NotNegative | None = None
    asleep_w: _NotNegative | None = None
    wake_s: _NotNegative | None = None
    wake_j: _NotNegative | None = None
    answers_per_s: _Positive | None = None
    memory_bytes: Annotated[int, Meta(ge=1)] | None = None
