"""Which lanes a query is on, narrowest first, and when a lane is split in two or made one again.

Theory. Lanes have names that say what they are, so they are the same after every restart:
``open_qa/math/simple`` from the classifier, ``invoices@tenant`` from a tenant's own label, and
either with cuts, ``open_qa/math/simple+hard-long``: the answers to named yes-or-no questions about
the signals (``+`` yes, ``-`` no). ``hard`` and ``hardest`` ask the heads on hashed words, so their
cuts are clusters of hashed features; no text is seen here.

A lane is split by a question when the deployments compare differently on both sides. With
``d`` the difference of two deployments' shares of good answers, the statistic is
``|d(yes) - d(no)| / se``: only such a difference can change who should answer. It is split above
``SPLIT_Z`` and made one again below ``MERGE_Z``, at which chance alone seldom holds it apart. Eight
questions are asked of a lane at most a few dozen times, hence the strict limit.
"""

__all__ = [
    "MERGE_Z",
    "QUESTIONS",
    "SPLIT_Z",
    "along",
    "answers_of",
    "is_lane",
    "parent_of",
    "path_of",
    "probes_of",
    "revised",
]

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

from metabolic.core.lanes import Cut, Tally
from metabolic.core.request import Ask
from metabolic.core.signals import TASKS, Signals
from metabolic.decide.lanes import EVERY, lane_of

SPLIT_Z = 3.5
MERGE_Z = 1.5
"""Standard errors of the interaction; 3.5 is passed by chance in 1 of 2,000 looks."""

_DEPTH = 3
_LONG_TOKENS = 256
_LEAST = 20.0
"""Labels that each of two deployments needs on both sides."""

_TASKS = frozenset(TASKS)
_SIZES = 4


def _odds_below(signals: Signals, size: int) -> bool:
    """Say whether the heads find this query harder than the average one, for a model size."""
    return len(signals.odds_ratio) == _SIZES and signals.odds_ratio[size] < 1.0


QUESTIONS: dict[str, Callable[[Signals], bool]] = {
    "hard": lambda signals: _odds_below(signals, 1),
    "hardest": lambda signals: _odds_below(signals, 3),
    "long": lambda signals: signals.expected_output_tokens > _LONG_TOKENS,
    "novel": lambda signals: (signals.novelty_ratio or 0.0) > 0.5,  # noqa: PLR2004 - half
    "foreign": lambda signals: signals.language not in {None, "en"},
}
"""What a lane may be cut by; a name is never given another meaning."""


def parent_of(lane: str) -> str | None:
    """Return the lane that a lane's evidence is shrunk to; ``None`` for ``*``.

    >>> parent_of("open_qa/math+hard-long"), parent_of("open_qa/math"), parent_of("mine@t")
    ('open_qa/math+hard', 'open_qa', '*')
    """
    if lane == EVERY:
        return None
    stem, at, rest = lane.partition("@")
    tail = rest if at else stem
    place = max(tail.rfind("+"), tail.rfind("-"))
    if place > 0:
        return f"{stem}@{tail[:place]}" if at else tail[:place]
    return EVERY if at or "/" not in stem else stem.rpartition("/")[0]


def path_of(ask: Ask, signals: Signals, cuts: Mapping[str, str]) -> tuple[str, ...]:
    """Return the lanes a query is on, the narrowest first and ``*`` last.

    ``cuts`` is the question by the lane that it cuts.
    """
    path = lane_of(signals)
    if ask.task is not None and ask.task not in _TASKS:
        path = (f"{ask.task}@{ask.tenant or 'local'}", *path)
    return along(path, answers_of(signals), cuts) if cuts else path


def answers_of(signals: Signals) -> tuple[str, ...]:
    """Return the questions whose answer is yes: all that cuts need to know of the signals."""
    return tuple([name for name, test in QUESTIONS.items() if test(signals)])


def along(path: Sequence[str], yes: Sequence[str], cuts: Mapping[str, str]) -> tuple[str, ...]:
    """Return a path with the parts of its lanes that follow from the answers and the cuts."""
    found: list[str] = []
    for lane in path:
        found.extend(_cut(lane, yes, cuts))
    return tuple(found)


def _cut(lane: str, answered: Sequence[str], cuts: Mapping[str, str]) -> list[str]:
    """Return a lane's part that the query is in, that part's parents, and the lane."""
    parts = [lane]
    for _ in range(_DEPTH):
        question = cuts.get(parts[0])
        if question is None or question not in QUESTIONS:
            break
        parts.insert(0, _side(parts[0], question, yes=question in answered))
    return parts


def _side(lane: str, question: str, *, yes: bool) -> str:
    """Return the name of one side of a cut."""
    return f"{lane}{'+' if yes else '-'}{question}"


def probes_of(path: Sequence[str], answered: Sequence[str]) -> tuple[str, ...]:
    """Return the sides of every cut that the narrowest lane could have: counted, not yet lanes."""
    lane = path[0]
    tail = lane.partition("@")[2] or lane
    asked = {part for one in tail.split("+") for part in one.split("-")}
    if lane == EVERY or len(asked & QUESTIONS.keys()) >= _DEPTH:
        return ()
    return tuple(
        [_side(lane, name, yes=name in answered) for name in QUESTIONS if name not in asked]
    )


def revised(
    cuts: Sequence[Cut], tallies: Sequence[Tally]
) -> tuple[tuple[Cut, ...], tuple[str, ...]]:
    """Return the cuts after another look at the counts, and a line for each split and merge."""
    by_lane: dict[str, dict[str, tuple[float, float]]] = {}
    for one in tallies:
        if one.labels > 0:
            rows = by_lane.setdefault(one.lane, {})
            labels, correct = rows.get(one.deployment, (0.0, 0.0))
            rows[one.deployment] = labels + one.labels, correct + one.correct
    said: list[str] = []
    kept: dict[str, str] = {}
    for cut in cuts:
        z = _apart(by_lane, cut.lane, cut.question)
        if z is not None and z < MERGE_Z:
            said.append(f"merged {cut.lane}: {cut.question} no longer tells (z {z:.1f})")
        else:
            kept[cut.lane] = cut.question
    for lane in sorted(by_lane):
        found = None if lane in kept or lane == EVERY else _best(by_lane, lane)
        if found is not None and is_lane(lane, kept):
            kept[lane] = found[1]
            said.append(f"split {lane} by {found[1]} (z {found[0]:.1f})")
    orphans = [lane for lane in kept if not is_lane(lane, kept)]
    for lane in orphans:
        said.append(f"merged {lane}: its parent is one again")
        del kept[lane]
    return tuple([Cut(lane=lane, question=kept[lane]) for lane in sorted(kept)]), tuple(said)


def is_lane(lane: str, kept: Mapping[str, str]) -> bool:
    """Say whether a lane is one: not a side of a cut that has not been made.

    ``kept`` is the question by the lane that it cuts.
    """
    parent = parent_of(lane)
    if parent is None or not lane.startswith(parent) or lane[len(parent)] not in "+-":
        return True
    return kept.get(parent) == lane[len(parent) + 1 :] and is_lane(parent, kept)


def _best(
    by_lane: Mapping[str, Mapping[str, tuple[float, float]]], lane: str
) -> tuple[float, str] | None:
    """Return the question that tells most on a lane, if one tells enough."""
    found = [(z, name) for name in QUESTIONS if (z := _apart(by_lane, lane, name)) is not None]
    best = max(found, default=None)
    return best if best is not None and best[0] > SPLIT_Z else None


def _apart(
    by_lane: Mapping[str, Mapping[str, tuple[float, float]]], lane: str, question: str
) -> float | None:
    """Return the largest interaction of two deployments with a question; ``None``: too few."""
    yes = by_lane.get(_side(lane, question, yes=True), {})
    no = by_lane.get(_side(lane, question, yes=False), {})
    names = sorted(
        name for name in yes.keys() & no.keys() if min(yes[name][0], no[name][0]) >= _LEAST
    )
    found: list[float] = []
    for a, b in combinations(names, 2):
        shares = [_share(side[name]) for side in (yes, no) for name in (a, b)]
        apart = (shares[0][0] - shares[1][0]) - (shares[2][0] - shares[3][0])
        found.append(abs(apart) / sum(variance for _, variance in shares) ** 0.5)
    return max(found, default=None)


def _share(row: tuple[float, float]) -> tuple[float, float]:
    """Return a share of good answers and its variance, with one good and one bad one added."""
    labels, correct = row
    p = (correct + 1) / (labels + 2)
    return p, p * (1 - p) / (labels + 2)
