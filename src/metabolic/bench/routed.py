"""Policies on stored answers of many models: who is asked, what it gives, what it costs.

One half of a set's questions teaches the scorer and chooses thresholds (on scores of rows that the
scorer had not seen, by threefold fitting inside that half); the other half is reported. Everything
that asks the cheap model first is folded through ``advance``. A threshold is the cheapest that
loses at most ``max_loss`` on the choosing half: chosen naively, on purpose; what holds with a
probability is what ``metabolic bench certificate`` measures.
"""

__all__ = ["Half", "Outcome", "apgr", "halves", "outcomes"]

import random
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from msgspec import Struct

from metabolic.bench.material import Material, fitted
from metabolic.bench.scorer import Array
from metabolic.bench.stored import CHEAP, DEAR, Item, fold
from metabolic.bench.tables import Table
from metabolic.core.decision import Decision, Stage

_FOLDS = 3
_STEPS = 40
_GOOD = 0.5


class Outcome(Struct, frozen=True, kw_only=True):
    """One policy on the reported half: accuracy, net dollars a question, share of dear calls."""

    accuracy: float
    usd: float
    strong: float


class Half(Struct, frozen=True, kw_only=True):
    """Both halves, and scores: on the choosing half of rows not fitted on, on the other of all."""

    choose: tuple[int, ...]
    report: tuple[int, ...]
    safe: Array
    draft: Array
    gain: Array


def halves(found: Material, *, seed: int) -> Half:
    """Return a split by question, scored."""
    unique = sorted(set(found.keys))
    random.Random(seed).shuffle(unique)
    chosen = set(unique[: len(unique) // 2])
    choose = tuple(at for at, key in enumerate(found.keys) if key in chosen)
    report = tuple(at for at, key in enumerate(found.keys) if key not in chosen)
    scores = {name: np.zeros(len(found.keys)) for name in ("safe", "draft", "gain")}
    fold_of = {key: at % _FOLDS for at, key in enumerate(unique)}
    for number in range(_FOLDS):
        inside = [at for at in choose if fold_of[found.keys[at]] != number]
        outside = [at for at in choose if fold_of[found.keys[at]] == number]
        _score(found, inside, outside, scores, seed=seed)
    _score(found, choose, report, scores, seed=seed)
    return Half(choose=choose, report=report, **scores)


def _score(
    found: Material,
    fit: Sequence[int],
    rows: Sequence[int],
    scores: Mapping[str, Array],
    *,
    seed: int,
) -> None:
    """Fit on some rows and score others."""
    scorer, at = fitted(found, fit, seed=seed), list(rows)
    scores["gain"][at] = scorer.gain(found.asked[at])
    if not found.has_text:
        return
    scores["safe"][at] = scorer.safe(found.figures[at], found.asked[at])
    scores["draft"][at] = scorer.draft(found.figures[at], found.asked[at])


def apgr(score: Array, weak: Array, strong: Array) -> float | None:
    """Return the mean share of the gap recovered over all shares of strong calls.

    The highest scores go to the strong model first; random is 0.5. ``None`` without a gap.
    Source: RouteLLM, arXiv 2406.18665, by an exact sweep over every cut.
    """
    gap = float(strong.mean() - weak.mean())
    if abs(gap) < 1e-9:  # noqa: PLR2004 - none
        return None
    order = np.argsort(-score, kind="stable")
    recovered = np.concatenate([[0.0], np.cumsum((strong - weak)[order])]) / len(weak) / gap
    return float(np.trapezoid(recovered, np.linspace(0, 1, len(recovered))))


def outcomes(
    table: Table, found: Material, half: Half, *, ratio: float, max_loss: float
) -> Iterator[tuple[str, Outcome]]:
    """Yield every policy's name and outcome on the reported half.

    ``ratio`` is the price of a dear answer in cheap ones.
    """
    prices = _prices(table, found, ratio)
    cheap, dear = prices[found.cheap], prices[found.dear]
    report = list(half.report)
    weak, strong = found.good[report], found.reference[report]
    count = len(report)
    yield "always-small", Outcome(accuracy=float(weak.mean()), usd=cheap, strong=0.0)
    yield "always-large", Outcome(accuracy=float(strong.mean()), usd=dear, strong=1.0)
    best = _best(table, half.choose, prices)
    right = sum(table.rows[at].replies[best].score for at in report) / count
    yield (
        "best-single",
        Outcome(accuracy=right, usd=prices[best], strong=float(best == found.dear)),
    )
    last = None
    for name, test in _tried(found, half):
        if not found.has_text and name != "router-only":
            continue
        last = _chosen(found, half, test, cheap=cheap, dear=dear, max_loss=max_loss)
        yield name, last
    if last is not None:
        share = last.strong
        accuracy = (1 - share) * weak.mean() + share * strong.mean()
        usd = (1 - share) * cheap + share * dear
        yield "random", Outcome(accuracy=float(accuracy), usd=usd, strong=share)
    agreed = _agreement(table, found, report, prices)
    if agreed is not None:
        yield "agreement-only", agreed
    needed = float((strong > weak).sum()) / count
    yield (
        "oracle",
        Outcome(
            accuracy=float(np.maximum(weak, strong).mean()),
            usd=(1 - needed) * cheap + needed * dear,
            strong=needed,
        ),
    )


def _prices(table: Table, found: Material, ratio: float) -> dict[str, float]:
    """Return dollars an answer by model; without two prices the dear one costs ``ratio``."""
    if found.cheap in table.usd and found.dear in table.usd:
        free = max(table.usd.values())
        return {one: table.usd.get(one, free) for one in table.models}
    return {one: 1.0 if one == found.cheap else ratio for one in table.models}


def _best(table: Table, rows: Sequence[int], prices: Mapping[str, float]) -> str:
    """Return the model that is right most often on the choosing half, the cheaper of two."""
    return max(
        (one for one in table.models if not table.usd or one in table.usd),
        key=lambda one: (sum(table.rows[at].replies[one].score for at in rows), -prices[one]),
    )


Test = tuple[Array, Array]
"""Who skips the cheap model (higher does), and whose draft is kept (higher is)."""


def _tried(found: Material, half: Half) -> Iterator[tuple[str, Test]]:
    """Yield the policies that have thresholds, with the scores they cut."""
    never, always = np.full(len(found.keys), -np.inf), np.full(len(found.keys), np.inf)
    yield "router-only", (half.gain, always)
    yield "validator-only", (never, half.draft)
    yield "both", (half.gain, half.safe)


def _chosen(
    found: Material, half: Half, test: Test, *, cheap: float, dear: float, max_loss: float
) -> Outcome:
    """Return a policy on the reported half, at the thresholds cheapest on the other."""
    skips, keeps = test
    choose = list(half.choose)
    limit = float(found.reference[choose].mean()) - max_loss
    best: tuple[float, float, float] | None = None
    for skip in _cuts(skips[choose], highest=True):
        for keep in _cuts(keeps[choose], highest=False):
            one = _outcome(found, choose, skips >= skip, keeps >= keep, cheap=cheap, dear=dear)
            if one.accuracy >= limit and (best is None or one.usd < best[0]):
                best = (one.usd, skip, keep)
    if best is None:
        return _folded(
            found,
            half.report,
            np.full(len(skips), fill_value=True),
            keeps,
            np.inf,
            cheap=cheap,
            dear=dear,
        )
    _, skip, keep = best
    return _folded(found, half.report, skips >= skip, keeps, keep, cheap=cheap, dear=dear)


def _cuts(scores: Array, *, highest: bool) -> list[float]:
    """Return thresholds to try: quantiles of the scores, and one that nothing passes."""
    if not np.isfinite(scores).all():
        return [np.inf if highest else -np.inf]
    return [*np.quantile(scores, np.linspace(0, 1, _STEPS + 1)).tolist(), np.inf]


def _outcome(
    found: Material, rows: Sequence[int], skip: Array, keep: Array, *, cheap: float, dear: float
) -> Outcome:
    """Return what thresholds give, by arithmetic alone: for choosing among many."""
    at = list(rows)
    kept = keep[at] & ~skip[at]
    right = (kept * found.good[at] + ~kept * found.reference[at]).mean()
    strong = 1 - kept.mean()
    return Outcome(
        accuracy=float(right),
        usd=float((1 - skip[at].mean()) * cheap + strong * dear),
        strong=float(strong),
    )


def _folded(  # noqa: PLR0913 - scores, thresholds and prices of one policy
    found: Material,
    rows: Sequence[int],
    skip: Array,
    confidence: Array,
    keep: float,
    *,
    cheap: float,
    dear: float,
) -> Outcome:
    """Return what thresholds give, each question walked through ``advance``."""
    gate = Stage(deployment=CHEAP, min_confidence=None if keep == -np.inf else float(keep))
    single = confidence[0] == np.inf
    decisions = {
        True: Decision(stages=(Stage(deployment=DEAR),)),
        False: Decision(stages=(gate,) if single else (gate, Stage(deployment=DEAR))),
    }
    if single:
        decisions[False] = Decision(stages=(Stage(deployment=CHEAP),))
    right = usd = strong = 0.0
    for way in (True, False):
        items = [
            Item(float(found.good[at]), float(found.reference[at]), float(confidence[at]))
            for at in rows
            if bool(skip[at]) is way
        ]
        if items:
            share = len(items) / len(rows)
            made = fold(decisions[way], items)
            reference = sum(one.dear for one in items) / len(items)
            right += share * (reference - made.loss_all)
            usd += share * made.net_cost(dear / cheap) * dear
            strong += share * made.strong
    return Outcome(accuracy=right, usd=usd, strong=strong)


def _agreement(
    table: Table, found: Material, report: Sequence[int], prices: Mapping[str, float]
) -> Outcome | None:
    """Return two cheap models asked first, the dear one where they differ; ``None``: no second."""
    second = found.partner
    if second is None or found.agrees is None:
        return None
    rows = [table.rows[at] for at in report]
    agreed = [found.agrees[at] for at in report]
    right = sum(
        row.replies[second if yes else found.dear].score
        for row, yes in zip(rows, agreed, strict=True)
    )
    strong = 1 - sum(agreed) / len(rows)
    usd = prices[found.cheap] + prices[second] + strong * prices[found.dear]
    return Outcome(accuracy=right / len(rows), usd=usd, strong=strong)
