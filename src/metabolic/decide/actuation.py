"""How far a machine's power and clocks are limited: by heat, by a used-up budget, by choice.

A limit is a share of what was in force before the gateway came; it never rises above that. It
falls at once and rises again only after ``hold_s`` of calm, so that a cap which cools a device is
not lifted because the device is cool. Unknown heat limits nothing.

Why at all: a cap at about 0.7 takes a fifth off the joules of the same work on server GPUs, at a
tenth of the speed. Source: the published measurements of Zeus (You et al., NSDI 2023).
"""

__all__ = ["Governed", "Limits", "govern", "setpoint", "share"]

from msgspec import Struct
from msgspec.structs import replace

from metabolic.core.actuation import Knob
from metabolic.core.metabolic import MetabolicState
from metabolic.decide.levels import RANK

_STEP = {"W": 1.0, "MHz": 15.0}
"""NVIDIA's clocks come in steps of 15 MHz; watts need no finer grain."""


class Limits(Struct, frozen=True, kw_only=True):
    """Shares of the full limit: always, on battery, at *elevated* and at *critical*.

    ``hold_s`` of calm lift a limit again. Nothing is ever set below ``least_ratio``.
    """

    steady_ratio: float = 1.0
    battery_ratio: float = 0.85
    elevated_ratio: float = 0.85
    critical_ratio: float = 0.7
    least_ratio: float = 0.4
    hold_s: float = 120.0


class Governed(Struct, frozen=True, kw_only=True):
    """The share in force and why; ``calm_since_s`` is since when a higher one would do."""

    ratio: float = 1.0
    why: str = ""
    calm_since_s: float | None = None


def share(state: MetabolicState, limits: Limits) -> tuple[float, str]:
    """Return the share that the machine's state asks for, and why; 1: no limit."""
    found = [(limits.steady_ratio, "as configured")]
    if state.on_battery:
        found.append((limits.battery_ratio, "on battery"))
    for name, rank in (("heat", RANK[state.level]), ("power budget", RANK[state.power_level])):
        if rank > 0:
            ratio = limits.critical_ratio if rank > 1 else limits.elevated_ratio
            found.append((ratio, f"{name} {'critical' if rank > 1 else 'elevated'}"))
    ratio, why = min(found, key=lambda one: one[0])
    return (1.0, "") if ratio >= 1.0 else (max(limits.least_ratio, ratio), why)


def govern(before: Governed, state: MetabolicState, limits: Limits, *, at_s: float) -> Governed:
    """Return what is in force from now on: down at once, up after ``hold_s`` of calm."""
    ratio, why = share(state, limits)
    if ratio <= before.ratio:
        return Governed(ratio=ratio, why=why)
    since_s = at_s if before.calm_since_s is None else before.calm_since_s
    if at_s - since_s >= limits.hold_s:
        return Governed(ratio=ratio, why=why)
    return replace(before, calm_since_s=since_s)


def setpoint(knob: Knob, ratio: float, *, before: float | None) -> float | None:
    """Return what to set a knob to, ``before`` what was in force; ``None``: what was there.

    Never more than was in force, never less than the device allows.
    """
    if ratio >= 1.0:
        return None
    full = knob.full if before is None else min(before, knob.full)
    step = _STEP[knob.unit]
    value = max(knob.least, round(full * ratio / step) * step)
    return None if value >= full else value
