"""What happens to the made machine, and what each impact must then be seen to do."""

__all__ = ["PHASES", "RULES", "Look", "Phase", "Rule", "outside_at", "phase_at"]

from collections.abc import Callable

from msgspec import Struct

from metabolic.bench.adapt_machine import Outside

_SHORT_KB = 1_000_000
_FULL = 0.95
_EMPTY = 0.08


class Phase(Struct, frozen=True, kw_only=True):
    """A stretch of scripted time: its name, length, and how busy the machine is kept.

    ``load`` is the power the largest model would draw at this rate of requests, as a multiple of
    what the processor bears for ever.
    """

    name: str
    seconds: float
    load: float = 0.35


PHASES = (
    Phase(name="cool", seconds=120.0),
    Phase(name="heat", seconds=420.0, load=1.35),
    Phase(name="after heat", seconds=420.0),
    Phase(name="power", seconds=120.0),
    Phase(name="after power", seconds=180.0),
    Phase(name="memory", seconds=120.0),
    Phase(name="after memory", seconds=180.0),
    Phase(name="battery", seconds=300.0),
    Phase(name="after battery", seconds=180.0),
    Phase(name="no thermometer", seconds=90.0),
    Phase(name="after no thermometer", seconds=180.0),
)
"""The script, in scripted seconds; each disturbance is followed by time to recover."""


class Look(Struct, frozen=True, kw_only=True):
    """What can be seen at one moment: the state's words and what decisions did.

    ``size`` is the mean place of the first model asked (0: the smallest, 1: the largest).
    """

    level: str
    profile: str
    risk_ratio: float | None
    size: float
    joules: float
    speculation: bool | None
    slots: int
    largest_allowed: bool
    warm_up: bool
    marked: float
    reasons: tuple[str, ...]


class Rule(Struct, frozen=True, kw_only=True):
    """One impact: when it must be seen, and by what; before and long after it must not be."""

    name: str
    phase: str
    fires: Callable[[Look, Look], bool]


RULES = (
    Rule(
        name="temperature near throttling: smaller models",
        phase="heat",
        fires=lambda now, calm: now.size < calm.size - 0.2 and now.joules < calm.joules,
    ),
    Rule(
        name="headroom high: speculation allowed, otherwise not",
        phase="heat",
        fires=lambda now, _: now.speculation is not True,
    ),
    Rule(
        name="power budget used up: the least that will do",
        phase="power",
        fires=lambda now, calm: now.size <= _LEAST and calm.size > _LEAST,
    ),
    Rule(
        name="memory short: no large models",
        phase="memory",
        fires=lambda now, _: not now.largest_allowed,
    ),
    Rule(
        name="memory short: smaller batches",
        phase="memory",
        fires=lambda now, calm: now.slots < calm.slots,
    ),
    Rule(
        name="scarce: nothing is warmed up",
        phase="memory",
        fires=lambda now, _: not now.warm_up,
    ),
    Rule(
        name="on battery: efficiency over quality",
        phase="battery",
        fires=lambda now, calm: now.profile == "edge" and now.joules < 0.9 * calm.joules,
    ),
    Rule(
        name="battery critical: mcu",
        phase="battery",
        fires=lambda now, _: now.profile == "mcu",
    ),
    Rule(
        name="mcu: complex queries deferred, else answered small and marked",
        phase="battery",
        fires=lambda now, _: now.marked > 0,
    ),
    Rule(
        name="thermometer lost: elevated, never nominal",
        phase="no thermometer",
        fires=lambda now, _: now.level == "elevated" and (now.risk_ratio or 0.0) > _FLOOR,
    ),
)
"""Every impact, in the phase that must bring it out."""

_LEAST = 0.05
_FLOOR = 0.1


def phase_at(at_s: float) -> tuple[Phase, float]:
    """Return the phase of a scripted time, and how far into it that is (0 to 1)."""
    began_s = 0.0
    for phase in PHASES:
        if at_s < began_s + phase.seconds:
            return phase, (at_s - began_s) / phase.seconds
        began_s += phase.seconds
    return PHASES[-1], 1.0


def outside_at(phase: Phase, share: float, budget_w: float) -> Outside:
    """Return what happens to the machine in a phase."""
    match phase.name:
        case "power":
            return Outside(other_w=1.2 * budget_w)
        case "memory":
            return Outside(free_kb=_SHORT_KB, stall_percent=25.0)
        case "battery":
            return Outside(battery_ratio=_FULL - (_FULL - _EMPTY) * share)
        case "no thermometer":
            return Outside(thermometer=False)
        case _:
            return Outside()
