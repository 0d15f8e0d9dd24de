"""One device under one load: what was said at each moment, and what then happened."""

__all__ = ["CAP_S", "HORIZON_S", "Moment", "Onsets", "Track", "alarms", "follow", "onsets"]

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from random import Random

from msgspec import Struct

from metabolic.bench.thermal_loads import Load
from metabolic.bench.thermal_plant import Part, Plant, Seen
from metabolic.core.hardware import DeviceState, HardwareState, Reading
from metabolic.core.metabolic import MetabolicState
from metabolic.decide.metabolism import assess
from metabolic.decide.profiles import profile

HORIZON_S = 30.0
"""An alarm says: it will slow down within this time."""

CAP_S = 120.0
"""Times to throttling are compared up to here; later, or never, counts as this."""

_STEP_S = 0.1
_POLL_S = 0.5
_HELD_EVERY_S = 15.0
_EPOCH_S = 1_790_000_000.0
_LEAD_S = 10.0
"""An alarm that comes later than one answer takes cannot help."""

_LATE_S = 1.5 * HORIZON_S
_APART_S = 10.0
_REARM_S = 20.0
_MIN_TREND = 0.01


class Moment(Struct, frozen=True, gc=False):
    """One reading and what was made of it; ``None``: not in sight.

    ``held_ttt_s`` is the truth if the power had stayed as it was: a copy of the device told it
    (``None``: not asked).
    """

    at_s: float
    headroom_c: float
    true_headroom_c: float
    slowed: bool
    ttt_s: float | None
    trend_ttt_s: float | None
    ahead_c: tuple[float, ...]
    error_c: tuple[float, ...]
    risk_ratio: float
    held_ttt_s: float | None = None


class Track(Struct, frozen=True, kw_only=True):
    """A run."""

    scenario: str
    part: str
    moments: tuple[Moment, ...]


class Onsets(Struct, frozen=True, kw_only=True):
    """Alarms against what happened: counts."""

    onsets: int
    missed: int
    alarms: int
    false: int


def follow(part: Part, load: Load, *, scenario: str, random: Random, seconds: float) -> Track:
    """Run a device under a load and let the product look at it twice a second."""
    plant, bands = Plant(part, random), profile("edge")
    limit_w = plant.limit_w()
    moments: list[Moment] = []
    state: MetabolicState | None = None
    for index in range(int(seconds / _STEP_S)):
        plant.step(max(part.idle_w, load(index * _STEP_S) * limit_w), _STEP_S)
        if index % round(_POLL_S / _STEP_S):
            continue
        seen = plant.seen()
        state = assess(_readings(part, seen), state, bands)
        ask = index % round(_HELD_EVERY_S / _STEP_S) == 0 and not seen.slowed
        moments.append(_moment(part, seen, state, plant.held_s(CAP_S) if ask else None))
    return Track(scenario=scenario, part=part.name, moments=tuple(moments))


def _readings(part: Part, seen: Seen) -> HardwareState:
    """Return what a sensor would have published."""

    def reading(value: float) -> Reading:
        return Reading(value=value, origin="measured", source="plant")

    device = DeviceState(
        name=part.name,
        kind="gpu" if part.kind == "gpu" else "cpu",
        temperature_c=reading(seen.temperature_c),
        limit_c=reading(part.limit_c),
        power_w=reading(seen.power_w),
        power_limit_w=reading(part.full_w),
    )
    return HardwareState(taken_at_s=_EPOCH_S + seen.at_s, devices=(device,))


def _moment(part: Part, seen: Seen, state: MetabolicState, held_s: float | None) -> Moment:
    """Keep what was said."""
    headroom_c, trend = part.limit_c - seen.temperature_c, state.trend_c_per_s
    linear = headroom_c / trend if trend is not None and trend >= _MIN_TREND else None
    return Moment(
        seen.at_s,
        headroom_c,
        part.limit_c - seen.true_c,
        seen.slowed,
        state.time_to_throttle_s,
        linear,
        tuple([one.headroom_c for one in state.forecasts]),
        tuple([one.error_c for one in state.forecasts]),
        state.throttle_risk_ratio or 0.0,
        held_s,
    )


def onsets(track: Track) -> list[float]:
    """Return when the device began to slow down, after having been itself for a while."""
    found: list[float] = []
    last_s = -_REARM_S
    for moment in track.moments:
        if moment.slowed:
            if moment.at_s - last_s >= _REARM_S:
                found.append(moment.at_s)
            last_s = moment.at_s
    return found


def alarms(track: Track, starts: Sequence[float], rings: Callable[[Moment], bool]) -> Onsets:
    """Count right, false and missed alarms of a rule.

    An onset is missed when nothing rang from 30 to 10 s before it. Alarms less than 10 s apart are
    one; one is false when no onset follows within 45 s. What rings while the device is slowed
    down, or within 20 s after that, is not judged.
    """
    rung = [one.at_s for one in track.moments if rings(one) and not one.slowed]
    slowed = [one.at_s for one in track.moments if one.slowed]
    missed = sum(
        bisect_right(rung, at_s - _LEAD_S) == bisect_left(rung, at_s - HORIZON_S) for at_s in starts
    )
    end_s = track.moments[-1].at_s
    count = false = 0
    last_s = -CAP_S
    for at_s in rung:
        fresh, last_s = at_s - last_s > _APART_S, at_s
        before = bisect_left(slowed, at_s)
        if not fresh or at_s + _LATE_S > end_s:
            continue
        if before and at_s - slowed[before - 1] < _REARM_S:
            continue
        count += 1
        after = bisect_left(starts, at_s)
        false += after == len(starts) or starts[after] - at_s > _LATE_S
    return Onsets(onsets=len(starts), missed=missed, alarms=count, false=false)
