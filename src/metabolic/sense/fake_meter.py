"""A meter that reads what a test says."""

__all__ = ["FakeMeter", "Options", "create"]

from msgspec import Struct

from metabolic.core.hardware import Origin
from metabolic.core.ports import Domain, MeterReading


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``step_j`` is what each reading adds on its own."""

    name: str = "cpu"
    domain: Domain = "package"
    step_j: float = 0.0
    origin: Origin = "measured"


class FakeMeter:
    """A counter that tests move with ``spend``, lose with ``lost`` and reset with ``reset``.

    Every process has its CPU seconds, but those in ``gone``.
    """

    def __init__(self, options: Options) -> None:
        """Start at zero."""
        self.name = options.name
        self.domain: Domain = options.domain
        self._options = options
        self._energy_j = self._idle_j = self._busy_s = 0.0
        self._epoch = 0
        self._cpu_s: dict[int, float] = {}
        self.at_s = 0.0
        self.lost = False
        self.gone: set[int] = set()
        self.reads = 0
        self.closed = False

    def spend(
        self, energy_j: float, *, idle_j: float = 0.0, other_cpu_s: float = 0.0, **cpu_s: float
    ) -> None:
        """Advance the counter; ``p7=1.5`` adds 1.5 CPU seconds to process 7."""
        self._energy_j += energy_j
        self._idle_j += idle_j
        self._busy_s += other_cpu_s + sum(cpu_s.values())
        for key, seconds in cpu_s.items():
            pid = int(key.removeprefix("p"))
            self._cpu_s[pid] = self._cpu_s.get(pid, 0.0) + seconds

    def reset(self) -> None:
        """Lose the counter: what follows cannot be compared with what was."""
        self._energy_j = 0.0
        self._epoch += 1

    def read(self, pids: tuple[int, ...]) -> MeterReading | None:
        """Return the counter as it was set."""
        self.reads += 1
        if self.lost:
            return None
        self._energy_j += self._options.step_j
        return MeterReading(
            at_s=self.at_s,
            energy_j=self._energy_j,
            origin=self._options.origin,
            busy_cpu_s=self._busy_s,
            idle_j=self._idle_j,
            epoch_id=self._epoch,
            cpu_s=tuple((p, self._cpu_s.get(p, 0.0)) for p in pids if p not in self.gone),
        )

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True


def create(options: Options) -> FakeMeter:
    """Return the meter."""
    return FakeMeter(options)
