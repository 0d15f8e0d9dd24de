"""How well times and joules of a token are foreseen: for unseen models, and after two probes.

Data: Parquet tables of measured serving configurations (the columns of the ML.ENERGY leaderboard),
found by their columns. A *deployment* is one model on one kind and number of GPUs, with its
parallelism, precision and task; a row is one batch size of it. The time of a token is the batch
over the throughput, so scheduling and prefill are in it.

*leave_one_out*: an additive roofline (weights read, of mixtures as many experts as the batch
touches; cache; arithmetic; links; steps) is fitted per kind of GPU to all other models and
foretells this one; power is fitted likewise to how busy memory and arithmetic then are.
*two_probes*: the smallest and the middle batch of a deployment are measured; the others are
foretold by the geometric mean of the product's own fit to the two (``decide.roofline``, what the
gateway runs) and of the unseen model's curve, put right at the two. *two_probes_line* is the
product's fit alone, *straight_line* the baseline: a line through both.

The form (exponent, pull, mean of the two) was chosen on the models whose name's SHA-256 begins
with an even byte; the others are reported apart (``unseen`` in the rows, figures ``…_unseen``).
"""

__all__ = ["Options", "run"]

import hashlib
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from metabolic.bench.estimators_fit import Curves, curves, power_after, time_after
from metabolic.bench.estimators_read import Group, Point, groups
from metabolic.bench.report import Figure, Missing, Report, Row, quantile, report

_LEAST_POINTS = 3
_RESAMPLES = 400
_QUICK_GROUPS = 30


class Options(Struct, frozen=True, kw_only=True):
    """Where the tables are, and how much of them is used."""

    data: Path | None = None
    seed: int = 0
    quick: bool = False


class _Error(Struct, frozen=True, kw_only=True):
    """One prediction: absolute relative errors of the token's time and joules."""

    group: Group
    protocol: str
    batch: float
    ape: float
    energy_ape: float
    unseen: bool


def run(options: Options) -> Report:
    """Predict every deployment under ``options.data`` and report how far off it was."""
    began_s = time.perf_counter()
    if options.data is None:
        return _nothing("no --data folder was given", options, began_s)
    found = groups(options.data)
    if not found:
        return _nothing(
            f"no table of serving configurations under {options.data}", options, began_s
        )
    asked = found
    if options.quick:
        step = max(1, len(found) // _QUICK_GROUPS)
        asked = found[options.seed % step :: step]
    known = curves(found, models={one.model for one in asked})
    errors = [error for group in asked for error in _errors(group, known)]
    return report(
        "estimators",
        seed=options.seed,
        seconds=time.perf_counter() - began_s,
        quick=options.quick,
        notes=_notes(found, asked),
        figures=_figures(errors, options.seed),
        rows=_rows(errors),
        missing=_missing(errors),
    )


def _nothing(why: str, options: Options, began_s: float) -> Report:
    """Return a report without figures."""
    names = ("tpot_mape", "tpot_ape_median", "tpot_ape_p90", "energy_mape")
    return report(
        "estimators",
        seed=options.seed,
        seconds=time.perf_counter() - began_s,
        quick=options.quick,
        missing=[Missing(figure=name, why=why) for name in names],
    )


def _errors(group: Group, known: Curves) -> Iterable[_Error]:
    """Predict one deployment by every protocol."""
    unseen = hashlib.sha256(group.model.encode()).digest()[0] % 2 == 1
    curve = known.get(group)
    if curve is not None:
        for point, (token_s, power_w) in zip(group.points, curve, strict=True):
            yield _error(group, "leave_one_out", point, token_s, power_w, unseen=unseen)
    if len(group.points) < _LEAST_POINTS:
        return
    middle = len(group.points) // 2
    probes = (0, middle)
    times = time_after(group, probes, None if curve is None else [one[0] for one in curve])
    powers = power_after(group, probes)
    for index, point in enumerate(group.points):
        if index not in probes:
            for protocol, token_s in times[index].items():
                yield _error(group, protocol, point, token_s, powers[index], unseen=unseen)


def _error(
    group: Group, protocol: str, point: Point, token_s: float, power_w: float, *, unseen: bool
) -> _Error:
    """Compare one prediction with what was measured."""
    energy_j = power_w * token_s / point.batch
    return _Error(
        group=group,
        protocol=protocol,
        batch=point.batch,
        ape=abs(token_s - point.token_s) / point.token_s,
        energy_ape=abs(energy_j - point.token_j) / point.token_j,
        unseen=unseen,
    )


def _figures(errors: Sequence[_Error], seed: int) -> dict[str, Figure]:
    """Return the figures: after two probes, and with a suffix those of other protocols."""
    made: dict[str, Figure] = {}
    for protocol, suffix in (
        ("two_probes", ""),
        ("leave_one_out", "_leave_one_out"),
        ("two_probes_line", "_line"),
        ("straight_line", "_straight_line"),
    ):
        ours = [one for one in errors if one.protocol == protocol]
        made |= _summary(ours, suffix, seed)
        made |= _summary([one for one in ours if one.unseen], f"{suffix}_unseen", seed)
    return made


def _summary(errors: Sequence[_Error], suffix: str, seed: int) -> dict[str, Figure]:
    """Return mean, median and tail of the errors, with intervals from resampled deployments."""
    if not errors:
        return {}
    times, joules = [one.ape for one in errors], [one.energy_ape for one in errors]
    low, high = _spread([(one.group, one.ape) for one in errors], seed)
    low_j, high_j = _spread([(one.group, one.energy_ape) for one in errors], seed)
    return {
        f"tpot_mape{suffix}": _figure(_mean(times), len(times), low, high),
        f"tpot_ape_median{suffix}": _figure(quantile(times, 0.5) or 0.0, len(times)),
        f"tpot_ape_p90{suffix}": _figure(quantile(times, 0.9) or 0.0, len(times)),
        f"energy_mape{suffix}": _figure(_mean(joules), len(joules), low_j, high_j),
        f"energy_ape_median{suffix}": _figure(quantile(joules, 0.5) or 0.0, len(joules)),
    }


def _figure(value: float, n: int, low: float | None = None, high: float | None = None) -> Figure:
    """Return a share as a figure."""
    return Figure(value=value, unit="ratio", n=n, low=low, high=high)


def _mean(values: Sequence[float]) -> float:
    """Return the mean."""
    return sum(values) / len(values)


def _spread(pairs: Sequence[tuple[Group, float]], seed: int) -> tuple[float, float]:
    """Return the middle 95 % of means over deployments drawn with replacement."""
    import random  # noqa: PLC0415 - as numpy is

    draw = random.Random(seed)
    by_group: dict[int, list[float]] = {}
    for group, value in pairs:
        by_group.setdefault(id(group), []).append(value)
    parts = [(sum(values), len(values)) for values in by_group.values()]
    means: list[float] = []
    for _ in range(_RESAMPLES):
        drawn = draw.choices(parts, k=len(parts))
        means.append(sum(total for total, _ in drawn) / sum(count for _, count in drawn))
    means.sort()
    return means[int(0.025 * _RESAMPLES)], means[int(0.975 * _RESAMPLES) - 1]


def _rows(errors: Sequence[_Error]) -> list[Row]:
    """Return one row for each prediction of the two protocols of the contract."""
    return [
        {
            "set": one.group.set,
            "deployment": one.group.name,
            "protocol": one.protocol,
            "batch": round(one.batch, 1),
            "ape": one.ape,
            "energy_ape": one.energy_ape,
            "unseen": one.unseen,
        }
        for one in errors
        if one.protocol in {"leave_one_out", "two_probes"}
    ]


def _notes(found: Sequence[Group], asked: Sequence[Group]) -> list[str]:
    """Say what was used, and how to read it."""
    few = sum(len(one.points) < _LEAST_POINTS for one in asked)
    points = sum(len(one.points) for one in asked)
    used = f"{len(asked)} of {len(found)} deployments, {points} points"
    return [
        f"{used}; {few} have too few points for two probes and a third",
        "figures without a suffix are those after two probes",
        "intervals: deployments drawn with replacement",
    ]


def _missing(errors: Sequence[_Error]) -> list[Missing]:
    """Name what could not be foretold."""
    have = {one.protocol for one in errors}
    return [
        Missing(figure=f"tpot_mape{suffix}", why=why)
        for protocol, suffix, why in (
            ("two_probes", "", "no deployment has three batch sizes"),
            ("leave_one_out", "_leave_one_out", "no GPU has been measured with two models"),
        )
        if protocol not in have
    ]
