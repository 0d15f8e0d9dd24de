"""Charged against true joules: ours, and simpler ways to share the same windows.

All ways see the same meter and the same calls. *equal* divides a window's joules by heads in
flight, *tokens only* by tokens in the window (prompt and decode alike), *seconds* by time in
flight. The simpler ways are given every token's true time; ours has to wait for what engines say.
"""

__all__ = ["METHODS", "Case", "Score", "baselines", "pooled", "scored"]

from collections.abc import Callable, Mapping, Sequence
from random import Random
from statistics import fmean, median

from msgspec import Struct

from metabolic.account.presence import ALONE_RATIO, Flight, Presence, phases_of, presences

METHODS = ("ours", "equal_split", "tokens_only", "seconds_only")
_RESAMPLES = 1000

_WAYS: Mapping[str, Callable[[Presence], float]] = {
    "equal_split": lambda one: 1.0 if one.seconds > 0 else 0.0,
    "tokens_only": lambda one: one.prompt_tokens + one.decode_tokens,
    "seconds_only": lambda one: one.seconds,
}


class Case(Struct, frozen=True, kw_only=True):
    """One thing that truly took ``true_j``, what each method charged it, and its cluster.

    Cases of one ``cluster`` shared a window; resampling keeps them together.
    """

    cluster: int
    true_j: float
    charged_j: Mapping[str, float]

    def error(self, method: str) -> float:
        """Return the absolute error of a method over the truth."""
        return abs(self.charged_j[method] - self.true_j) / self.true_j


class Score(Struct, frozen=True, kw_only=True):
    """A method's mean absolute error ratio on one source, with 95 % intervals.

    ``worse`` is by how much it is worse than ours on the same cases (negative: better).
    """

    source: str
    method: str
    n: int
    mape: float
    low: float
    high: float
    median: float
    worse: float
    worse_low: float
    worse_high: float


def baselines(
    flights: Sequence[Flight], windows: Sequence[tuple[float, float, float]]
) -> dict[str, dict[str, float]]:
    """Return by method and call what the simpler ways charge; windows are from, to, joules."""
    found = {name: dict.fromkeys((one.call for one in flights), 0.0) for name in _WAYS}
    ordered = sorted(flights, key=lambda one: one.began_s)
    for from_s, to_s, joules in windows:
        inside = [
            one
            for one in ordered
            if one.began_s < to_s and (one.ended_s is None or one.ended_s > from_s)
        ]
        spans = phases_of(inside, to_s=to_s, alone_ratio=ALONE_RATIO)
        parts = presences(spans, from_s=from_s, to_s=to_s)
        for name, way in _WAYS.items():
            weights = [way(one) for one in parts]
            whole = sum(weights)
            for one, weight in zip(parts, weights, strict=True):
                found[name][one.call] += joules * weight / whole if whole > 0 else 0.0
    return found


def scored(source: str, cases: Sequence[Case], *, seed: int) -> list[Score]:
    """Return every method's score on one source; empty without cases."""
    if not cases:
        return []
    errors = {name: [one.error(name) for one in cases] for name in METHODS}
    clusters: dict[int, list[int]] = {}
    for number, one in enumerate(cases):
        clusters.setdefault(one.cluster, []).append(number)
    drawn = _resampled(errors, list(clusters.values()), seed=seed)
    ours = fmean(errors["ours"])
    scores: list[Score] = []
    for name in METHODS:
        low, high = _middle([one[name] for one in drawn])
        worse_low, worse_high = _middle([one[name] - one["ours"] for one in drawn])
        mape = fmean(errors[name])
        scores.append(
            Score(
                source=source,
                method=name,
                n=len(cases),
                mape=mape,
                low=low,
                high=high,
                median=median(errors[name]),
                worse=mape - ours,
                worse_low=worse_low,
                worse_high=worse_high,
            )
        )
    return scores


def pooled(scores: Sequence[Score], method: str) -> tuple[float, float, float, int] | None:
    """Return the mean over sources with its interval (sources taken as given), and cases."""
    mine = [one for one in scores if one.method == method]
    if not mine:
        return None
    value = fmean(one.mape for one in mine)
    half = sum(((one.high - one.low) / 2) ** 2 for one in mine) ** 0.5 / len(mine)
    return value, max(0.0, value - half), value + half, sum(one.n for one in mine)


def _resampled(
    errors: Mapping[str, Sequence[float]], clusters: Sequence[Sequence[int]], *, seed: int
) -> list[dict[str, float]]:
    """Return each method's mean error on resampled clusters, the same for all methods."""
    draw = Random(seed)
    sums = [
        {name: sum(errors[name][i] for i in cluster) for name in METHODS} for cluster in clusters
    ]
    sizes = [len(cluster) for cluster in clusters]
    found: list[dict[str, float]] = []
    for _ in range(_RESAMPLES):
        picks = draw.choices(range(len(clusters)), k=len(clusters))
        n = sum(sizes[i] for i in picks)
        found.append({name: sum(sums[i][name] for i in picks) / n for name in METHODS})
    return found


def _middle(values: Sequence[float]) -> tuple[float, float]:
    """Return the middle 95 %."""
    ranked = sorted(values)
    cut = len(ranked) // 40
    return ranked[cut], ranked[-1 - cut]
