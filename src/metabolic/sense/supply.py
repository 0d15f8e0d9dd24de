"""What a device tells of its energy at one moment, and the meter that counts from it.

Where there is a counter it is counted (*measured*); where there is only power, power is summed up
(*derived*, with its bounds). A counter that stands still for five seconds while the device draws
power is dead, and power is taken from then on, in a new epoch. A device asleep draws nothing that
it could tell, so its counter stands.
Source: AMD's accumulators have been seen to freeze (rocm_smi_lib 180) and to go back (amdsmi 115);
a card's counter that stays 0 is recorded for the Arc B580 on Linux 6.16.
"""

__all__ = ["Missing", "Named", "Supplied", "Supply", "SupplyMeter", "named"]

from collections.abc import Callable
from typing import Protocol, TypeVar

from msgspec import Struct

from metabolic.account.energy import bounds_of
from metabolic.core.hardware import Origin
from metabolic.core.obstacle import Obstacle
from metabolic.core.ports import Domain, MeterReading
from metabolic.sense.counter import IdleEnergy, Integral, Unwrapped
from metabolic.sense.cputime import BusyCpu, ProcessCpu

_DEAD_AFTER_S = 5.0
_ALIVE_W = 5.0
"""At 5 W a counter with steps of a joule moves many times in five seconds."""

_IDLE_UNKNOWN_LOW_RATIO = 0.5


class Supply(Struct, frozen=True, kw_only=True):
    """One moment: the counter and the power as shown, how busy the device is, is it asleep.

    ``high_ratio`` is how much more than shown may be drawn, where not all of it is measured.
    """

    counter_j: float | None = None
    power_w: float | None = None
    busy_ratio: float | None = None
    asleep: bool = False
    high_ratio: float = 1.0


class Supplied(Protocol):
    """A device that tells its supply."""

    def supply(self, now_s: float) -> Supply | None:
        """Return what it tells now; ``None`` when it cannot be read."""
        ...

    def obstacles(self) -> tuple[Obstacle, ...]:
        """Return why it cannot."""
        ...

    def close(self) -> None:
        """Close all files."""
        ...


class Missing:
    """Stands in for a device that is not there."""

    def __init__(self, device: str) -> None:
        """Remember what is missing."""
        self.name = device

    def supply(self, now_s: float) -> Supply | None:
        """Return nothing."""
        del now_s

    def obstacles(self) -> tuple[Obstacle, ...]:
        """Return why."""
        return (Obstacle(kind="absent", what=f"there is no {self.name} here"),)

    def close(self) -> None:
        """Nothing is open."""


class Named(Supplied, Protocol):
    """A device with a name."""

    name: str


D = TypeVar("D", bound=Named)


def named(name: str, devices: tuple[D, ...]) -> D | Missing:
    """Return the device of that name, and close the others."""
    found: D | Missing = Missing(name)
    for device in devices:
        if device.name == name:
            found = device
        else:
            device.close()
    return found


class SupplyMeter:
    """Counts the joules of one device."""

    def __init__(  # noqa: PLR0913 - keyword-only
        self,
        device: Supplied,
        *,
        name: str,
        domain: Domain,
        limit_w: float,
        idle_w: float | None,
        clock: Callable[[], float],
        root: str | None = None,
    ) -> None:
        """Count nothing yet; ``limit_w`` is more than the device can draw.

        ``root`` is given where the joules hold the processor's: CPU seconds are then told too,
        and idle is when neither the processor nor the device works.
        """
        self.name = name
        self.domain: Domain = domain
        self._device = device
        self._clock = clock
        self._counter = Unwrapped(range_j=None, limit_w=limit_w)
        self._integral = Integral()
        self._moved: tuple[float, float] | None = None
        self._dead = False
        self._counts = True
        self._stretch = (True, 0)
        self._epoch = 0
        self._idle = IdleEnergy(idle_w)
        self._cpu = None if root is None else (BusyCpu(root), ProcessCpu(root))
        self._cpu_last: tuple[float, float] | None = None

    def read(self, pids: tuple[int, ...]) -> MeterReading | None:
        """Return the counter now; ``None`` while it cannot be read.

        Processes have a part in it only where it holds the processor's joules.
        """
        now_s = self._clock()
        supply = self._device.supply(now_s)
        if supply is None:
            return None
        if not self._advance(supply, now_s):
            return None
        return self._reading(supply, now_s, pids)

    def obstacles(self) -> tuple[Obstacle, ...]:
        """Return why it cannot be read."""
        return self._device.obstacles()

    def close(self) -> None:
        """Close all files."""
        self._device.close()
        if self._cpu is not None:
            self._cpu[0].close()

    def _advance(self, supply: Supply, now_s: float) -> bool:
        """Take counter and power; false when there is neither."""
        if supply.asleep:
            self._integral.advance(0.0, now_s)
            return True
        counter_j, power_w = supply.counter_j, supply.power_w
        if power_w is not None:
            self._integral.advance(power_w, now_s)
        if counter_j is not None:
            self._counter.advance(counter_j, now_s)
            self._watch(counter_j, power_w, now_s)
        self._counts = counter_j is not None and not self._dead
        return self._counts or power_w is not None

    def _watch(self, counter_j: float, power_w: float | None, now_s: float) -> None:
        """Declare a counter dead that stands while the device draws power."""
        if self._moved is None or self._moved[0] != counter_j:
            self._moved = (counter_j, now_s)
        elif power_w is not None and power_w >= _ALIVE_W:
            self._dead = self._dead or now_s - self._moved[1] >= _DEAD_AFTER_S

    def _reading(self, supply: Supply, now_s: float, pids: tuple[int, ...]) -> MeterReading:
        """Return the sum as a reading; a new epoch when it is another sum than before."""
        origin: Origin = "measured" if self._counts else "derived"
        source = self._counter if self._counts else self._integral
        if self._stretch != (stretch := (self._counts, source.epoch)):
            self._stretch, self._epoch = stretch, self._epoch + 1
        busy_s, busy = self._busy(supply, now_s)
        self._idle.advance(now_s, source.total_j, epoch=self._epoch, busy_ratio=busy)
        known = self._idle.watts is not None
        low, high = bounds_of(origin)
        return MeterReading(
            at_s=now_s,
            energy_j=source.total_j,
            origin=origin,
            low_ratio=low if known else min(low, _IDLE_UNKNOWN_LOW_RATIO),
            high_ratio=max(high, supply.high_ratio),
            idle_j=self._idle.total_j if known else None,
            epoch_id=self._epoch,
            busy_cpu_s=busy_s,
            cpu_s=() if self._cpu is None else self._cpu[1].read(pids),
        )

    def _busy(self, supply: Supply, now_s: float) -> tuple[float | None, float | None]:
        """Return the processor's seconds so far, and how busy whatever draws was just now."""
        ratio = 0.0 if supply.asleep else supply.busy_ratio
        if self._cpu is None:
            return None, ratio
        cpu = self._cpu[0]
        busy_s, last = cpu.read(), self._cpu_last
        self._cpu_last = None if busy_s is None else (now_s, busy_s)
        if busy_s is None or last is None or not cpu.cores or now_s <= last[0]:
            return busy_s, None
        return busy_s, max(ratio or 0.0, (busy_s - last[1]) / ((now_s - last[0]) * cpu.cores))
