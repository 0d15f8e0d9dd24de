"""Does the router know the query? Its figures beside the baselines that embarrass most routers.

Outcome tables give the rows (``router_sets``); our own labelled prompts the classifier's figures
(``router_tasks``); a stopwatch the latencies (``router_speed``). Nothing is chosen on what is
reported: constants come from other seeds, prices of a unit of cost from the training questions of
each split.
"""

__all__ = ["Options", "run"]

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct

from metabolic import plugins
from metabolic.bench import router_speed, router_tasks
from metabolic.bench.report import Figure, Missing, Report, Row, progress, report
from metabolic.bench.router_attacks import attacks
from metabolic.bench.router_methods import subject_of
from metabolic.bench.router_mixes import MIX, mixes
from metabolic.bench.router_sets import Plan, evaluate
from metabolic.bench.router_tally import Tally, pooled
from metabolic.train.matrix import Matrix, prompts_of
from metabolic.train.outcomes import Outcomes, read
from metabolic.train.shipped import digest, shipped_heads, trained_on

_EVALUATION_ONLY = ("routerarena",)
"""Sets whose makers allow no fitting of any kind: only frozen weights are measured there."""

_QUICK_QUESTIONS, _QUICK_MODELS, _QUICK_SETS = 160, 4, 3
_NOTES = (
    """apgr intervals: 200 resamples of the questions, of whole domains for unseen_domain, the same
    in every split, averaged over the splits; gain_over_length is paired with them""",
    """cost_at_best_single_ratio: the price of a unit of cost is chosen on training questions, so
    quality may miss the best single model's by loss_at_best_single; cost_on_curve_ratio reads
    the reported curve at equal quality, as published routers do, and flatters""",
    "axis joules: modelled by size alone, for sets of open weights without prices",
)
"""Blanks of the source are taken out where they are shown."""


class Options(Struct, frozen=True, kw_only=True):
    """What to measure; ``weights`` are those to use as shipped (``None``: those that come along).

    ``unseen_only`` leaves out every question the weights were trained on, so that all sets start
    from them as a new one would. ``sets`` are beginnings of names, ``()`` is all. ``workers`` is
    the number of processes.
    """

    data: Path | None = None
    sets: tuple[str, ...] = ()
    unseen_only: bool = False
    weights: Path | None = None
    splits: int = 10
    seed: int = 0
    workers: int = 2
    quick: bool = False


class _Result(Struct):
    """What one set gave."""

    rows: list[Row]
    pooled: Mapping[str, Tally]
    spearman: float | None
    name: str


def run(options: Options) -> Report:
    """Measure, and say what it was.

    Raises:
        ConfigError: there is no outcome table under the folder, or an extra is missing.
    """
    began_s = time.monotonic()
    figures: dict[str, Figure] = {}
    rows: list[Row] = []
    missing: list[Missing] = []
    figures |= router_speed.figures(quick=options.quick)
    labelled, task_rows = router_tasks.measure()
    figures |= labelled
    rows += task_rows
    rows += attacks(seed=options.seed)
    if options.data is None:
        why = "no outcome tables: give --data"
        missing += [Missing(figure="rows", why=why), Missing(figure="difficulty_spearman", why=why)]
    else:
        rows += router_tasks.mapped(options.data)
        results, skipped = _sets(options)
        missing += skipped
        rows += [row for one in results for row in one.rows]
        rows += _pooled(results)
        _difficulty(results, figures, missing)
    return report(
        "router",
        seed=options.seed,
        seconds=time.monotonic() - began_s,
        quick=options.quick,
        notes=[" ".join(note.split()) for note in _NOTES],
        figures=figures,
        rows=rows,
        missing=missing,
    )


def _sets(options: Options) -> tuple[list[_Result], list[Missing]]:
    """Evaluate every set under the folder."""
    assert options.data is not None
    found, skipped = read(options.data)
    found = _asked(found, options)
    missing = [Missing(figure=f"rows of {one.name}", why=one.why) for one in skipped]
    found = (*found, *mixes([one for one in found if not one.name.startswith(_EVALUATION_ONLY)]))
    work = [_smaller(one, options) if options.quick else _priced(one) for one in found]
    if options.quick:
        work = work[:: max(1, len(work) // _QUICK_SETS)][:_QUICK_SETS]
        missing.append(Missing(figure="rows of the other sets", why="a quick run"))
    work.sort(key=lambda one: -len(one.questions))  # the longest first: workers end together
    if options.workers < 2 or options.quick:  # noqa: PLR2004 - one is no pool
        results = [_evaluate(one, options) for one in work]
    else:
        with ProcessPoolExecutor(options.workers) as pool:
            results = list(pool.map(_evaluate, work, [options] * len(work)))
    for one in results:
        for row in ("fitted", "shipped"):
            if not any(r["kind"] == row for r in one.rows):
                why = "its makers allow no fitting" if row == "fitted" else _NO_SHIPPED
                missing.append(Missing(figure=f"{row} rows of {one.name}", why=why))
    return sorted(results, key=lambda one: one.name), missing


def _asked(found: Sequence[Outcomes], options: Options) -> tuple[Outcomes, ...]:
    """Return the sets that are wanted, without what the weights know if that is wanted."""
    if options.sets:
        found = [one for one in found if one.name.startswith(options.sets)]
    if options.unseen_only:
        known = trained_on(shipped_heads(options.weights)[0])
        fresh = [[i for i, key in enumerate(one.keys) if digest(key) not in known] for one in found]
        found = [
            one.rows(kept) for one, kept in zip(found, fresh, strict=True) if len(kept) >= _MIN_LEFT
        ]
    return tuple(found)


_MIN_LEFT = 40
_NO_SHIPPED = "its questions are in the training, or its models' names tell no sizes"


def _priced(one: Outcomes) -> Outcomes:
    """Return the part of a set whose models have prices, where at least two have."""
    known = [j for j in range(len(one.models)) if not np.isnan(one.costs[:, j]).any()]
    return one.columns(known) if len(known) > 1 else one


def _smaller(one: Outcomes, options: Options) -> Outcomes:
    """Return a small part of a set: some questions, some models."""
    order = np.random.default_rng(options.seed).permutation(len(one.questions))
    kept = _priced(one)
    return kept.rows(np.sort(order[:_QUICK_QUESTIONS])).columns(
        range(min(_QUICK_MODELS, len(kept.models)))
    )


def _evaluate(one: Outcomes, options: Options) -> _Result:
    """Run every method on one set."""
    began_s = time.monotonic()
    path, heads = shipped_heads(options.weights)
    known = trained_on(path)
    prompts = prompts_of(one.questions, heads)
    columns = tuple(column.name for column in heads.header.columns)
    spearman = _spearman(one, prompts.base, columns, known)
    familiar = any(digest(key) in known for key in one.keys)
    # Heads that know the answers would tell lanes apart by them.
    kind, table = ("rules", None) if familiar else ("learned", {"weights": str(path)})
    classifier = plugins.classifier(kind, table)
    labels = one.categories if one.name.startswith(MIX) else ()
    subject = fair = subject_of(one, prompts, classifier, labels=labels)
    if familiar:
        bare = msgspec.structs.replace(prompts, base=prompts.base[:, :0])
        fair = msgspec.structs.replace(subject, prompts=bare, slope={}, said={})
    plan = Plan(
        count=2 if options.quick else options.splits,
        seed=options.seed,
        columns=columns,
        trained=known,
        trained_sets=heads.header.sets,
    )
    fitting = not one.name.startswith(_EVALUATION_ONLY)
    rows, pooled = evaluate(fair, subject, plan, fitting=fitting)
    progress(f"{one.name}: {len(one.questions)} questions, {time.monotonic() - began_s:.0f} s")
    return _Result(rows=rows, pooled=pooled, spearman=spearman, name=one.name)


def _spearman(
    one: Outcomes, base: Matrix, columns: tuple[str, ...], known: frozenset[int]
) -> float | None:
    """Return the rank correlation of predicted difficulty and mean error, on unseen questions.

    Predicted is what all sizes find hard: one minus the mean of their heads.
    """
    fresh = [i for i, key in enumerate(one.keys) if digest(key) not in known]
    sizes = [j for j, name in enumerate(columns) if name.startswith("size:")]
    mixed = one.name.startswith(MIX)
    if mixed or not sizes or len(fresh) < _MIN_RANKED or len(one.models) < _MIN_GRADERS:
        return None
    error = 1.0 - one.scores[fresh].mean(axis=1)
    said = 1.0 - base[fresh][:, sizes].mean(axis=1)
    if error.std() == 0 or said.std() == 0:
        return None
    ranks = [np.argsort(np.argsort(one, kind="stable"), kind="stable") for one in (said, error)]
    tied = np.unique(error, return_inverse=True)[1]
    sums = np.bincount(tied, ranks[1]) / np.bincount(tied)
    return float(np.corrcoef(ranks[0], sums[tied])[0, 1])


_MIN_RANKED = 60
_MIN_GRADERS = 4


def _difficulty(
    results: Sequence[_Result], figures: dict[str, Figure], missing: list[Missing]
) -> None:
    """Put the mean over sets of the rank correlation with what is really hard."""
    values = [one.spearman for one in results if one.spearman is not None]
    if not values:
        why = "no set of at least four models whose questions the weights have not seen"
        missing.append(Missing(figure="difficulty_spearman", why=why))
        return
    figures["difficulty_spearman"] = Figure(
        value=float(np.mean(values)),
        unit="",
        n=len(values),
        low=min(values),
        high=max(values),
        unit_note="mean over sets, within each; low and high are the least and the greatest set",
    )


def _pooled(results: Sequence[_Result]) -> list[Row]:
    """Return what each method costs at the best single's quality over all sets with prices."""
    by_method: dict[str, list[Tally]] = {}
    for one in results:
        for name, tally in one.pooled.items():
            row = next(r for r in one.rows if (r["method"], r["split"]) == (name, "random"))
            known = tally.ratio or tally.decided
            if known and row["axis"] == "usd" and not one.name.startswith(MIX):
                by_method.setdefault(name, []).append(tally)
    most = max(map(len, by_method.values()), default=0)
    return [pooled(name, found) for name, found in by_method.items() if len(found) == most]
