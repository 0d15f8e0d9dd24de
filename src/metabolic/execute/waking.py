"""What waking takes, as measured: seconds, and the joules above what the device draws asleep.

A start is a window of its own: the device's meter is read when it begins and when it is up. Of a
processor's joules it gets its share of the busy CPU seconds, as a process that was born in the
window; a GPU's are its own only if nobody else was answered on it meanwhile, and are not counted
otherwise. Unknown stays unknown; nothing is ever taken to be free. What a GPU draws with nothing
to do is learned likewise, from windows in which nobody was answered.
"""

__all__ = ["Read", "Sample", "Standing", "Wake", "WakeMeter", "Wakes"]

from collections.abc import Callable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from metabolic.core.fleet import State
from metabolic.core.hardware import Origin
from metabolic.core.ports import MeterReading

_LEAST_SHARE_S = 0.05
"""Busy CPU seconds below which a share of them says nothing."""

_FORGET = 0.1


class Sample(Struct, frozen=True, kw_only=True):
    """A meter read for a deployment; ``calls`` counts those that ever began on it."""

    reading: MeterReading
    in_flight: int
    calls: int


Read = Callable[[str, int | None], Sample | None]
"""Reads the meter of a deployment, with the CPU seconds of a process; ``None``: there is none."""


class Wake(Struct, frozen=True, kw_only=True):
    """What waking one deployment takes: the mean of its starts, the last one half of it.

    ``joules`` ``None`` is unknown; ``starts`` is how many were timed.
    """

    deployment: str
    seconds: float
    joules: float | None = None
    origin: Origin | None = None
    starts: int = 1


class Standing(Struct, frozen=True, kw_only=True):
    """What a deployment's device draws with nothing to do, awake and asleep, as measured."""

    idle_w: float | None = None
    asleep_w: float | None = None


class WakeMeter:
    """Measures the joules of starts."""

    def __init__(self, read: Read) -> None:
        """Take what reads meters; it is called when a start begins and when it ends."""
        self._read = read
        self._began: dict[str, Sample | None] = {}

    def began(self, deployment: str) -> None:
        """Note that a start begins."""
        self._began[deployment] = self._read(deployment, None)

    def ended(
        self, deployment: str, *, pid: int | None, asleep_w: float | None
    ) -> tuple[float, Origin] | None:
        """Return the joules of the start that ends now, and where they come from."""
        before = self._began.pop(deployment, None)
        if before is None:
            return None
        after = self._read(deployment, pid)
        if after is None or after.reading.epoch_id != before.reading.epoch_id:
            return None
        above_j = _above_j(before.reading, after.reading, asleep_w)
        if above_j < 0.0:
            return None
        cpu_s = None if pid is None else dict(after.reading.cpu_s).get(pid)
        if cpu_s is not None and after.reading.busy_cpu_s is not None:
            return _share(before, after, above_j, cpu_s)
        alone = not before.in_flight and not after.in_flight and before.calls == after.calls
        return (above_j, after.reading.origin) if alone else None


def _above_j(before: MeterReading, after: MeterReading, asleep_w: float | None) -> float:
    """Return what was drawn above idle, or above sleep; without either, all of it."""
    drawn_j = after.energy_j - before.energy_j
    if before.idle_j is not None and after.idle_j is not None:
        return max(0.0, drawn_j - (after.idle_j - before.idle_j))
    return drawn_j - min(max(0.0, drawn_j), (asleep_w or 0.0) * (after.at_s - before.at_s))


def _share(
    before: Sample, after: Sample, above_j: float, cpu_s: float
) -> tuple[float, Origin] | None:
    """Return a process's share of the processor's joules."""
    busy_s = (after.reading.busy_cpu_s or 0.0) - (before.reading.busy_cpu_s or 0.0)
    if busy_s < _LEAST_SHARE_S:
        return None
    modelled = after.reading.origin == "modelled"
    return above_j * min(1.0, cpu_s / busy_s), "modelled" if modelled else "derived"


class Wakes:
    """What is known of every deployment's waking."""

    def __init__(self) -> None:
        """Know nothing."""
        self._known: dict[str, Wake] = {}
        self._standing: dict[str, Standing] = {}

    def woke(
        self, deployment: str, seconds: float, joules: tuple[float, Origin] | None = None
    ) -> Wake:
        """Take a start into account."""
        old = self._known.get(deployment)
        energy_j, origin = joules if joules is not None else (None, None)
        if old is not None:
            if energy_j is None:
                energy_j, origin = old.joules, old.origin
            elif old.joules is not None:
                energy_j = (old.joules + energy_j) / 2
            seconds = (old.seconds + seconds) / 2
        new = Wake(
            deployment=deployment,
            seconds=seconds,
            joules=energy_j,
            origin=origin,
            starts=1 if old is None else old.starts + 1,
        )
        self._known[deployment] = new
        return new

    def stands(self, deployment: str, watts: float, state: State) -> None:
        """Take into account what its device drew while nobody was answered in this state."""
        old = self._standing.get(deployment, Standing())
        if state == "warm":
            self._standing[deployment] = replace(old, idle_w=_mean(old.idle_w, watts))
        elif state == "asleep":
            self._standing[deployment] = replace(old, asleep_w=_mean(old.asleep_w, watts))

    def of(self, deployment: str) -> Wake | None:
        """Return what waking it takes; ``None``: it was never seen to."""
        return self._known.get(deployment)

    def standing(self, deployment: str) -> Standing:
        """Return what it draws with nothing to do, as far as that is known."""
        return self._standing.get(deployment, Standing())

    def known(self) -> Mapping[str, Wake]:
        """Return every deployment that was seen to wake."""
        return dict(self._known)

    def state(self) -> tuple[Wake, ...]:
        """Return what is to be remembered."""
        return tuple(self._known[name] for name in sorted(self._known))

    def restore(self, state: tuple[Wake, ...]) -> None:
        """Take up what was known before; what was measured since stands."""
        for one in state:
            self._known.setdefault(one.deployment, one)


def _mean(old: float | None, new: float) -> float:
    """Return a moving mean."""
    return new if old is None else old + _FORGET * (new - old)
