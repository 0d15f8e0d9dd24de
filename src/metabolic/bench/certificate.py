"""``metabolic bench certificate``: does the bound hold, and what does it keep?

Stored answers of a cheap and a dear model to the same questions are split into thirds, again and
again: a scorer is fitted on the first, thresholds are certified on the second, and the third is
folded through the real ``decide`` and ``advance``. Beside the betting test stand the naive choice
(the empirical mean) and the binomial test, on the same splits; and, where a second cheap model's
answers are stored, ``agreement``: the betting test on drafts that say what that one says.
"""

__all__ = ["Options", "run"]

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct
from threadpoolctl import threadpool_limits

from metabolic.bench.material import Material, Parts, material, parts, safety
from metabolic.bench.report import Figure, Missing, Report, Row, interval, progress, report
from metabolic.bench.scorer import Array, area
from metabolic.bench.stored import CHEAP, DEAR, LANE, PARTNER, SCORE, Item, Kept, decided, fold
from metabolic.bench.synthetic import EPSILON, exceeded
from metabolic.bench.tables import Table, pair_of, tables
from metabolic.bench.thresholds import METHODS
from metabolic.core.certificate import Certificate
from metabolic.core.decision import Decision, Stage
from metabolic.decide.assurance import AGREEMENT
from metabolic.decide.certificate import Pair, Subject, certify

EPSILONS = (0.02, 0.05, 0.1)
RATIOS = (2, 4, 10)
GRID = tuple(round(0.995 - 0.005 * step, 3) for step in range(199))
"""Thresholds of a score in (0, 1), fixed before any row is seen."""

_NEVER_FITTED = ("routerarena",)
"""Sets that are for evaluation only by their own policy."""

_SUBJECT = Subject(lane=LANE, deployment=CHEAP, reference=DEAR, labeller="exact_match", score=SCORE)
_AGREEING = Subject(
    lane=LANE,
    deployment=CHEAP,
    reference=DEAR,
    labeller="exact_match",
    score=AGREEMENT,
    partner=PARTNER,
)
_TOO_MUCH = 1e-9
_QUICK_SETS = 2


class Options(Struct, frozen=True, kw_only=True):
    """What to measure: stored answers under ``data`` (``None``: the synthetic truth alone)."""

    data: Path | None = None
    splits: int = 40
    draws: int = 10_000
    delta: float = 0.1
    sets: tuple[str, ...] = ()
    seed: int = 0
    quick: bool = False


class _Tried(Struct, frozen=True, kw_only=True):
    """One method on one split: what the reported third kept and lost, and its costs."""

    kept: Kept
    costs: tuple[float, ...]
    refused: bool


def run(options: Options) -> Report:
    """Measure and report.

    Raises:
        ConfigError: there is no table of answers under ``data``, or no way to read one.
    """
    began_s = time.perf_counter()
    draws = min(options.draws, 500) if options.quick else options.draws
    figures = dict(_synthetic(options, draws))
    rows: list[Row] = []
    missing: list[Missing] = []
    if options.data is None:
        missing.append(Missing(figure="rows", why="no --data with stored answers"))
    else:
        found, small = tables(options.data)
        missing += [Missing(figure="rows", why=why) for why in small]
        rows, left_out = _stored(found, options)
        missing += [Missing(figure="rows", why=why) for why in left_out]
    return report(
        "certificate",
        seed=options.seed,
        seconds=time.perf_counter() - began_s,
        quick=options.quick,
        notes=_notes(options),
        figures=figures,
        rows=rows,
        missing=missing,
    )


def _notes(options: Options) -> tuple[str, ...]:
    """Return what to mind about the figures."""
    return (
        f"delta {options.delta:g}; thirds: fitted, calibrated, reported",
        "violation_ratio is counted on the reported third alone, whose own noise is in it",
        "pool_violation_ratio: on calibrated and reported thirds together, as if they were all",
        "splits of one set overlap: their shares are less certain than independent ones",
        "every second split takes calibrated and reported thirds the other way round",
        "the scorer also learns other models' graded answers to the fitting third's questions",
        "agreement: the two cheapest models asked, both at the cheap one's price",
    )


def _synthetic(options: Options, draws: int) -> Iterator[tuple[str, Figure]]:
    """Yield how often each method certifies too much where the truth is known."""
    progress(f"synthetic truth: {draws} draws")
    counts = exceeded(METHODS, delta=options.delta, draws=draws, seed=options.seed)
    for name, count in counts.items():
        share = interval(count, draws)
        yield (
            "synthetic_violation_ratio" + ("" if name == "betting" else f"_{name}"),
            Figure(
                value=share.value,
                unit="ratio",
                n=draws,
                low=share.low,
                high=share.high,
                unit_note=f"epsilon {EPSILON:g}, delta {options.delta:g}, 300 rows a draw",
            ),
        )


def _stored(found: Sequence[Table], options: Options) -> tuple[list[Row], list[str]]:
    """Return the rows of every set that can be used, and why others were left out."""
    rows: list[Row] = []
    left_out: list[str] = []
    wanted = [one for one in found if not options.sets or one.name in options.sets]
    if options.quick:
        wanted = sorted(wanted, key=lambda one: len(one.rows) * len(one.models))[:_QUICK_SETS]
    for table in wanted:
        why = _unusable(table)
        if why is not None:
            left_out.append(f"{table.name}: {why}")
            continue
        progress(f"{table.name}: {len(table.rows)} questions")
        with threadpool_limits(limits=1):
            rows += _set(material(table, () if options.quick else found), options)
    return rows, left_out


def _unusable(table: Table) -> str | None:
    """Return why nothing can be certified on a set; ``None``: it can be tried."""
    if table.name.startswith(_NEVER_FITTED):
        return "for evaluation only by its policy: nothing is fitted on it"
    cheap, _ = pair_of(table)
    return None if table.has_text(cheap) else "the answers themselves are not stored"


def _set(found: Material, options: Options) -> list[Row]:
    """Return one set's rows: every method at every epsilon over all splits."""
    tried: dict[tuple[str, float], list[_Tried]] = {}
    pooled: dict[tuple[str, float], int] = {}
    areas: list[float] = []
    count = min(options.splits, 6) if options.quick else options.splits
    split, scores = parts(found, seed=options.seed), None
    for number in range(count):
        if number % 2 and scores is not None:
            split = Parts(fit=split.fit, calibrate=split.report, report=split.calibrate)
        else:
            split = parts(found, seed=options.seed * 1000 + number)
            scores = safety(found, split, seed=number)
        shown = list(split.report)
        measured = area(found.good[shown] >= 0.5, scores[shown])  # noqa: PLR2004 - good or not
        areas += [] if measured is None else [measured]
        for (method, epsilon), one, lost in _methods(found, split, scores, options):
            tried.setdefault((method, epsilon), []).append(one)
            pooled[method, epsilon] = pooled.get((method, epsilon), 0) + lost
    mean_area = sum(areas) / len(areas) if areas else None
    return [
        {**_row(found, split, key, ones, pooled[key], options), "auroc": mean_area}
        for key, ones in tried.items()
    ]


def _methods(
    found: Material, split: Parts, scores: Array, options: Options
) -> Iterator[tuple[tuple[str, float], _Tried, bool]]:
    """Yield what each method does on one split, and whether it lost too much of the pool."""
    calibrated = _items(found, split.calibrate, scores)
    reported = _items(found, split.report, scores)
    seen: dict[tuple[int, tuple[Stage, ...]], Kept] = {}
    for epsilon in EPSILONS:
        for method, made in _certificates(calibrated, epsilon=epsilon, delta=options.delta):
            decisions = [decided(made, cost_ratio=ratio) for ratio in RATIOS]
            folded = [_folded(one, reported, seen) for one in decisions]
            before = _folded(decisions[-1], calibrated, seen)
            one = _Tried(
                kept=folded[-1],
                costs=tuple(
                    each.net_cost(ratio) for each, ratio in zip(folded, RATIOS, strict=True)
                ),
                refused=made.refused is not None,
            )
            lost = before.loss_all * len(calibrated) + one.kept.loss_all * len(reported)
            pool = lost / (len(calibrated) + len(reported))
            yield (method, epsilon), one, pool > epsilon + _TOO_MUCH


def _certificates(
    rows: Sequence[Item], *, epsilon: float, delta: float
) -> Iterator[tuple[str, Certificate]]:
    """Yield the certificate that each method makes of these rows."""
    pairs = [Pair(confidence=one.confidence, loss=one.dear - one.cheap) for one in rows]
    for method, test in METHODS.items():
        yield (
            method,
            certify(pairs, _SUBJECT, epsilon=epsilon, delta=delta, grid=GRID, test=test),
        )
    if any(one.agrees is None for one in rows):
        return
    agreed = [Pair(confidence=float(one.agrees is True), loss=one.dear - one.cheap) for one in rows]
    yield "agreement", certify(agreed, _AGREEING, epsilon=epsilon, delta=delta, grid=(1.0,))


def _folded(
    decision: Decision, items: Sequence[Item], seen: dict[tuple[int, tuple[Stage, ...]], Kept]
) -> Kept:
    """Return what a decision does with these items; equal stages are folded once."""
    key = id(items), decision.stages
    if key not in seen:
        seen[key] = fold(decision, items)
    return seen[key]


def _items(found: Material, rows: Sequence[int], scores: Array) -> list[Item]:
    """Return rows as what is folded."""
    return [
        Item(
            float(found.good[at]),
            float(found.reference[at]),
            float(scores[at]),
            None if found.agrees is None else found.agrees[at],
        )
        for at in rows
    ]


def _row(
    found: Material,
    split: Parts,
    key: tuple[str, float],
    ones: Sequence[_Tried],
    pooled: int,
    options: Options,
) -> Row:
    """Return one line of the table: means over splits."""
    method, epsilon = key
    count = len(ones)
    wrong = interval(sum(one.kept.loss_all > epsilon + _TOO_MUCH for one in ones), count)
    among = [one.kept.loss_kept for one in ones if one.kept.loss_kept is not None]
    costs = [sum(each) / count for each in zip(*(one.costs for one in ones), strict=True)]
    return {
        "set": found.name,
        "method": method,
        "epsilon": epsilon,
        "delta": options.delta,
        "calibration_rows": len(split.calibrate),
        "splits": count,
        "violation_ratio": wrong.value,
        "violation_low": wrong.low,
        "violation_high": wrong.high,
        "pool_violation_ratio": pooled / count,
        "kept_small_ratio": sum(one.kept.kept for one in ones) / count,
        "loss_all": sum(one.kept.loss_all for one in ones) / count,
        "loss_kept": sum(among) / len(among) if among else None,
        **{f"net_cost_ratio_{at}": cost for at, cost in zip(RATIOS, costs, strict=True)},
        "refused_ratio": sum(one.refused for one in ones) / count,
        "fit_rows": len(split.fit),
        "reported_rows": len(split.report),
        "cheap": found.cheap,
        "dear": found.dear,
        "partner": found.partner if method == "agreement" else None,
    }
