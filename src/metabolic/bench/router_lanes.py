"""The table of lanes as a router: the gateway's own code on tables of outcomes.

Labels of the training questions become the counts that ``[lanes]`` keeps; ``decide.clusters``
splits lanes by them as it does between two epochs, ``decide.evidence_table`` shrinks, indexes and
looks up. Nothing of it is written anew here. With heads of one's own beside it, their P(correct)
and the lane's are put together by ``with_evidence``, as in the gateway.
"""

__all__ = ["Placed", "by_lanes", "listed", "placed", "said_by_heads", "table_of"]

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from metabolic.core.lanes import Cut, LaneTable, Tally
from metabolic.core.ports import Classifier
from metabolic.core.request import Ask, Message, Request, Text
from metabolic.core.signals import PCorrect, Signals
from metabolic.decide.clusters import answers_of, is_lane, path_of, revised
from metabolic.decide.evidence_labels import lanes_of
from metabolic.decide.evidence_table import LaneIndex, indexed, on_lane, with_evidence
from metabolic.train.outcomes import Outcomes

Matrix = NDArray[np.float64]
Index = NDArray[np.int64]

_EPOCHS = 3
"""Looks at the cuts; a split made at one is counted before the next."""


class Placed(Struct, frozen=True, kw_only=True):
    """Questions as a decision sees them: ``paths`` without cuts, and the questions answered yes."""

    asks: tuple[Ask, ...]
    signals: tuple[Signals, ...]
    paths: tuple[tuple[str, ...], ...]
    yes: tuple[tuple[str, ...], ...]


def listed(rows: Index) -> list[int]:
    """Return indices as plain numbers."""
    return [int(i) for i in rows]


def placed(outcomes: Outcomes, classifier: Classifier, *, labels: Sequence[str] = ()) -> Placed:
    """Return a set's questions on their lanes; ``labels`` are what tenants call their tasks."""
    asks: list[Ask] = []
    signals: list[Signals] = []
    for i, text in enumerate(outcomes.questions):
        turn = Message(role="user", content=(Text(text=text),))
        request = Request(id=str(i), dialect="chat", model="", messages=(turn,))
        signals.append(classifier.classify(request))
        task = labels[i] if labels else None
        asks.append(Ask(id=str(i), at_s=0.0, task=task, input_tokens=1 + len(text) // 4))
    pairs = tuple(zip(asks, signals, strict=True))
    return Placed(
        asks=tuple(asks),
        signals=tuple(signals),
        paths=tuple([path_of(ask, one, {}) for ask, one in pairs]),
        yes=tuple([answers_of(one) for one in signals]),
    )


def table_of(where: Placed, outcomes: Outcomes, train: Index) -> LaneTable:
    """Return the table after some epochs of traffic whose every answer got a label."""
    groups: dict[tuple[tuple[str, ...], tuple[str, ...]], list[int]] = {}
    for i in listed(train):
        groups.setdefault((where.paths[i], where.yes[i]), []).append(i)
    sums = {
        key: (len(rows), outcomes.scores[rows].sum(axis=0), outcomes.costs[rows].sum(axis=0))
        for key, rows in groups.items()
    }
    cuts: tuple[Cut, ...] = ()
    tallies: tuple[Tally, ...] = ()
    for _ in range(_EPOCHS):
        by_lane = {one.lane: one.question for one in cuts}
        tallies = _counted(sums, outcomes.models, by_lane)
        cuts, said = revised(cuts, tallies)
        if not said:
            break
    by_lane = {one.lane: one.question for one in cuts}
    known = tuple([one for one in tallies if is_lane(one.lane, by_lane)])
    return LaneTable(tallies=known, cuts=cuts)


def _counted(
    sums: Mapping[tuple[tuple[str, ...], tuple[str, ...]], tuple[int, Matrix, Matrix]],
    models: Sequence[str],
    cuts: Mapping[str, str],
) -> tuple[Tally, ...]:
    """Return the counts of every lane, and of the sides of cuts that could be made."""
    found: dict[str, tuple[int, Matrix, Matrix]] = {}
    for (path, yes), (many, good, usd) in sums.items():
        for lane in lanes_of(path, yes, cuts):
            n, correct, cost = found.get(lane, (0, 0.0, 0.0))
            found[lane] = n + many, correct + good, cost + usd
    return tuple(
        [
            Tally(
                lane=lane,
                deployment=model,
                labels=float(many),
                correct=float(good[j]),
                answers=many,
                usd=0.0 if np.isnan(usd[j]) else float(usd[j]),
                priced=0 if np.isnan(usd[j]) else many,
            )
            for lane, (many, good, usd) in sorted(found.items())
            for j, model in enumerate(models)
        ]
    )


def by_lanes(
    where: Placed,
    outcomes: Outcomes,
    train: Index,
    test: Index,
    *,
    heads: Matrix | None = None,
) -> Matrix:
    """Return P(correct) of some questions and every model by the table made of others.

    ``heads`` are what learned heads say of the same questions, in [0, 1].
    """
    index = indexed(table_of(where, outcomes, train))
    made = np.zeros((len(test), len(outcomes.models)))
    for row, i in enumerate(listed(test)):
        signals = where.signals[i]
        if heads is not None:
            said = said_by_heads(heads[row], outcomes.models, len(train))
            signals = replace(signals, p_correct=said)
        made[row] = _looked_up(index, where.asks[i], signals, outcomes.models)
    return made


def said_by_heads(values: Matrix, models: Sequence[str], rows: int) -> tuple[PCorrect, ...]:
    """Return heads' values as the classifier gives them."""
    return tuple(
        [
            PCorrect(deployment=name, p_correct=min(1.0, max(0.0, p)), evidence=rows)
            for name, p in zip(models, values.tolist(), strict=True)
        ]
    )


def _looked_up(index: LaneIndex, ask: Ask, signals: Signals, models: Sequence[str]) -> list[float]:
    """Return P(correct) of every model as a decision would have it."""
    lane, _ = on_lane(index, ask, signals)
    if lane is not None:
        signals = with_evidence(signals, lane)
    by_name = {one.deployment: one.p_correct for one in signals.p_correct}
    return [by_name.get(name, 0.5) for name in models]
