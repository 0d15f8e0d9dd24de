"""What of a machine can be limited: power caps and clocks, and what was there before."""

__all__ = ["Knob", "Saved"]

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct


class Knob(Struct, frozen=True, kw_only=True):
    """One limit that can be set, in ``unit`` (``W`` or ``MHz``).

    ``now`` is the limit in force, ``None``: there is none (clocks that nobody locked). ``full`` is
    what shares are taken of, ``least`` and ``most`` what the device allows. ``device`` is named
    as sensors name it.
    """

    id: str
    device: str
    unit: Literal["W", "MHz"]
    now: float | None
    full: float
    least: float
    most: float


class Saved(Struct, frozen=True, kw_only=True):
    """How a limit stood before it was touched: what puts it back, also after a crash.

    ``kind`` and ``options`` make the actuator again. ``value`` is what was in force (``None``:
    nothing was), ``set_to`` what was set last: where the limit is neither, somebody else has set
    it since, and it is left alone.
    """

    kind: str
    options: Mapping[str, object]
    knob: str
    value: float | None
    set_to: float | None = None
