"""A meter over what a sensor reads of one device: its energy counter, else its power over time.

A counter that goes back, or jumps by more than any node draws, begins a new epoch: the joules in
between are not known. Without a counter the power is integrated by the trapezoidal rule over the
times at which it was measured, and marked derived; after a spell without readings too there is a
new epoch, rather than a straight line through what nobody saw.
"""

__all__ = ["SensedMeter"]

import time
from collections.abc import Callable

from metabolic.account.energy import counter_delta
from metabolic.core.hardware import DeviceState, HardwareState, Origin
from metabolic.core.obstacle import Obstacle
from metabolic.core.ports import Domain, Explains, MeterReading, Sensor
from metabolic.sense.cputime import BusyCpu, ProcessCpu

_ANY_LIMIT_W = 100_000.0
"""No node, and no rack's meter that somebody takes for a node's, draws more."""


class SensedMeter:
    """Counts the joules of one device that ``sensor`` reads; closes the sensor too."""

    def __init__(  # noqa: PLR0913 - each is a property of the meter
        self,
        sensor: Sensor,
        *,
        name: str,
        device: str,
        domain: Domain,
        gap_s: float,
        root: str = "/",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``gap_s`` is the longest spell that power is integrated over."""
        self.name = name
        self.domain: Domain = domain
        self._sensor = sensor
        self._device = device
        self._gap_s = gap_s
        self._clock = clock
        self._busy = BusyCpu(root)
        self._processes = ProcessCpu(root)
        self._counted: tuple[float, float] | None = None
        self._power: tuple[float, float] | None = None
        self._total_j = 0.0
        self._epoch = 0

    def read(self, pids: tuple[int, ...]) -> MeterReading | None:
        """Return the counter as of the sensor's last reading; ``None`` without one."""
        now_s = self._clock()
        device = self._seen(now_s)
        if device is None:
            return None
        origin = self._advance(device, now_s)
        if origin is None:
            return None
        return MeterReading(
            at_s=now_s,
            energy_j=self._total_j,
            origin=origin,
            busy_cpu_s=self._busy.read(),
            epoch_id=self._epoch,
            cpu_s=self._processes.read(pids),
        )

    def obstacles(self) -> tuple[Obstacle, ...]:
        """Return why the sensor reads nothing."""
        return self._sensor.obstacles() if isinstance(self._sensor, Explains) else ()

    def close(self) -> None:
        """Close the sensor and all files."""
        self._sensor.close()
        self._busy.close()

    def _seen(self, now_s: float) -> DeviceState | None:
        """Return the device as the sensor reads it."""
        devices = self._sensor.read(HardwareState(taken_at_s=now_s)).devices
        return next((device for device in devices if device.name == self._device), None)

    def _advance(self, device: DeviceState, now_s: float) -> Origin | None:
        """Add what was drawn since the last reading."""
        if device.energy_j is not None:
            at_s = now_s - device.energy_j.age_s
            self._count(at_s, device.energy_j.value)
            return device.energy_j.origin
        if device.power_w is not None:
            self._integrate(now_s - device.power_w.age_s, now_s, device.power_w.value)
            return "modelled" if device.power_w.origin == "modelled" else "derived"
        return None

    def _count(self, at_s: float, value_j: float) -> None:
        """Advance by a counter; a step that cannot be said is a new epoch."""
        last = self._counted
        if last is not None and at_s <= last[0]:
            if value_j == last[1]:
                return
            at_s = last[0] + 1e-3
        self._counted = (at_s, value_j)
        if last is None:
            return
        delta = counter_delta(
            last[1], value_j, range_j=None, seconds=at_s - last[0], limit_w=_ANY_LIMIT_W
        )
        if delta is None:
            self._epoch += 1
        else:
            self._total_j += delta

    def _integrate(self, at_s: float, now_s: float, watts: float) -> None:
        """Advance to now: between two readings by their mean, after the last by the last."""
        last, self._power = self._power, (now_s, watts)
        if last is None:
            return
        seconds = now_s - last[0]
        if seconds < 0 or now_s - at_s > self._gap_s or seconds > self._gap_s:
            self._epoch += 1
            return
        self._total_j += 0.5 * (last[1] + watts) * seconds
