"""The cascade with a certificate, and with drafts given up early, on recorded answers.

What is certified: the drafts of the second-best deployment against the best, by exact match, lane
by lane, jointly; on the half that nothing is reported of. Drafts given up are charged for what
they had cost by then: their CPU seconds less those of the tokens that were not written, at the
deployment's measured pace.
"""

__all__ = [
    "DELTA",
    "EPSILON",
    "Guarded",
    "Held",
    "certificates",
    "early",
    "gated",
    "guard",
    "held_out",
    "paces",
    "stops",
    "windows",
]

import random
from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from metabolic.bench import policies
from metabolic.bench.folding import Case, Folded, fold, single
from metabolic.core.certificate import Certificate
from metabolic.core.checkpoint import Checkpoint
from metabolic.core.decision import Decision, Stage
from metabolic.decide.certificate import Pair, Subject, certify, kept_losses
from metabolic.decide.checkpoints import Draft, learn_checkpoints, with_release
from metabolic.decide.digest import sealed
from metabolic.decide.estimate import prepare

EPSILON = 0.05
DELTA = 0.1

COUNTS = (4, 8, 16)
"""Checkpoints tried: the questions' answers have at most 24 tokens."""

_SCORE = "shape+confidence"


class Guarded(Struct, frozen=True, kw_only=True):
    """The policy with certificates in force, and where drafts of the plain cascade are stopped."""

    learned: policies.Learned
    certificates: tuple[Certificate, ...]
    checkpoints: tuple[Checkpoint, ...]
    pace: Mapping[str, float]


def guard(
    chosen_on: Sequence[Case],
    learned: policies.Learned,
    *,
    first: str,
    last: str,
    min_confidence: float,
    seed: int,
) -> Guarded:
    """Certify, and learn checkpoints for a plain cascade at ``min_confidence``, on these cases."""
    made = certificates(chosen_on, first=first, last=last, seed=seed)
    # The loosest certified threshold is as certified as the strictest, and cheaper.
    policy = sealed(replace(learned.policy, id="", certificates=made, score=_SCORE, preference=1.0))
    return Guarded(
        learned=replace(learned, policy=policy, prepared=prepare(learned.fleet, policy)),
        certificates=made,
        checkpoints=stops(chosen_on, first=first, min_confidence=min_confidence),
        pace=paces(learned),
    )


def paces(learned: policies.Learned) -> dict[str, float]:
    """Return CPU seconds of a written token by deployment, where they were measured."""
    return {
        one.name: 1 / one.decode_tokens_per_s
        for one in learned.fleet.deployments
        if one.decode_tokens_per_s and one.speed_origin == "measured"
    }


def certificates(
    cases: Sequence[Case], *, first: str, last: str, seed: int
) -> tuple[Certificate, ...]:
    """Return a certificate, or a refusal, for each lane of these cases; they hold jointly."""
    lanes: dict[str, list[Case]] = {}
    for case in cases:
        lanes.setdefault(case.asked.signals.lane, []).append(case)
    made: list[Certificate] = []
    for lane, rows in sorted(lanes.items()):
        random.Random(seed).shuffle(rows)
        subject = Subject(
            lane=lane, deployment=first, reference=last, labeller="exact_match", score=_SCORE
        )
        pairs = [_pair(case, first, last) for case in rows]
        made.append(
            certify(pairs, subject, epsilon=EPSILON, delta=DELTA, lanes=len(lanes), seed=seed)
        )
    return tuple(made)


def _pair(case: Case, first: str, last: str) -> Pair:
    """Return a question as a row: the draft's score, and what keeping it loses."""
    keeps = policies.kept(case, first, 0.0)
    return Pair(
        confidence=case.verdicts[first].confidence if keeps else None,
        loss=float(case.answers[last].right) - float(case.answers[first].right),
    )


def stops(cases: Sequence[Case], *, first: str, min_confidence: float) -> tuple[Checkpoint, ...]:
    """Return the checkpoints that these answers allow at a threshold."""
    drafts = _drafts(cases, first, min_confidence)
    return learn_checkpoints(drafts, deployment=first, counts=COUNTS)


def windows(cases: Sequence[Case], *, first: str, min_confidence: float) -> tuple[Checkpoint, ...]:
    """Return the checkpoints that these answers allow, with those at which a window opens."""
    drafts = _drafts(cases, first, min_confidence)
    stops = learn_checkpoints(drafts, deployment=first, counts=COUNTS)
    return with_release(stops, drafts, deployment=first, counts=COUNTS)


def _drafts(cases: Sequence[Case], first: str, min_confidence: float) -> list[Draft]:
    """Return the answers of one deployment, and whether they would be kept."""
    return [
        Draft(
            logprobs=case.answers[first].logprobs, kept=policies.kept(case, first, min_confidence)
        )
        for case in cases
        if case.answers[first].failure is None
    ]


def early(case: Case, guarded: Guarded, *, first: str, last: str, min_confidence: float) -> Folded:
    """Return what a plain cascade of two does that gives up hopeless drafts."""
    gate = Stage(deployment=first, min_confidence=min_confidence, checkpoints=guarded.checkpoints)
    return fold(Decision(stages=(gate, Stage(deployment=last))), case, pace=guarded.pace)


def gated(case: Case, guarded: Guarded, *, first: str, last: str) -> Folded:
    """Return what the certified gate does wherever there is one, also where it does not pay."""
    for one in guarded.certificates:
        if one.lane == case.asked.signals.lane and one.thresholds:
            threshold = one.thresholds[-1].min_confidence
            return policies.two_stage(case, first=first, last=last, min_confidence=threshold)
    return fold(single(last), case)


class Held(Struct, frozen=True, kw_only=True):
    """What certificates did on other questions than those they were made on, over splits.

    ``certified``: splits with at least one certified lane. ``exceeded``: splits where a certified
    lane lost more than epsilon on the other half. ``lanes`` and ``over`` count lanes likewise.
    """

    splits: int
    certified: int
    exceeded: int
    lanes: int
    over: int


def held_out(cases: Sequence[Case], *, first: str, last: str, seed: int, splits: int) -> Held:
    """Certify on a random half, test the loosest thresholds on the other; again and again."""
    some = exceeded = lanes = over = 0
    for split in range(splits):
        order = list(cases)
        random.Random(f"{seed}/{split}").shuffle(order)
        half = len(order) // 2
        made = [
            one
            for one in certificates(order[:half], first=first, last=last, seed=seed)
            if one.thresholds
        ]
        missed = sum(_loses(one, order[half:]) > EPSILON for one in made)
        some, exceeded = some + bool(made), exceeded + bool(missed)
        lanes, over = lanes + len(made), over + missed
    return Held(splits=splits, certified=some, exceeded=exceeded, lanes=lanes, over=over)


def _loses(certificate: Certificate, cases: Sequence[Case]) -> float:
    """Return the mean loss of a certificate's loosest threshold on these cases of its lane."""
    rows = [
        _pair(case, certificate.deployment, certificate.reference)
        for case in cases
        if case.asked.signals.lane == certificate.lane
    ]
    losses = kept_losses(rows, certificate.thresholds[-1].min_confidence)
    return sum(losses) / len(losses) if losses else 0.0
