"""Share measured joules among the calls in flight, and bound what cannot be measured.

Theory. A meter (a package, a GPU, a board, a node) is read at the two ends of a window. What the
machine would have drawn idle is shared by the seconds calls were in flight; while nothing was in
flight, it is nobody's. The rest, the *active* energy, follows the work: where CPU seconds are read,
each engine gets its part of the machine's busy CPU seconds, and within an engine the calls share
by the work of their tokens (``presence``, ``weights``); where they are not (a GPU), all calls share
by work. What other processes used stays ``unattributed``, with the idle part of their time and the
rounding. So, for every window and exactly, ``sum(shares) + unattributed == energy``.

Exactness. Joules are counted in quanta of 2**-20 J (about a microjoule, below the resolution of
the counters), as whole numbers. Sums of such floats are exact in any order below 2**33 J, and
windows that follow each other add up to the counter's difference without drift.
Source: attribution by CPU time as in Scaphandre and Kepler; idle apart, as neither does it.
"""

__all__ = [
    "BATCHED_EXPONENT",
    "Occupancy",
    "answer_energy",
    "bounds_of",
    "counter_delta",
    "marginal_energy_j",
    "settle",
]

from collections.abc import Iterable, Mapping
from math import isfinite

from msgspec import Struct

from metabolic.account.work import (
    MODEL_HIGH_RATIO,
    MODEL_LOW_RATIO,
    active_energy_j,
    service_s,
)
from metabolic.core.fleet import Deployment
from metabolic.core.hardware import Origin
from metabolic.core.ports import MeterReading
from metabolic.core.receipt import Energy, Share, Window

_QUANTA_PER_J = 1 << 20

BATCHED_EXPONENT = 0.123
"""How the power of a batching accelerator grows with its batch: power ~ batch ** 0.123.

Source: ML.ENERGY medians on H100 and B200, batch 8 to 64: power x1.2 at throughput x4.4, and
ln 1.2 / ln 4.4 = 0.123.
"""

_DERIVED_LOW_RATIO, _DERIVED_HIGH_RATIO = 0.7, 1.3
"""Source: integrated power of accelerators against their counters: 16 to 25 % mean error."""

_WRAP_MARGIN = 1.5
"""A step across the counter's end counts as a wrap up to this multiple of the power limit."""


class Occupancy(Struct, frozen=True, kw_only=True, gc=False):
    """A call's presence in one window.

    ``call`` is ``<request>/<call>``, ``pid`` its engine's process (``None``: unknown), ``seconds``
    how long it was in flight within the window, ``work`` what it asked of the engine there against
    the others, in any unit (``None``: its seconds are all that is known).
    """

    call: str
    pid: int | None
    seconds: float
    work: float | None = None


def settle(  # noqa: PLR0913 - a window is made of all of these
    *,
    meter: str,
    before: MeterReading,
    after: MeterReading,
    occupancies: tuple[Occupancy, ...],
    seconds: float,
    in_flight_s: float | None = None,
    by_cpu: bool = True,
) -> Window | None:
    """Return the window between two readings, shared among the calls that were in flight.

    ``seconds`` is its length by a clock that does not jump, ``in_flight_s`` for how many of them
    anything was in flight (``None``: as many as the calls' own seconds allow). ``by_cpu`` says
    whether CPU seconds tell who drew this meter's joules; those of a GPU do not follow them.
    ``None`` is a gap: the counter went back or began anew, or no time passed; nobody is then
    charged a guess.
    """
    total = _quanta(before.energy_j, after.energy_j)
    if total is None or before.epoch_id != after.epoch_id or not seconds > 0:
        return None
    idle = min(total, _idle_quanta(before, after))
    engines = _engines(before, after, occupancies, seconds=seconds, by_cpu=by_cpu)
    used_s = sum(max(0.0, one.seconds) for one in occupancies)
    ours = min(1.0, sum(one.share for one in engines))
    ours *= min(1.0, (used_s if in_flight_s is None else in_flight_s) / seconds)
    idle_per_s = idle / _QUANTA_PER_J * ours / used_s if used_s > 0 else 0.0
    left, shares = total, list[Share]()
    for active_j, idle_j, cpu_s, call in _cut(engines, (total - idle) / _QUANTA_PER_J, idle_per_s):
        waiting = min(left, int(idle_j * _QUANTA_PER_J))
        quanta = min(left, waiting + int(active_j * _QUANTA_PER_J))
        left -= quanta
        energy_j, unused_j = quanta / _QUANTA_PER_J, waiting / _QUANTA_PER_J
        shares.append(Share(call=call, energy_j=energy_j, cpu_s=cpu_s, idle_j=unused_j))
    return Window(
        meter=meter,
        from_s=before.at_s,
        to_s=after.at_s,
        energy_j=total / _QUANTA_PER_J,
        shares=tuple(shares),
        unattributed_j=left / _QUANTA_PER_J,
        origin=before.origin if before.origin == "modelled" else after.origin,
        low_ratio=min(before.low_ratio, after.low_ratio),
        high_ratio=max(before.high_ratio, after.high_ratio),
    )


class _Engine(Struct, frozen=True, kw_only=True):
    """One engine in a window: its part of the active energy, its CPU seconds, its calls."""

    share: float
    cpu_s: float | None
    occupancies: tuple[Occupancy, ...]


def _cut(
    engines: tuple[_Engine, ...], active_j: float, idle_per_s: float
) -> Iterable[tuple[float, float, float | None, str]]:
    """Yield each call's active joules, idle joules, CPU seconds and name."""
    for engine in engines:
        for one, part in _parts(engine.occupancies):
            cpu_s = None if engine.cpu_s is None else engine.cpu_s * part
            idle_j = idle_per_s * max(0.0, one.seconds)
            yield active_j * engine.share * part, idle_j, cpu_s, one.call


def _engines(
    before: MeterReading,
    after: MeterReading,
    occupancies: tuple[Occupancy, ...],
    *,
    seconds: float,
    by_cpu: bool,
) -> tuple[_Engine, ...]:
    """Return the engines that had calls, with their parts of the machine's busy seconds.

    An engine whose CPU seconds are unknown is taken to have kept one core busy while it had
    calls, as far as the machine was busy at all. Without any CPU seconds all calls are as those
    of one engine: their work says who drew what.
    """
    calls: dict[int | None, list[Occupancy]] = {}
    for occupancy in occupancies:
        calls.setdefault(occupancy.pid, []).append(occupancy)
    first, last = dict(before.cpu_s), dict(after.cpu_s)
    known = {pid: _spent_s(pid, first, last) for pid in calls} if by_cpu else {}
    busy_s = _busy_s(before, after)
    metered_s = sum(spent for spent in known.values() if spent is not None)
    if not by_cpu or (busy_s is None and all(spent is None for spent in known.values())):
        return (_Engine(share=1.0, cpu_s=None, occupancies=occupancies),) if occupancies else ()
    guessed = {
        pid: min(seconds, sum(max(0.0, one.seconds) for one in calls[pid]))
        for pid, spent in known.items()
        if spent is None
    }
    wanted_s = sum(guessed.values())
    room_s = wanted_s if busy_s is None else max(0.0, busy_s - metered_s)
    scale = min(1.0, room_s / wanted_s) if wanted_s > 0 else 0.0
    whole_s = max(busy_s or 0.0, metered_s + wanted_s * scale)
    if whole_s <= 0:
        return ()
    return tuple(
        _Engine(
            share=min(1.0, (guessed[pid] * scale if spent is None else spent) / whole_s),
            cpu_s=spent,
            occupancies=tuple(calls[pid]),
        )
        for pid, spent in known.items()
    )


def _parts(occupancies: tuple[Occupancy, ...]) -> Iterable[tuple[Occupancy, float]]:
    """Return each call's part of its engine: by work, else by seconds, else equal."""
    by_work = [max(0.0, one.work) for one in occupancies if one.work is not None]
    weights = by_work if len(by_work) == len(occupancies) and sum(by_work) > 0 else []
    weights = weights or [max(0.0, one.seconds) for one in occupancies]
    whole = sum(weights)
    if not whole > 0:
        weights, whole = [1.0] * len(occupancies), float(len(occupancies))
    return [(one, weight / whole) for one, weight in zip(occupancies, weights, strict=True)]


def _spent_s(
    pid: int | None, first: Mapping[int, float], last: Mapping[int, float]
) -> float | None:
    """Return an engine's CPU seconds in the window; ``None`` if it was not read at both ends."""
    if pid is None or pid not in first or pid not in last:
        return None
    spent = last[pid] - first[pid]
    return spent if spent >= 0 else None


def _busy_s(before: MeterReading, after: MeterReading) -> float | None:
    """Return the machine's busy CPU seconds in the window."""
    if before.busy_cpu_s is None or after.busy_cpu_s is None:
        return None
    return max(0.0, after.busy_cpu_s - before.busy_cpu_s)


def _quanta(first_j: float, last_j: float) -> int | None:
    """Return the quanta between two counter values; ``None`` if it went back or is no number."""
    if not (isfinite(first_j) and isfinite(last_j)):
        return None
    quanta = round(last_j * _QUANTA_PER_J) - round(first_j * _QUANTA_PER_J)
    return quanta if quanta >= 0 else None


def _idle_quanta(before: MeterReading, after: MeterReading) -> int:
    """Return the quanta the machine would have drawn idle; none when that is unknown."""
    if before.idle_j is None or after.idle_j is None:
        return 0
    return _quanta(before.idle_j, after.idle_j) or 0


def counter_delta(
    before: float,
    after: float,
    *,
    range_j: float | None,
    seconds: float,
    limit_w: float,
) -> float | None:
    """Return the joules a wrapping counter has advanced; ``None`` when that cannot be said.

    A counter that went back has wrapped only if its range is known and the power that follows is
    at most 1.5 times the device's limit; otherwise it was reset, and the step is a gap. A step
    forward must be as plausible. Source: RAPL, AMD and Level Zero counters all have been seen to
    go back without wrapping.
    """
    if seconds <= 0:
        return None
    delta = after - before
    if delta < 0:
        if range_j is None:
            return None
        delta += range_j
    return delta if 0 <= delta <= _WRAP_MARGIN * limit_w * seconds else None


def bounds_of(origin: Origin) -> tuple[float, float]:
    """Return low and high bound of a figure, as multiples of it, by where it comes from."""
    match origin:
        case "measured":
            return 1.0, 1.0
        case "derived":
            return _DERIVED_LOW_RATIO, _DERIVED_HIGH_RATIO
        case "modelled":
            return MODEL_LOW_RATIO, MODEL_HIGH_RATIO


def answer_energy(
    deployment: Deployment, *, input_tokens: int, output_tokens: int, cached_tokens: int = 0
) -> Energy | None:
    """Return the joules above idle one answer takes a local deployment, with bounds.

    Seconds of prefill and decode times the power above idle; ``None`` when a figure is missing.
    The result is as good as the weaker of the two: a guessed power makes it modelled.
    """
    seconds = service_s(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_tokens=cached_tokens,
        prefill_tokens_per_s=deployment.prefill_tokens_per_s,
        decode_tokens_per_s=deployment.decode_tokens_per_s,
    )
    energy_j = active_energy_j(seconds, active_w=deployment.active_w)
    if energy_j is None:
        return None
    origins = {deployment.speed_origin or "modelled", deployment.active_w_origin or "modelled"}
    origin: Origin = "modelled" if "modelled" in origins else "derived"
    low, high = bounds_of(origin)
    return Energy(energy_j=energy_j, low_j=energy_j * low, high_j=energy_j * high, origin=origin)


def marginal_energy_j(alone_j: float, *, running: int = 0, batch_exponent: float = 1.0) -> float:
    """Return the joules the meter reads more because of one more answer.

    ``alone_j`` is what it takes on an idle device; ``running`` answers are in flight already.
    Power grows as ``batch ** batch_exponent``: 1 on a CPU, where joules follow CPU seconds, and
    ``BATCHED_EXPONENT`` on a batching accelerator, whose power hardly moves.

    >>> marginal_energy_j(10.0, running=3)
    10.0
    """
    busy = max(0, running)
    return alone_j * float((busy + 1) ** batch_exponent - (busy**batch_exponent if busy else 0))
