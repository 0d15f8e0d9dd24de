"""The table of lanes: counts that add up, shrunk to their parents, indexed for decisions.

Theory. Choosing the right model for each lane keeps what routers promise, and needs only counts.
A count is a sum, so two tables merge by addition, in any order. The estimate of a lane is shrunk
to that of its parent, from ``*`` down, where the prior is the deployment's belief: a lane with few
labels is its parent, one with many is itself. How many are many is learned from the table, for all
lanes of one kind under a parent at once (``shrinkage``): where lanes do not differ by more than
chance, all are their parent. Evidence handed to the decision is what lane and parent know together.

Source: empirical Bayes shrinkage to a group mean: Efron and Morris, 1975.
"""

__all__ = [
    "Lane",
    "LaneIndex",
    "Seen",
    "indexed",
    "merged",
    "observed",
    "on_lane",
    "with_evidence",
]

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from metabolic.core.decision import Belief
from metabolic.core.lanes import LanePin, LaneTable, Tally
from metabolic.core.request import Ask
from metabolic.core.signals import PCorrect, Signals
from metabolic.decide.clusters import parent_of, path_of
from metabolic.decide.lanes import EVERY
from metabolic.decide.shrinkage import Counts, moved, worth_of
from metabolic.decide.variants import key_of

_SOUND = 20.0
"""Well-formed answers that every deployment is taken to have given before."""

_BELIEF_ROWS = 100
"""Most rows that a configured belief counts for here: traffic must be able to refute it."""

_LEAST_ANSWERS = 10
"""Answers from which on what a deployment writes is held against what was foreseen."""

Key = tuple[str, str, str | None]


class Seen(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing learned of an answer: a label, or what it took, or both.

    ``lanes`` are all it counts for. ``correct`` in [0, 1] is the label, ``None`` without one;
    ``answered`` counts the answer itself, ``failed`` if it was malformed. ``foreseen_tokens`` is
    what the classifier expected of it.
    """

    lanes: tuple[str, ...]
    deployment: str
    variant: str | None = None
    correct: float | None = None
    answered: bool = False
    failed: bool = False
    usd: float | None = None
    energy_j: float | None = None
    output_tokens: int | None = None
    foreseen_tokens: int = 0


class Lane(Struct, frozen=True, kw_only=True):
    """A known lane as a decision sees it; deployments and variants by the names they compete under.

    ``writes`` are their output tokens over those foreseen, ``labels`` those of this lane alone.
    """

    name: str
    p_correct: tuple[PCorrect, ...]
    writes: dict[str, float] = {}
    labels: dict[str, float] = {}


class LaneIndex(Struct, frozen=True, kw_only=True):
    """The table, indexed: known lanes, cuts and pins by lane; not ``learned``: pins alone."""

    lanes: dict[str, Lane]
    cuts: dict[str, str]
    pins: dict[str, LanePin]
    explore_ratio: float
    learned: bool = True
    version: str = ""


def observed(tallies: Mapping[Key, Tally], seen: Seen) -> dict[Key, Tally]:
    """Return the tallies that change, with one more observation in them."""
    made: dict[Key, Tally] = {}
    for lane in seen.lanes:
        key = lane, seen.deployment, seen.variant
        old = tallies.get(key) or Tally(lane=lane, deployment=seen.deployment, variant=seen.variant)
        labelled = seen.correct is not None
        made[key] = replace(
            old,
            labels=old.labels + labelled,
            correct=old.correct + (seen.correct or 0.0),
            answers=old.answers + seen.answered,
            failed=old.failed + seen.failed,
            usd=old.usd + (seen.usd or 0.0),
            priced=old.priced + (seen.usd is not None),
            energy_j=old.energy_j + (seen.energy_j or 0.0),
            metered=old.metered + (seen.energy_j is not None),
            output_tokens=old.output_tokens + (seen.output_tokens or 0),
            foreseen_tokens=old.foreseen_tokens
            + (seen.foreseen_tokens if seen.output_tokens is not None else 0),
            counted=old.counted + (seen.output_tokens is not None),
        )
    return made


def merged(*tables: Iterable[Tally]) -> tuple[Tally, ...]:
    """Return the sum of tables, sorted; the order of tables does not matter."""
    found: dict[Key, Tally] = {}
    for table in tables:
        for one in table:
            key = one.lane, one.deployment, one.variant
            old = found.get(key)
            found[key] = one if old is None else _sum(old, one)
    return tuple(
        sorted(found.values(), key=lambda one: (one.lane, one.deployment, one.variant or ""))
    )


def _sum(a: Tally, b: Tally) -> Tally:
    """Return two tallies of the same key as one."""
    return replace(
        a,
        labels=a.labels + b.labels,
        correct=a.correct + b.correct,
        answers=a.answers + b.answers,
        failed=a.failed + b.failed,
        usd=a.usd + b.usd,
        priced=a.priced + b.priced,
        energy_j=a.energy_j + b.energy_j,
        metered=a.metered + b.metered,
        output_tokens=a.output_tokens + b.output_tokens,
        foreseen_tokens=a.foreseen_tokens + b.foreseen_tokens,
        counted=a.counted + b.counted,
    )


def indexed(table: LaneTable, beliefs: Iterable[Belief] = ()) -> LaneIndex:
    """Return the table as decisions read it; ``beliefs`` are the priors of lane ``*``."""
    roots = {one.deployment: one for one in beliefs if one.lane == EVERY}
    rows: dict[str, dict[str, list[Tally]]] = {}
    for one in table.tallies:
        name = key_of(one.deployment, one.variant)
        rows.setdefault(one.lane, {}).setdefault(name, []).append(one)
    cuts = {one.lane: one.question for one in table.cuts}
    made = _estimates(rows, roots)
    lanes = {
        lane: Lane(
            name=lane,
            p_correct=_heads(made[lane]),
            writes=_writes(rows[lane]),
            labels={name: _counted(found)[0] for name, found in rows[lane].items()},
        )
        for lane in rows
        if sum(t.labels for found in rows[lane].values() for t in found) >= table.min_labels
    }
    return LaneIndex(
        lanes=lanes,
        cuts=cuts,
        pins={one.lane: one for one in table.pins},
        explore_ratio=table.explore_ratio,
        learned=bool(table.tallies),
        version=table.version,
    )


def _heads(estimates: Mapping[str, tuple[float, float]]) -> tuple[PCorrect, ...]:
    """Return estimates as decisions take those of learned heads."""
    return tuple(
        [
            PCorrect(deployment=name, p_correct=p, evidence=round(evidence))
            for name, (p, evidence) in sorted(estimates.items())
        ]
    )


def _depth(lane: str) -> int:
    """Return how many parents a lane has."""
    depth, parent = 0, parent_of(lane)
    while parent is not None:
        depth, parent = depth + 1, parent_of(parent)
    return depth


def _estimates(
    rows: Mapping[str, Mapping[str, list[Tally]]], roots: Mapping[str, Belief]
) -> dict[str, dict[str, tuple[float, float]]]:
    """Return, by lane, each deployment's share of good answers, shrunk, and its evidence."""
    counts = {
        lane: {name: _counted(tallies) for name, tallies in found.items()}
        for lane, found in rows.items()
    }
    worth = _worths(counts)
    made: dict[str, dict[str, tuple[float, float]]] = {}
    for lane in sorted(rows, key=_depth):
        found: dict[str, tuple[float, float]] = {}
        above = _above(lane, counts)
        if above is not None:
            found = moved(counts[lane], counts[above], made[above], worth[_kin(lane, above)])
        for name, (labels, correct) in counts[lane].items():
            if name not in found and (one := _first(labels, correct, roots.get(name))):
                found[name] = one
        for name, tallies in rows[lane].items():
            if name in found:
                p, evidence = found[name]
                found[name] = min(p, _well_formed(tallies)), evidence
        made[lane] = found
    return made


def _counted(tallies: Iterable[Tally]) -> tuple[float, float]:
    """Return labels and good ones among them."""
    labels = correct = 0.0
    for one in tallies:
        labels, correct = labels + one.labels, correct + one.correct
    return labels, correct


def _above(lane: str, counts: Mapping[str, Counts]) -> str | None:
    """Return the nearest parent that anything was counted for."""
    parent = parent_of(lane)
    while parent is not None and parent not in counts:
        parent = parent_of(parent)
    return parent


def _kin(lane: str, above: str) -> tuple[str, str]:
    """Return a lane's parent and kind: tenants' labels, sides of a cut, and tasks overlap."""
    if "@" in lane and "@" not in above:
        return above, "@"
    return above, "+" if lane.startswith(above) and lane[len(above)] in "+-" else "/"


def _worths(counts: Mapping[str, Counts]) -> dict[tuple[str, str], float]:
    """Return what each parent's estimate is worth to its lanes, in labels, by kind of lane."""
    kin: dict[tuple[str, str], list[Counts]] = {}
    for lane, found in counts.items():
        above = _above(lane, counts)
        if above is not None:
            kin.setdefault(_kin(lane, above), []).append(found)
    return {key: worth_of(counts[key[0]], parts) for key, parts in kin.items()}


def _first(labels: float, correct: float, root: Belief | None) -> tuple[float, float] | None:
    """Return share and evidence where no parent has any; ``None`` if there is nothing at all."""
    p, weight = 0.5, 0.0
    if root is not None:
        p, weight = root.p_correct, float(min(_BELIEF_ROWS, root.evidence))
    total = labels + weight
    return ((correct + weight * p) / total, total) if total > 0 else None


def _well_formed(tallies: Iterable[Tally]) -> float:
    """Return the most that can be right: the share of answers that were not malformed."""
    answers = failed = 0
    for one in tallies:
        answers, failed = answers + one.answers, failed + one.failed
    return 1.0 - failed / (answers + _SOUND)


def _writes(rows: Mapping[str, list[Tally]]) -> dict[str, float]:
    """Return, by name, output tokens over those foreseen; few answers say nothing."""
    found: dict[str, float] = {}
    for name, tallies in rows.items():
        counted = sum(one.counted for one in tallies)
        foreseen = sum(one.foreseen_tokens for one in tallies)
        if counted >= _LEAST_ANSWERS and foreseen > 0:
            found[name] = sum(one.output_tokens for one in tallies) / foreseen
    return found


def on_lane(
    index: LaneIndex, ask: Ask, signals: Signals, *, frozen: bool = False
) -> tuple[Lane | None, LanePin | None]:
    """Return the narrowest known lane of a query, and the operator's pin, if there is one.

    The lane is ``*`` where the query fits no other, ``None`` where nothing at all is known, and on
    a ``frozen`` one: what a certificate was tested with, learning leaves as it was.
    """
    lane, pin = None, None
    for name in path_of(ask, signals, index.cuts):
        if lane is None and not frozen:
            lane = index.lanes.get(name)
        if pin is None:
            pin = index.pins.get(name)
    return lane, pin


def with_evidence(signals: Signals, lane: Lane) -> Signals:
    """Return the signals with the lane's evidence beside that of heads of one's own."""
    if not signals.p_correct:
        return replace(signals, p_correct=lane.p_correct)
    found = {one.deployment: one for one in signals.p_correct}
    for one in lane.p_correct:
        head = found.get(one.deployment)
        total = one.evidence + (0 if head is None else head.evidence)
        if head is not None and total > 0:
            p = (one.evidence * one.p_correct + head.evidence * head.p_correct) / total
            found[one.deployment] = PCorrect(deployment=one.deployment, p_correct=p, evidence=total)
        elif head is None:
            found[one.deployment] = one
    return replace(signals, p_correct=tuple([found[name] for name in sorted(found)]))
