"""A device to forecast: not the model that is fitted to it.

Two thermal masses (die and heat sink), a fan whose speed follows the temperature late and in
steps, air that warms up with the heat of the case and drifts, leakage that grows with the
temperature, a sensor that lags and shows whole degrees, a power reading that is noisy and averaged.
At its limit the device slows down by itself, until it has cooled by some degrees.
"""

__all__ = ["PARTS", "Part", "Plant", "Seen", "draw"]

from copy import copy
from random import Random

from msgspec import Struct


class Part(Struct, frozen=True, kw_only=True):
    """What a kind of device is like; ``full_w`` is its power limit.

    ``r_die`` and ``r_sink`` are K/W from die to sink and from sink to air with the fan at rest;
    ``tau_die_s`` and ``tau_sink_s`` what they and their masses come to.
    """

    name: str
    kind: str
    limit_c: float
    full_w: float
    idle_w: float
    r_die: float
    r_sink: float
    tau_die_s: float
    tau_sink_s: float
    fan_gain: float


PARTS = (
    Part(
        name="gpu_server",
        kind="gpu",
        limit_c=87.0,
        full_w=700.0,
        idle_w=70.0,
        r_die=0.015,
        r_sink=0.10,
        tau_die_s=2.5,
        tau_sink_s=40.0,
        fan_gain=0.8,
    ),
    Part(
        name="gpu_desktop",
        kind="gpu",
        limit_c=83.0,
        full_w=450.0,
        idle_w=20.0,
        r_die=0.03,
        r_sink=0.16,
        tau_die_s=3.0,
        tau_sink_s=70.0,
        fan_gain=1.0,
    ),
    Part(
        name="cpu_desktop",
        kind="cpu",
        limit_c=95.0,
        full_w=140.0,
        idle_w=12.0,
        r_die=0.12,
        r_sink=0.60,
        tau_die_s=1.5,
        tau_sink_s=60.0,
        fan_gain=1.0,
    ),
    Part(
        name="laptop_fanless",
        kind="cpu",
        limit_c=100.0,
        full_w=35.0,
        idle_w=2.0,
        r_die=0.50,
        r_sink=2.2,
        tau_die_s=4.0,
        tau_sink_s=150.0,
        fan_gain=0.0,
    ),
)
"""Made up within published ranges of R and T; the time constants are assumptions."""

_LEAK_PER_C = 0.003
_SLOWED = 0.65
_COOL_BY_C = 3.0
_FAN_TAU_S = 6.0
_FAN_STEPS = 8
_CASE_TAU_S = 400.0
_MEAN_TAU_S = 5.0
_HELD_STEP_S = 0.25


class Seen(Struct, frozen=True, kw_only=True):
    """What can be read of the plant, and (``true_c``, ``slowed``) what cannot."""

    at_s: float
    temperature_c: float
    power_w: float
    true_c: float
    slowed: bool


class Plant:
    """Integrates the device; ``step`` is called with the power the work asks for."""

    def __init__(self, part: Part, random: Random) -> None:
        """Start idle and steady."""
        self.part = part
        self._random = random
        self._room_c = random.uniform(18.0, 30.0)
        self._drift_c_per_s = random.uniform(-2.0, 4.0) / 1800.0
        self._case_r = part.r_sink * random.uniform(0.05, 0.25)
        self._sensor_tau_s = random.uniform(0.5, 2.5)
        self._fan_from_c = random.uniform(45.0, 60.0)
        self._case_c: float = self._room_c + self._case_r * part.idle_w
        self._sink_c: float = self._case_c + part.r_sink * part.idle_w
        self._die_c: float = self._sink_c + part.r_die * part.idle_w
        self._sensor_c: float = self._die_c
        self._power_w: float = part.idle_w
        self._mean_w: float = part.idle_w
        self._fan = self._at_s = 0.0
        self.slowed = False

    def step(self, asked_w: float, seconds: float) -> None:
        """Let time pass with the work asking for so much power."""
        part = self.part
        watts = min(asked_w, part.full_w) * (_SLOWED if self.slowed else 1.0)
        watts *= 1 + _LEAK_PER_C * (self._die_c - 50.0)
        capacity_die = part.tau_die_s / part.r_die
        capacity_sink = part.tau_sink_s / part.r_sink
        to_sink = (self._die_c - self._sink_c) / part.r_die
        to_air = (self._sink_c - self._case_c) / (part.r_sink / (1 + part.fan_gain * self._fan))
        self._die_c += seconds * (watts - to_sink) / capacity_die
        self._sink_c += seconds * (to_sink - to_air) / capacity_sink
        case_c = self._room_c + self._drift_c_per_s * self._at_s + self._case_r * watts
        self._case_c += (case_c - self._case_c) * seconds / _CASE_TAU_S
        wish = min(1.0, max(0.0, (self._sensor_c - self._fan_from_c) / 30.0))
        wish = round(wish * _FAN_STEPS) / _FAN_STEPS
        self._fan += (wish - self._fan) * seconds / _FAN_TAU_S
        self._sensor_c += (self._die_c - self._sensor_c) * seconds / self._sensor_tau_s
        self._power_w += (watts - self._power_w) * seconds
        self._mean_w += (watts - self._mean_w) * seconds / _MEAN_TAU_S
        self._at_s += seconds
        self.slowed = self._sensor_c >= part.limit_c - (_COOL_BY_C if self.slowed else 0.0)

    def seen(self) -> Seen:
        """Return what the sensors show now."""
        return Seen(
            at_s=self._at_s,
            temperature_c=float(round(self._sensor_c)),
            power_w=max(0.0, self._power_w * self._random.gauss(1.0, 0.03)),
            true_c=self._sensor_c,
            slowed=self.slowed,
        )

    def held_s(self, most_s: float) -> float:
        """Return when it would slow down if its power stayed as in the last moments."""
        twin = copy(self)
        asked_w = self._mean_w / (1 + _LEAK_PER_C * (self._die_c - 50.0))
        for index in range(int(most_s / _HELD_STEP_S)):
            if twin.slowed:
                return index * _HELD_STEP_S
            twin.step(asked_w, _HELD_STEP_S)
        return most_s

    def limit_w(self) -> float:
        """Return the power at which it would, in the end, just reach its limit (fan at full)."""
        part = self.part
        through = part.r_die + part.r_sink / (1 + part.fan_gain) + self._case_r
        leak = 1 + _LEAK_PER_C * (part.limit_c - 50.0)
        return (part.limit_c - self._room_c) / through / leak


def draw(part: Part, random: Random) -> Part:
    """Return one such device as it was built, placed and dusted: everything off by up to 35 %."""

    def off(value: float) -> float:
        return value * random.uniform(0.65, 1.35)

    return Part(
        name=part.name,
        kind=part.kind,
        limit_c=part.limit_c,
        full_w=part.full_w,
        idle_w=part.idle_w,
        r_die=off(part.r_die),
        r_sink=off(part.r_sink),
        tau_die_s=off(part.tau_die_s),
        tau_sink_s=off(part.tau_sink_s),
        fan_gain=off(part.fan_gain),
    )
