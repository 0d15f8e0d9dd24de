"""What admission, placing and sleeping do under load, against what gateways usually do.

Engines are simulated (``load_engine``: a batching server with a paged cache whose physics is not
the router's) on simulated time; what decides is the product's own ``decide``, gates, paces and
``decide.consolidate``. Every policy gets the same asks. *steady*: 64 clients, two engines of
different speed, the faster capped half-way, at four loads from light to more than both can do.
*day*: a rate that follows a day, four large and two small replicas that may sleep. *memory*: the
real runtime answers 100,000 requests of the fake backend.
"""

__all__ = ["Options", "run"]

import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from metabolic.bench import load_day, load_steady
from metabolic.bench.load_memory import Growth, grow_apart
from metabolic.bench.load_policies import POLICIES, Done
from metabolic.bench.load_world import Item, day, steady
from metabolic.bench.report import Figure, Report, Row, progress, quantile, report

_CLIENTS = 64
_LOADS = (("light", 20.0), ("half", 12.0), ("busy", 9.0), ("over", 7.0))
_DAYS = (("quiet", 0.1, 0.6), ("plain", 0.1, 3.0), ("full", 0.3, 12.0))
_RESAMPLES = 400
_DAY_POLICIES = ("always_on", "always_large", "metabolic")


class Options(Struct, frozen=True, kw_only=True):
    """How much is run: seconds of each steady load, of each day, and requests of the runtime."""

    seed: int = 0
    quick: bool = False
    seconds: float = 600.0
    day_seconds: float = 2400.0
    requests: int = 100_000


class _Steady(Struct, frozen=True, kw_only=True):
    """All policies at one load."""

    load: str
    items: tuple[Item, ...]
    runs: dict[str, load_steady.SteadyRun]


def run(options: Options) -> Report:
    """Play the loads and the days, then the runtime, and report."""
    began_s = time.perf_counter()
    if options.quick:
        options = Options(
            seed=options.seed, quick=True, seconds=60.0, day_seconds=240.0, requests=4000
        )
    loads = [_steady(name, per_s, options) for name, per_s in _LOADS]
    days = [_day(*one, options) for one in (_DAYS[1:2] if options.quick else _DAYS)]
    with tempfile.TemporaryDirectory() as folder:
        growth = grow_apart(options.requests, path=str(Path(folder) / "records.jsonl"))
    return report(
        "load",
        seed=options.seed,
        seconds=time.perf_counter() - began_s,
        quick=options.quick,
        notes=[
            "simulated engines and time; decide, gates, paces and consolidation are the product's",
            "goodput_ratio_to_best_baseline is the lowest of all loads; each has a row",
            "goodput: share of all asks answered within their deadline; shed ones are none",
            "p99: of answered asks; intervals: blocks of asks drawn with replacement, paired",
            "joules of a day: all devices, sleeping and waking ones too",
            _series(growth),
        ],
        figures=_figures(loads, days, growth, options.seed),
        rows=[
            *(row for one in loads for row in _steady_rows(one)),
            *(row for one in days for row in _day_rows(one)),
        ],
    )


def _series(growth: Growth) -> str:
    """Say resident memory as it grew, so that a plateau can be told from a line."""
    sizes = ", ".join(f"{one.resident_mb:.1f}" for one in growth.samples[1::2])
    first = growth.samples[min(1, len(growth.samples) - 1)].requests
    return f"resident MB, each {first:,} requests: {sizes}"


def _steady(name: str, per_client_s: float, options: Options) -> _Steady:
    """Let all policies answer one load."""
    progress(f"load: {name}")
    items = steady(
        clients=_CLIENTS, seconds=options.seconds, per_client_s=per_client_s, seed=options.seed
    )
    runs = {
        kind: load_steady.play(kind, items, seconds=options.seconds, seed=options.seed)
        for kind in ("metabolic", *POLICIES)
    }
    return _Steady(load=name, items=tuple(items), runs=runs)


def _day(
    name: str, least: float, most: float, options: Options
) -> tuple[str, dict[str, load_day.DayRun]]:
    """Let all policies answer one day."""
    progress(f"load: day {name}")
    seconds = options.day_seconds
    items = day(seconds=seconds, least_rps=least, most_rps=most, seed=options.seed)
    return name, {
        kind: load_day.play(kind, items, seconds=seconds, seed=options.seed)
        for kind in _DAY_POLICIES
    }


def _good(done: Sequence[Done]) -> float:
    """Return the share that was answered in time."""
    return sum(one.good() for one in done) / max(1, len(done))


def _best(one: _Steady) -> str:
    """Return the baseline with the most goodput."""
    return max(POLICIES, key=lambda kind: _good(one.runs[kind].done))


def _figures(
    loads: Sequence[_Steady],
    days: Sequence[tuple[str, dict[str, load_day.DayRun]]],
    growth: Growth,
    seed: int,
) -> dict[str, Figure]:
    """Return the figures."""
    ratios = {one.load: _ratio(one, seed) for one in loads}
    worst = min(ratios, key=lambda name: ratios[name].value)
    ours = [one.runs["metabolic"] for one in loads] + [runs["metabolic"] for _, runs in days]
    asks = sum(len(one.done) for one in ours)
    made = {"goodput_ratio_to_best_baseline": ratios[worst]}
    made |= {f"goodput_ratio_{name}": found for name, found in ratios.items()}
    made |= {f"p99_ratio_{one.load}": _p99_ratio(one) for one in loads}
    made["preemptions"] = Figure(value=sum(one.preemptions for one in ours), unit="1", n=asks)
    made["out_of_memory"] = Figure(value=sum(one.refused for one in ours), unit="1", n=asks)
    for name, runs in days:
        for other in ("always_on", "always_large"):
            made[f"joules_ratio_{name}_to_{other}"] = Figure(
                value=runs["metabolic"].joules / runs[other].joules,
                unit="ratio",
                n=len(runs["metabolic"].done),
            )
    return made | _grown(growth)


def _grown(growth: Growth) -> dict[str, Figure]:
    """Return the figures of memory."""
    return {
        "rss_slope_mb_per_100k": Figure(
            value=growth.slope_mb_per_100k,
            unit="MB",
            n=growth.requests,
            low=growth.first_mb,
            high=growth.last_mb,
            unit_note="low and high: resident memory after a fifth of the requests, and after all",
        ),
        "rss_late_slope_mb_per_100k": Figure(
            value=growth.late_mb_per_100k,
            unit="MB",
            n=growth.requests // 2,
            unit_note="in the second half of the requests alone",
        ),
        "blocks_per_request": Figure(
            value=growth.blocks_per_request,
            unit="1",
            n=growth.requests,
            unit_note="blocks of Python's heap kept per request; a leak keeps at least one",
        ),
    }


def _ratio(one: _Steady, seed: int) -> Figure:
    """Return our goodput over the best baseline's, with an interval over blocks of asks."""
    ours, best = one.runs["metabolic"].done, one.runs[_best(one)].done
    pairs = [(a.good(), b.good()) for a, b in zip(ours, best, strict=True)]
    block = max(1, len(pairs) // 20)
    blocks = [pairs[at : at + block] for at in range(0, len(pairs), block)]
    draw = random.Random(seed)
    found: list[float] = []
    for _ in range(_RESAMPLES):
        drawn = [pair for part in draw.choices(blocks, k=len(blocks)) for pair in part]
        found.append(sum(a for a, _ in drawn) / max(1, sum(b for _, b in drawn)))
    found.sort()
    return Figure(
        value=sum(a for a, _ in pairs) / max(1, sum(b for _, b in pairs)),
        unit="ratio",
        n=len(pairs),
        low=found[int(0.025 * _RESAMPLES)],
        high=found[int(0.975 * _RESAMPLES) - 1],
        unit_note=f"load {one.load}, best baseline {_best(one)}",
    )


def _p99_ratio(one: _Steady) -> Figure:
    """Return our p99 over that of the baseline with the lowest."""
    ours = _p99_s(one.runs["metabolic"].done)
    least = min(_p99_s(one.runs[kind].done) for kind in POLICIES)
    return Figure(value=ours / least, unit="ratio", n=len(one.items))


def _seconds(done: Sequence[Done]) -> list[float]:
    """Return how long the answered ones took."""
    return [seconds for one in done if (seconds := one.seconds()) is not None]


def _p99_s(done: Sequence[Done]) -> float:
    """Return the 99th percentile of the answered ones."""
    return quantile(_seconds(done), 0.99) or 0.0


def _columns(done: Sequence[Done]) -> dict[str, float | int]:
    """Return what every row says of latency and goodput."""
    seconds = _seconds(done)
    return {
        "n": len(done),
        "goodput": _good(done),
        "shed_ratio": 1.0 - len(seconds) / max(1, len(done)),
        "p50_ms": 1000 * (quantile(seconds, 0.5) or 0.0),
        "p99_ms": 1000 * (quantile(seconds, 0.99) or 0.0),
    }


def _steady_rows(one: _Steady) -> list[Row]:
    """Return a row for each policy."""
    return [
        {"policy": kind, "load": one.load}
        | _columns(found.done)
        | {"preemptions": found.preemptions, "out_of_memory": found.refused, "joules": found.joules}
        for kind, found in one.runs.items()
    ]


def _day_rows(one: tuple[str, dict[str, load_day.DayRun]]) -> list[Row]:
    """Return a row for each policy of a day."""
    name, runs = one
    return [
        {"policy": kind, "load": f"day_{name}"}
        | _columns(found.done)
        | {
            "preemptions": found.preemptions,
            "out_of_memory": found.refused,
            "joules": found.joules,
            "wakes": found.wakes,
            "small_share": found.small_share,
        }
        for kind, found in runs.items()
    ]
