"""A counter and a clock that a benchmark moves, and the product's own meter over both."""

__all__ = ["Clock", "Counter", "Rig"]

from collections.abc import Mapping

from metabolic.account.energy import counter_delta
from metabolic.core.fleet import Deployment
from metabolic.core.ports import Domain, MeterReading
from metabolic.core.receipt import Settlement, Window
from metabolic.core.request import Usage
from metabolic.execute.meter import Options
from metabolic.execute.meters import Meters, Source

UNIT_J = 2.0**-14
"""What the counters count in: the energy unit of most processors' RAPL."""

_LIMIT_W = 1e9


class Clock:
    """Time that stands still until it is set."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.at_s = 0.0

    def now_s(self) -> float:
        """Return the time."""
        return self.at_s

    def monotonic_s(self) -> float:
        """Return the time."""
        return self.at_s

    async def sleep(self, seconds: float) -> None:
        """Do not wait: a benchmark moves the clock itself."""
        del seconds


class Counter:
    """An energy counter that wraps, can be lost and begun anew, read as RAPL's is."""

    def __init__(
        self,
        name: str,
        *,
        domain: Domain,
        clock: Clock,
        range_units: int | None = None,
        knows_idle: bool = True,
    ) -> None:
        """Count from zero; ``range_units`` is where it wraps, in units (``None``: never)."""
        self.name = name
        self.domain: Domain = domain
        self._clock = clock
        self._range = range_units
        self._raw = self._epoch = 0
        self._last: tuple[int, float] | None = None
        self._total_j = self._idle_j = self._busy_s = 0.0
        self._knows_idle = knows_idle
        self._cpu_s: dict[int, float] = {}
        self.lost = False

    def spend(
        self,
        units: int,
        *,
        idle_units: int = 0,
        busy_s: float = 0.0,
        cpu_s: Mapping[int, float] | None = None,
    ) -> None:
        """Advance the counter, of which ``idle_units`` would have been drawn idle."""
        self._raw += units
        if self._range is not None:
            self._raw %= self._range
        self._idle_j += idle_units * UNIT_J
        self._busy_s += busy_s
        for pid, seconds in (cpu_s or {}).items():
            self._cpu_s[pid] = self._cpu_s.get(pid, 0.0) + seconds

    def reset(self) -> None:
        """Lose the count: what follows cannot be compared with what was."""
        self._raw, self._last, self._epoch = 0, None, self._epoch + 1

    def read(self, pids: tuple[int, ...]) -> MeterReading | None:
        """Return the joules so far; ``None`` while lost."""
        if self.lost:
            return None
        at_s = self._clock.at_s
        if self._last is not None:
            range_j = None if self._range is None else self._range * UNIT_J
            step_j = counter_delta(
                self._last[0] * UNIT_J,
                self._raw * UNIT_J,
                range_j=range_j,
                seconds=max(at_s - self._last[1], 1e-3),
                limit_w=_LIMIT_W,
            )
            if step_j is None:
                self._epoch += 1
            else:
                self._total_j += step_j
        self._last = (self._raw, at_s)
        gpu = self.domain == "gpu"
        return MeterReading(
            at_s=at_s,
            energy_j=self._total_j,
            origin="measured",
            busy_cpu_s=None if gpu else self._busy_s,
            idle_j=self._idle_j if self._knows_idle else None,
            epoch_id=self._epoch,
            cpu_s=() if gpu else tuple((pid, self._cpu_s.get(pid, 0.0)) for pid in pids),
        )

    def close(self) -> None:
        """Nothing is open."""


class Rig:
    """Counters, the product's meters over them, and what these say."""

    def __init__(
        self,
        counters: tuple[Counter, ...],
        fleet: Mapping[str, Deployment],
        clock: Clock,
        *,
        longest_s: float = 15.0,
    ) -> None:
        """Make meters and read them for the first time; longer windows are gaps."""
        self.clock = clock
        self.counters = counters
        self.windows: list[Window] = []
        self.settled: list[Settlement] = []
        self.meters = Meters(
            tuple(Source(meter=one) for one in counters),
            clock=clock,
            settled=self.settled.append,
            closed=self.windows.append,
            options=Options(longest_s=longest_s),
            fleet=fleet,
        )
        self.meters.start()

    def began(self, call: str, deployment: str, pid: int | None, prompt_tokens: float) -> None:
        """Begin a call now."""
        self.meters.began(call, pid, deployment, prompt_tokens)

    def ended(self, call: str, usage: Usage | None, first_s: float | None) -> None:
        """End a call now."""
        self.meters.ended(call, usage, first_s)

    def charged(self) -> dict[str, tuple[float, float]]:
        """Return by call the joules of all windows so far, and the idle ones among them."""
        found: dict[str, tuple[float, float]] = {}
        for window in self.windows:
            for share in window.shares:
                energy_j, idle_j = found.get(share.call, (0.0, 0.0))
                found[share.call] = (energy_j + share.energy_j, idle_j + share.idle_j)
        return found
