"""One set of outcomes through every method and every split: the rows of the router benchmark."""

__all__ = ["Plan", "evaluate"]

from collections.abc import Mapping
from typing import Literal

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from metabolic.bench.report import Row
from metabolic.bench.router_axis import axis_of
from metabolic.bench.router_decided import decided
from metabolic.bench.router_lanewise import ALLOWED, Part, lanewise, worst
from metabolic.bench.router_methods import METHODS, Method, Subject, shipped_chance
from metabolic.bench.router_metrics import Curve, aiq, cheapest_at, curve, pair, resampled
from metabolic.bench.router_splits import Split, splits
from metabolic.bench.router_tally import Shape, Tally, lane_rows, rows_of
from metabolic.train.outcomes import Outcomes
from metabolic.train.shipped import digest

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
Kind = Literal["random", "unseen_domain"]

_FOLDS = 2
_LABELLED = 5
"""Lanes on the path of a query that has a task label of its tenant's: its own, task, …, all."""

_RESAMPLES = 200
_EDGE = 1e-12
_MIN_FRESH = 60


class Plan(Struct, frozen=True, kw_only=True):
    """How much is done: splits a kind, the seed, and what the shipped weights know."""

    count: int
    seed: int
    columns: tuple[str, ...] = ()
    trained: frozenset[int] = frozenset()
    trained_sets: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] = ("random", "unseen_domain")


def evaluate(
    subject: Subject, seen: Subject, plan: Plan, *, fitting: bool
) -> tuple[list[Row], Mapping[str, Tally]]:
    """Return a set's rows, and the tallies of its random splits by method, for pooling.

    ``seen`` is the set with what the shipped heads say, whether or not they were trained on it;
    ``subject`` has it only where they were not.
    """
    rows: list[Row] = []
    pooled: dict[str, Tally] = {}
    for kind in plan.kinds if fitting else ():
        halves = splits(subject.outcomes, kind, count=plan.count, seed=plan.seed)
        if not halves:
            continue
        used = subject if kind == "random" else _bare(subject)
        set_ = _Set(used, kind, halves, plan)
        for name, method in _methods(used).items():
            set_.add(name, method)
        set_.add("random", _random)
        set_.add("oracle", _oracle)
        set_.add("best single", _best)
        set_.decide("gateway: lanes, edge", "edge", None)
        set_.decide("gateway: lanes + heads, edge", "edge", METHODS["ours"])
        rows += set_.rows("fitted")
        if kind == "random":
            pooled = set_.tallies
    rows += _shipped(seen, plan)
    return rows, pooled


def _bare(subject: Subject) -> Subject:
    """Return a set without what the shipped weights say: they know most domains already."""
    base = subject.prompts.base[:, :0]
    prompts = msgspec.structs.replace(subject.prompts, base=base)
    return msgspec.structs.replace(subject, prompts=prompts, slope={}, said={})


def _methods(subject: Subject) -> dict[str, Method]:
    """Return the methods; without a head start ours is ours alone."""
    made = dict(METHODS)
    if not subject.prompts.base.shape[1]:
        made["ours"] = made.pop("ours without head start")
    return made


def _random(subject: Subject, train: NDArray[np.int64], test: NDArray[np.int64]) -> Matrix:
    """Lots."""
    rng = np.random.default_rng(len(train) * 7919 + int(test[0]))
    return rng.random((len(test), len(subject.outcomes.models)))


def _oracle(subject: Subject, train: NDArray[np.int64], test: NDArray[np.int64]) -> Matrix:
    """What happened: a bound, no router."""
    del train
    return subject.outcomes.scores[test]


def _best(subject: Subject, train: NDArray[np.int64], test: NDArray[np.int64]) -> Matrix:
    """Always the best single model."""
    best = int(np.argmax(subject.outcomes.scores[train].mean(axis=0)))
    made = np.zeros((len(test), len(subject.outcomes.models)))
    made[:, best] = 1e6
    return made


def _shipped(subject: Subject, plan: Plan) -> list[Row]:
    """Return the rows of the weights that ship, on questions they were not trained on."""
    outcomes = subject.outcomes
    halves = _untrained(outcomes, plan)
    known = shipped_chance(subject, plan.columns, np.arange(len(outcomes.questions)))
    if not halves or known is None:
        return []
    set_ = _Set(subject, "random", halves, plan)
    set_.add("ours", lambda _, __, test: known[test], labels=0)
    set_.add("prompt length", METHODS["prompt length"], labels=0)
    set_.add("random", _random)
    set_.add("oracle", _oracle, labels=0)
    same = outcomes.name in plan.trained_sets
    return [
        {**row, "label_budget": 0, "head_start": False, "other_questions_of_set_trained": same}
        for row in set_.rows("shipped")
    ]


def _untrained(outcomes: Outcomes, plan: Plan) -> tuple[Split, ...]:
    """Return random splits whose test parts the shipped weights have never seen."""
    fresh = np.array([digest(key) not in plan.trained for key in outcomes.keys])
    if fresh.sum() < _MIN_FRESH:
        return ()
    halves = splits(outcomes, "random", count=plan.count, seed=plan.seed)
    return tuple(Split(train=one.train, test=one.test[fresh[one.test]]) for one in halves)


class _Set:
    """One kind of split of one set, and what the methods get on it."""

    def __init__(
        self,
        subject: Subject,
        kind: Kind,
        halves: tuple[Split, ...],
        plan: Plan,
    ) -> None:
        self._subject, self._kind, self._halves = subject, kind, halves
        self._axis, self._plan = axis_of(subject.outcomes), plan
        self._drawn = self._lots()
        self.tallies: dict[str, Tally] = {}

    def add(self, name: str, method: Method, *, labels: int = 1) -> None:
        """Run a method on every split; without ``labels`` nothing is chosen on them."""
        tally = Tally()
        for number, half in enumerate(self._halves):
            chance = method(self._subject, half.train, half.test)
            self._pair(tally, chance, half)
            if self._axis is not None and self._kind == "random" and name != "random":
                choose = method if labels and name != "oracle" else None
                self._cost(tally, choose, chance, half, number)
        self.tallies[name] = tally

    def _pair(self, tally: Tally, chance: Matrix, half: Split) -> None:
        """Add APGR and CPT of the strong against the weak model, and its resamples."""
        scores = self._subject.outcomes.scores
        weak, strong = self._ends(half)
        noise = np.random.default_rng(0).random(len(half.test)) * 1e-9  # ties go by lot
        score = chance[:, strong] - chance[:, weak] + noise
        found = pair(score, scores[half.test, weak], scores[half.test, strong])
        tally.apgr.append(found.apgr)
        tally.cpt50.append(found.cpt50)
        tally.cpt80.append(found.cpt80)
        order = np.argsort(-score, kind="stable")
        gain = scores[half.test, strong] - scores[half.test, weak]
        lots = self._drawn[:, half.test]
        tally.samples.append(np.array([resampled(order, gain, lot) for lot in lots]))

    def _ends(self, half: Split) -> tuple[int, int]:
        """Return the weak and the strong model of a split, by its training part."""
        means = self._subject.outcomes.scores[half.train].mean(axis=0)
        strong = int(np.argmax(means))
        if self._axis is None:
            return int(np.argmin(means)), strong
        costs = self._axis.costs[half.train].mean(axis=0)
        costs[strong] = np.inf
        return int(np.argmin(costs)), strong

    def _lots(self) -> Matrix:
        """Return how often each question counts in each resample, whole domains for the unseen."""
        outcomes = self._subject.outcomes
        groups = np.arange(len(outcomes.questions))
        if self._kind == "unseen_domain":
            groups = np.unique(np.asarray(outcomes.categories), return_inverse=True)[1]
        rng = np.random.default_rng(self._plan.seed)
        many = int(groups.max()) + 1
        drawn = rng.multinomial(many, np.full(many, 1 / many), size=_RESAMPLES)
        return drawn[:, groups].astype(np.float64)

    def _cost(
        self, tally: Tally, choose: Method | None, chance: Matrix, half: Split, number: int
    ) -> None:
        """Add what the quality of the best single model costs, chosen on training questions."""
        assert self._axis is not None
        scores, costs = self._subject.outcomes.scores, self._axis.costs
        best = int(np.argmax(scores[half.train].mean(axis=0)))
        unit = float(costs[half.train, best].mean()) or 1.0
        made = self._curve(chance, half.train, half.test, unit)
        usual = float(costs[half.test, best].mean()) or 1.0
        quality = float(scores[half.test, best].mean())
        singles = costs[half.test].mean(axis=0)
        tally.aiq.append(aiq(made.cost, made.quality, float(singles.min()), float(singles.max())))
        there = cheapest_at(made, quality)
        reached = made.quality[there] >= quality - _EDGE
        tally.on_curve.append(min(1.0, float(made.cost[there]) / usual) if reached else 1.0)
        if choose is None:
            return
        held = self._held_out(choose, half, number, unit)
        parts = self._part(half.train), self._part(half.test)
        tally.by_lane.append(lanewise(held, made, parts, best, sure=False))
        tally.by_lane_sure.append(lanewise(held, made, parts, best, sure=True))
        goal = float(scores[half.train, best].mean())
        chosen = _choice(held, goal, most=unit)
        loose = _choice(held, goal - ALLOWED, most=unit)
        made = _with_best(made, best, usual, quality)
        tally.ratio.append(float(made.cost[chosen]) / usual)
        tally.loss.append(quality - float(made.quality[chosen]))
        tally.strong.append(float((made.picks[chosen] == best).mean()))
        tally.ratio_2pct.append(float(made.cost[loose]) / usual)
        tally.loss_2pct.append(quality - float(made.quality[loose]))
        report = parts[1].scores
        lost = report[:, best] - report[np.arange(len(report)), made.picks[loose]]
        tally.worst_lane.append(worst(lost, parts[1].lanes))
        tally.spent += float(made.cost[chosen]) * len(half.test)
        tally.spent_best += usual * len(half.test)

    def _part(self, rows: NDArray[np.int64]) -> Part:
        """Return the outcomes, costs and lanes of some questions."""
        assert self._axis is not None
        paths = self._subject.where.paths
        return Part(
            scores=self._subject.outcomes.scores[rows],
            costs=self._axis.costs[rows],
            lanes=[paths[int(i)][-3 if len(paths[int(i)]) < _LABELLED else 0] for i in rows],
        )

    def decide(self, name: str, profile_name: str, method: Method | None) -> None:
        """Let the whole decision choose, with the table and what ``method`` says in force."""
        if self._axis is None or self._kind != "random":
            return
        subject, tally = self._subject, Tally()
        for half in self._halves:
            heads = None if method is None else method(subject, half.train, half.test)
            tally.decided.append(
                decided(
                    subject.where,
                    subject.outcomes,
                    self._axis.costs,
                    half.train,
                    half.test,
                    profile_name=profile_name,
                    heads=heads,
                )
            )
        self.tallies[name] = tally

    def _held_out(self, method: Method, half: Split, number: int, unit: float) -> Curve:
        """Return the curve over the training questions, each predicted by a fit without it."""
        assert self._axis is not None
        scores = self._subject.outcomes.scores
        fold = np.random.default_rng((self._plan.seed, number, 1)).permutation(len(half.train))
        chance = np.zeros((len(half.train), scores.shape[1]))
        for one in range(_FOLDS):
            outside = fold % _FOLDS == one
            chance[outside] = method(self._subject, half.train[~outside], half.train[outside])
        return self._curve(chance, half.train, half.train, unit)

    def _curve(
        self, chance: Matrix, train: NDArray[np.int64], test: NDArray[np.int64], unit: float
    ) -> Curve:
        """Return the curve on some questions; costs are expected by their length."""
        assert self._axis is not None
        lengths, costs = np.expm1(self._subject.lengths), self._axis.costs
        x, y = lengths[train], costs[train]
        centred = x - x.mean()
        slope = np.maximum(
            0.0, centred @ (y - y.mean(axis=0)) / max(1e-9, float(centred @ centred))
        )
        expected = y.mean(axis=0) + np.outer(lengths[test] - x.mean(), slope)
        expected = np.maximum(expected, 0.1 * y.mean(axis=0))
        scores = self._subject.outcomes.scores
        return curve(chance, expected, scores[test], costs[test], unit)

    def rows(self, kind: str) -> list[Row]:
        """Return one row a method, and one a lane."""
        half = self._halves
        shape = Shape(
            set=self._subject.outcomes.name,
            kind=kind,
            split=self._kind,
            n=round(float(np.mean([len(one.test) for one in half]))),
            splits=len(half),
            models=len(self._subject.outcomes.models),
            labels=round(float(np.mean([len(one.train) for one in half]))),
            axis=self._axis.unit if self._axis else None,
            head_start=self._head_start(),
        )
        return [*rows_of(shape, self.tallies), *lane_rows(shape, self.tallies)]

    def _head_start(self) -> bool:
        """Say whether heads that ship are under ours."""
        return self._kind == "random" and bool(self._subject.prompts.base.shape[1])


def _choice(held: Curve, goal: float, *, most: float) -> int:
    """Return which price to use; -1 is the best single model, where no price does as well.

    A router that cannot win on the training questions abstains.
    """
    found = cheapest_at(held, goal)
    wins = held.quality[found] >= goal - _EDGE and held.cost[found] < most
    return found if wins else -1


def _with_best(made: Curve, best: int, cost: float, quality: float) -> Curve:
    """Return the curve with the best single model as its last point."""
    always = np.full((1, made.picks.shape[1]), best)
    return Curve(
        cost=np.append(made.cost, cost),
        quality=np.append(made.quality, quality),
        picks=np.concatenate([made.picks, always]),
    )
