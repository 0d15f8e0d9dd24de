"""Keeps the table of lanes: what was answered and labelled, folded in once an epoch.

On the request path a record is only put in a list. ``turn`` folds the list, looks at the cuts
again, and says what table decisions should go by; it is called every few minutes, in a thread.
"""

__all__ = ["Feedback", "LaneKeeper", "LaneNote", "LaneRules", "LaneState"]

import logging
from collections import Counter, deque
from collections.abc import Sequence

from msgspec import Struct

from metabolic.core.lanes import Cut, LanePin, LaneTable, Tally
from metabolic.core.receipt import AttemptBill, Record
from metabolic.decide.clusters import path_of, probes_of, revised
from metabolic.decide.evidence_table import Key, Seen, observed

_log = logging.getLogger("metabolic.lanes")

_WAITING = 1_000
"""Whole records wait for the turn, some kilobytes each: of more than so many an epoch counts only
the latest, which is a fair sample of what was answered."""

_TALLIES = 20_000
_NOTES = 200


class Feedback(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """What a client thinks of the answer to request ``id``: one of the three others.

    ``score`` is in [0, 1]; ``preferred`` is ``draft``, ``reference`` or ``tie``.
    """

    id: str
    correct: bool | None = None
    score: float | None = None
    preferred: str | None = None


class LaneRules(Struct, frozen=True, kw_only=True):
    """What bounds an epoch; meanings as in ``[lanes]``."""

    route: bool = False
    explore_ratio: float = 0.02
    explore_per_epoch: int = 100
    min_labels: int = 20
    labels_per_epoch: int = 64


class LaneNote(Struct, frozen=True, kw_only=True):
    """One split or merge, and when."""

    at_s: float
    epoch: int
    text: str


class LaneState(Struct, frozen=True, kw_only=True):
    """All that is kept over a restart; ``left_out`` are labels and lanes beyond the bounds."""

    epoch: int = 0
    tallies: tuple[Tally, ...] = ()
    cuts: tuple[Cut, ...] = ()
    notes: tuple[LaneNote, ...] = ()
    left_out: int = 0


class LaneKeeper:
    """The table between two epochs; ``saw`` and ``label`` may be called from any thread."""

    def __init__(self, rules: LaneRules, state: LaneState | None = None) -> None:
        """Go on from a state."""
        state = state or LaneState()
        self._rules = rules
        self._tallies: dict[Key, Tally] = {
            (one.lane, one.deployment, one.variant): one for one in state.tallies
        }
        self._cuts, self._epoch = state.cuts, state.epoch
        self._notes: deque[LaneNote] = deque(state.notes, maxlen=_NOTES)
        self._left_out = state.left_out
        self._records: deque[Record] = deque(maxlen=_WAITING)
        self._labels: deque[tuple[Record, float]] = deque(maxlen=_WAITING)
        self._explored = 0

    def saw(self, record: Record) -> bool:
        """Take an answered request; returns true when the epoch's exploration is used up by it."""
        self._records.append(record)
        decision = record.decision
        if not decision.arms or decision.stages[0].deployment == decision.arms[0].deployment:
            return False
        self._explored += 1
        return self._explored == self._rules.explore_per_epoch

    def label(self, record: Record, correct: float) -> bool:
        """Take the label of an answer, in [0, 1]; say whether it counts for the table.

        Answers that a gate kept or passed on are not a fair sample of their deployment's: their
        labels say something of the gate, and are for ``calibrate``.
        """
        answer = record.receipt.answer
        if answer is None or len(record.decision.stages) != 1:
            return False
        self._labels.append((record, correct))
        return True

    def turn(self, at_s: float) -> None:
        """End the epoch: fold what has come, split and merge lanes."""
        self._epoch, self._explored = self._epoch + 1, 0
        while self._records:
            self._fold(self._records.popleft())
        given: Counter[tuple[object, ...]] = Counter()
        while self._labels:
            self._fold_label(*self._labels.popleft(), given=given)
        self._cuts, said = revised(self._cuts, tuple(self._tallies.values()))
        for text in said:
            _log.info("lanes changed", extra={"change": text})
            self._notes.append(LaneNote(at_s=at_s, epoch=self._epoch, text=text))

    def table(self, pins: Sequence[LanePin] = ()) -> LaneTable | None:
        """Return what decisions go by: labelled lanes, cuts and pins; ``None`` without any of it.

        Where lanes only observe, pins alone are in force.
        """
        rules = self._rules
        known = tuple(
            [
                self._tallies[key]
                for key in sorted(self._tallies, key=_order)
                if self._tallies[key].labels > 0
            ]
        )
        if not rules.route:
            known = ()
        if not known and not pins:
            return None
        explores = rules.route and self._explored < rules.explore_per_epoch
        return LaneTable(
            tallies=known,
            cuts=self._cuts if rules.route else (),
            pins=tuple(sorted(pins, key=lambda one: one.lane)),
            explore_ratio=rules.explore_ratio if explores else 0.0,
            min_labels=rules.min_labels,
        )

    def state(self) -> LaneState:
        """Return all that is to be kept."""
        return LaneState(
            epoch=self._epoch,
            tallies=tuple([self._tallies[key] for key in sorted(self._tallies, key=_order)]),
            cuts=self._cuts,
            notes=tuple(self._notes),
            left_out=self._left_out,
        )

    def _fold(self, record: Record) -> None:
        """Count every answer of a request, and what it took."""
        lanes = self._lanes(record)
        variants = {one.call.id: one.call.variant for one in record.attempts}
        for one in record.receipt.attempts:
            if one.role == "answer" and one.failure is None:
                self._add(_seen(lanes, one, variants.get(one.call)))

    def _fold_label(
        self, record: Record, correct: float, *, given: Counter[tuple[object, ...]]
    ) -> None:
        """Count a label, unless the epoch has had its share of them."""
        answer = record.receipt.answer
        if answer is None:
            return
        lanes = self._lanes(record)
        most = self._rules.labels_per_epoch
        for_all, for_one = (
            (lanes[0], answer.deployment),
            (lanes[0], answer.deployment, record.ask.tenant),
        )
        alone = record.ask.tenant is None  # no keys: there is but one tenant
        if given[for_all] >= most or (given[for_one] >= max(1, most // 2) and not alone):
            self._left_out += 1
            return
        given[for_all] += 1
        given[for_one] += 1
        variant = next(
            (one.call.variant for one in record.attempts if one.call.id == answer.call), None
        )
        self._add(Seen(lanes=lanes, deployment=answer.deployment, variant=variant, correct=correct))

    def _lanes(self, record: Record) -> tuple[str, ...]:
        """Return all lanes that a request counts for."""
        cuts = {one.lane: one.question for one in self._cuts}
        path = path_of(record.ask, record.signals, cuts)
        return (*path, *probes_of(path, record.signals))

    def _add(self, seen: Seen) -> None:
        """Add an observation; no new lanes when there are too many."""
        changed = observed(self._tallies, seen)
        if len(self._tallies) >= _TALLIES:
            known = {key: one for key, one in changed.items() if key in self._tallies}
            self._left_out += len(changed) - len(known)
            changed = known
        self._tallies |= changed


def _order(key: Key) -> tuple[str, str, str]:
    """Order by lane, deployment and variant."""
    return key[0], key[1], key[2] or ""


def _seen(lanes: tuple[str, ...], one: AttemptBill, variant: str | None) -> Seen:
    """Return one answer as an observation."""
    return Seen(
        lanes=lanes,
        deployment=one.deployment,
        variant=variant,
        answered=True,
        failed=one.well_formed is False,
        usd=one.tokens_usd,
        energy_j=None if one.energy is None else one.energy.energy_j,
    )
