"""Keeps the table of lanes: what was answered and labelled, folded in once an epoch.

On the request path a record is only put in a list. ``turn`` folds the list, looks at the cuts
again, and says what table decisions should go by; it is called every few minutes, in a thread.
Counts are sums, so those of several gateways add up: each keeps its own, and what it knows of the
others' replaces what it knew before. Nothing is counted twice, in whatever order it comes.
"""

__all__ = ["LaneKeeper"]

import logging
from collections import Counter, deque
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from metabolic.core.labels import Label
from metabolic.core.lanes import LanePin, LaneTable, Tally
from metabolic.core.receipt import AttemptBill, Record
from metabolic.decide.clusters import answers_of, is_lane, path_of, revised
from metabolic.decide.digest import digest
from metabolic.decide.evidence_labels import lanes_of
from metabolic.decide.evidence_table import Key, Seen, merged, observed
from metabolic.execute.lane_state import LaneNote, LaneRules, LaneState, LaneVersion, LaneView, Peer

_log = logging.getLogger("metabolic.lanes")

_WAITING = 1_000
"""Whole records wait for the turn, some kilobytes each: of more than so many an epoch counts only
the latest, which is a fair sample of what was answered."""

_TALLIES = 20_000
_NOTES = 200
_RECENT_S = 900.0
"""A request that began earlier than this before the turn has been counted, or never will be."""


class LaneKeeper:
    """The table between two epochs; ``saw`` and ``label`` may be called from any thread."""

    def __init__(self, rules: LaneRules, state: LaneState | None = None) -> None:
        """Go on from a state."""
        self._state = state or LaneState()
        self._rules = rules
        self._tallies: dict[Key, Tally] = {
            (one.lane, one.deployment, one.variant): one for one in self._state.tallies
        }
        self._peers: dict[str, Peer] = {}
        self._records: deque[Record] = deque(maxlen=_WAITING)
        self._labels: deque[Label] = deque()
        self._given: Counter[tuple[object, ...]] = Counter()
        self._explored = 0
        self._made: tuple[tuple[LanePin, ...], LaneTable | None] | None = None

    def configure(self, rules: LaneRules) -> None:
        """Go by other rules from now on."""
        self._rules, self._made = rules, None

    def saw(self, record: Record) -> bool:
        """Take an answered request; returns true when the epoch's exploration is used up by it."""
        self._records.append(record)
        decision = record.decision
        if not decision.arms:
            return False
        first, home = decision.stages[0], decision.arms[0]
        if (first.deployment, first.variant) == (home.deployment, home.variant):
            return False
        self._explored += 1
        return self._explored == self._rules.explore_per_epoch

    def recover(self, records: Iterable[Record]) -> None:
        """Take answers from the ledger that a crash kept from being counted."""
        known = set(self._state.recent)
        for record in records:
            if record.ask.id not in known:
                self._records.append(record)

    def label(self, label: Label) -> None:
        """Take a label; it counts from the next epoch on."""
        self._labels.append(label)

    def meet(self, peers: Iterable[Peer]) -> None:
        """Take what other gateways have counted; what was known of them is replaced."""
        self._peers = {one.replica: one for one in peers if one.replica != self._state.replica}
        self._made = None

    def turn(self, at_s: float, *, labels_bytes: int = 0) -> None:
        """End the epoch: fold what has come, split and merge lanes.

        ``labels_bytes`` of the file of labels have been given to ``label``.
        """
        recent = [*self._state.recent] if at_s - self._state.at_s < _RECENT_S else []
        while self._records:
            record = self._records.popleft()
            self._fold(record)
            if record.ask.at_s > at_s - _RECENT_S:
                recent.append(record.ask.id)
        while self._labels:
            self._fold_label(self._labels.popleft())
        epoch = self._state.epoch + 1
        cuts, said = revised(self._state.cuts, self._all())
        for text in said:
            _log.info("lanes changed", extra={"change": text})
        notes = [LaneNote(at_s=at_s, epoch=epoch, text=text) for text in said]
        splits = sum(text.startswith("split") for text in said)
        self._state = replace(
            self._state,
            epoch=epoch,
            cuts=cuts,
            notes=(*self._state.notes, *notes)[-_NOTES:],
            labels_bytes=labels_bytes,
            at_s=at_s,
            recent=tuple(recent[-3 * _WAITING :]),
            explored=self._state.explored + self._explored,
            splits=self._state.splits + splits,
            merges=self._state.merges + len(said) - splits,
        )
        self._explored, self._made = 0, None
        self._forget(at_s)

    def table(self, pins: Sequence[LanePin] = ()) -> LaneTable | None:
        """Return what decisions go by: labelled lanes, cuts and pins; ``None`` without any of it.

        Where lanes only observe, pins alone are in force.
        """
        rules, key = self._rules, tuple(sorted(pins, key=lambda one: one.lane))
        if self._made is None or self._made[0] != key:
            self._made = key, self._table(key)
        table = self._made[1]
        explores = rules.route and self._explored < rules.explore_per_epoch
        if table is None or not explores:
            return table
        return replace(table, explore_ratio=rules.explore_ratio)

    def _table(self, pins: tuple[LanePin, ...]) -> LaneTable | None:
        """Return the table that follows from the counts, and note its version."""
        route = self._rules.route
        known = self._lanes_known() if route else ()
        if not any(one.labels > 0 for one in known):
            known = ()
        if not known and not pins:
            return None
        table = LaneTable(
            tallies=known,
            cuts=self._state.cuts if route else (),
            pins=pins,
            min_labels=self._rules.min_labels,
        )
        table = replace(table, version=digest(table)[:12])
        self._note_version(table)
        return table

    def state(self) -> LaneState:
        """Return all that is to be kept."""
        return replace(
            self._state,
            tallies=tuple([self._tallies[key] for key in sorted(self._tallies, key=_order)]),
        )

    def view(self) -> LaneView:
        """Return the table for who watches it."""
        state, left = self._state, self._rules.explore_per_epoch - self._explored
        return LaneView(
            tallies=self._lanes_known(),
            epoch=state.epoch,
            version=state.versions[-1].id if state.versions else "",
            explored=state.explored + self._explored,
            explore_left=max(0, left) if self._rules.route else 0,
            splits=state.splits,
            merges=state.merges,
            left_out=state.left_out,
            peers=len(self._peers),
        )

    def _all(self) -> tuple[Tally, ...]:
        """Return the counts of this gateway and its peers, sorted.

        Added up by the peers' names, so that each of them gets the same to the last digit.
        """
        counts: dict[str, Iterable[Tally]] = {
            name: one.tallies for name, one in self._peers.items()
        }
        counts[self._state.replica] = self._tallies.copy().values()
        return merged(*[counts[name] for name in sorted(counts)])

    def _lanes_known(self) -> tuple[Tally, ...]:
        """Return the counts of lanes that are ones, not of the sides of cuts never made."""
        cuts = {one.lane: one.question for one in self._state.cuts}
        return tuple([one for one in self._all() if is_lane(one.lane, cuts)])

    def _note_version(self, table: LaneTable) -> None:
        """Write down a version when it comes into force."""
        before = self._state.versions
        if before and before[-1].id == table.version:
            return
        made = LaneVersion(
            id=table.version,
            at_s=self._state.at_s,
            epoch=self._state.epoch,
            labels=sum(one.labels for one in table.tallies if one.lane == "*"),
            lanes=len({one.lane for one in table.tallies}),
        )
        self._state = replace(self._state, versions=(*before, made)[-_NOTES:])

    def _fold(self, record: Record) -> None:
        """Count every answer of a request, and what it took."""
        cuts = {one.lane: one.question for one in self._state.cuts}
        signals = record.signals
        lanes = lanes_of(path_of(record.ask, signals, {}), answers_of(signals), cuts)
        most = record.ask.max_output_tokens or signals.expected_output_tokens
        foreseen = min(most, signals.expected_output_tokens) * record.ask.n
        variants = {one.call.id: one.call.variant for one in record.attempts}
        for one in record.receipt.attempts:
            if one.role == "answer" and one.failure is None:
                self._add(_seen(lanes, one, variants.get(one.call), foreseen))

    def _fold_label(self, label: Label) -> None:
        """Count a label, unless its epoch has had its share of them."""
        if label.correct is None or label.deployment is None or not label.alone or not label.lanes:
            return
        most = self._rules.labels_per_epoch
        epoch = int(label.at_s // self._rules.epoch_s)
        for_all = epoch, label.lanes[0], label.deployment, label.variant
        for_one = (*for_all, label.tenant)
        several = label.tenant is not None  # without keys there is but one tenant
        full = self._given[for_all] >= most
        full = full or (self._given[for_one] >= max(1, most // 2) and several)
        if full and label.by != "anchor":  # those are the operator's own, and there are few
            self._state = replace(self._state, left_out=self._state.left_out + 1)
            return
        self._given[for_all] += 1
        self._given[for_one] += several
        cuts = {one.lane: one.question for one in self._state.cuts}
        self._add(
            Seen(
                lanes=lanes_of(label.lanes, label.yes, cuts),
                deployment=label.deployment,
                variant=label.variant,
                correct=min(1.0, max(0.0, label.correct)),
            )
        )

    def _forget(self, at_s: float) -> None:
        """Forget what epochs that are over were given."""
        now = int(at_s // self._rules.epoch_s)
        self._given = Counter({key: n for key, n in self._given.items() if key[0] == now and n})

    def _add(self, seen: Seen) -> None:
        """Add an observation; no new lanes when there are too many."""
        changed = observed(self._tallies, seen)
        if len(self._tallies) >= _TALLIES:
            known = {key: one for key, one in changed.items() if key in self._tallies}
            left_out = self._state.left_out + len(changed) - len(known)
            self._state, changed = replace(self._state, left_out=left_out), known
        self._tallies |= changed


def _order(key: Key) -> tuple[str, str, str]:
    """Order by lane, deployment and variant."""
    return key[0], key[1], key[2] or ""


def _seen(lanes: tuple[str, ...], one: AttemptBill, variant: str | None, foreseen: int) -> Seen:
    """Return one answer as an observation; ``foreseen`` are the output tokens expected of it."""
    return Seen(
        lanes=lanes,
        deployment=one.deployment,
        variant=variant,
        answered=True,
        failed=one.well_formed is False,
        usd=one.tokens_usd,
        energy_j=None if one.energy is None else one.energy.energy_j,
        output_tokens=one.usage.output_tokens,
        foreseen_tokens=foreseen,
    )
