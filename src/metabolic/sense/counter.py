"""From what meters show to joules and watts: counters that wrap, power that is summed up."""

__all__ = ["IdleEnergy", "Integral", "MeanPower", "Unwrapped"]

from metabolic.account.energy import counter_delta
from metabolic.core.hardware import Reading

_POWER_OVER_S = 0.5
"""Power is the mean over at least this long: counters step every 1 to 100 ms."""

_LONGEST_GAP_S = 10.0
"""Between two readings of power further apart than this nothing is assumed."""

_IDLE_BUSY_RATIO = 0.05
_IDLE_OVER_S = 0.5


class Unwrapped:
    """A counter of joules, made to begin at zero and never to wrap.

    A step that is neither forward nor a wrap begins a new epoch: the energy in between is unknown.
    ``limit_w`` is more than the device can draw, ``range_j`` where the counter wraps (``None``:
    not known, so that a step back is a loss).
    """

    __slots__ = ("_last", "_limit_w", "_range_j", "epoch", "total_j")

    def __init__(self, *, range_j: float | None, limit_w: float) -> None:
        """Start at zero."""
        self._range_j = range_j
        self._limit_w = limit_w
        self._last: tuple[float, float] | None = None
        self.total_j = 0.0
        self.epoch = 0

    def advance(self, value_j: float, now_s: float) -> None:
        """Take what the counter shows now."""
        last, self._last = self._last, (now_s, value_j)
        if last is None:
            return
        delta = counter_delta(
            last[1],
            value_j,
            range_j=self._range_j,
            seconds=now_s - last[0],
            limit_w=self._limit_w,
        )
        if delta is None:
            self.epoch += 1
        else:
            self.total_j += delta


class Integral:
    """Joules from readings of power, by trapezoids; a gap of 10 s begins a new epoch."""

    __slots__ = ("_last", "epoch", "total_j")

    def __init__(self) -> None:
        """Start at zero."""
        self._last: tuple[float, float] | None = None
        self.total_j = 0.0
        self.epoch = 0

    def advance(self, watts: float, now_s: float) -> None:
        """Take the power now."""
        last, self._last = self._last, (now_s, watts)
        if last is None:
            return
        seconds = now_s - last[0]
        if 0 <= seconds <= _LONGEST_GAP_S:
            self.total_j += (watts + last[1]) / 2 * seconds
        else:
            self.epoch += 1


class MeanPower:
    """The power that follows from a counter, over half a second or more."""

    __slots__ = ("_power", "_since", "_source")

    def __init__(self, source: str) -> None:
        """Know nothing yet; ``source`` is what the power is read off."""
        self._source = source
        self._since: tuple[float, float, int] | None = None
        self._power: Reading | None = None

    def advance(self, now_s: float, total_j: float, *, epoch: int) -> Reading | None:
        """Take the counter now and return the power; ``None`` until it is known."""
        since = self._since
        if since is None or since[2] != epoch or now_s < since[0]:
            self._since, self._power = (now_s, total_j, epoch), None
        elif now_s - since[0] >= _POWER_OVER_S:
            watts = (total_j - since[1]) / (now_s - since[0])
            self._power = Reading(value=watts, origin="derived", source=self._source)
            self._since = (now_s, total_j, epoch)
        return self._power

    def forget(self) -> None:
        """Begin anew after a reading that failed."""
        self._since = self._power = None


class IdleEnergy:
    """What of a counter the machine would have drawn idle, and the idle power, which is learned.

    It is the least power seen in a window in which the device was almost idle. A minimum over all
    windows would be wrong on a device that is busy from the start, so until an idle window has
    been seen it is unknown.
    """

    __slots__ = ("_last", "_learns", "total_j", "watts")

    def __init__(self, watts: float | None) -> None:
        """Start at zero; ``watts`` is the idle power where it is known."""
        self.watts = watts
        self._learns = watts is None
        self.total_j = 0.0
        self._last: tuple[float, float, int] | None = None

    def advance(
        self, now_s: float, energy_j: float, *, epoch: int, busy_ratio: float | None
    ) -> None:
        """Take the counter, and how busy the device was since the last time (``None``: unknown)."""
        last = self._last
        if last is None or last[2] != epoch or now_s <= last[0]:
            self._last = (now_s, energy_j, epoch)
            return
        seconds, joules = now_s - last[0], energy_j - last[1]
        was_idle = busy_ratio is not None and busy_ratio < _IDLE_BUSY_RATIO
        if self._learns and was_idle and seconds >= _IDLE_OVER_S:
            watts = joules / seconds
            self.watts = watts if self.watts is None else min(self.watts, watts)
        if self.watts is not None:
            self.total_j += min(self.watts * seconds, joules)
        self._last = (now_s, energy_j, epoch)
