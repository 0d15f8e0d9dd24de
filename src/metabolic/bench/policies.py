"""What is learned on one half of the questions, and the policies compared on the other.

Learned: how fast each deployment is, how often it is right on each lane, how often its drafts are
kept at a threshold and how often the kept ones are right (``Belief``), and the threshold itself.
The cascade is the product's own: these beliefs go into ``decide``. The baselines are fixed.
"""

__all__ = [
    "GRID",
    "Learned",
    "auroc",
    "beliefs",
    "by_length",
    "cascade",
    "choose_two_stage",
    "decision",
    "kept",
    "learn",
    "oracle",
    "quality",
    "random_share",
    "two_stage",
]

import random
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from metabolic.bench.answers import MAX_TOKENS, Recorded
from metabolic.bench.folding import Case, Folded, fold, single
from metabolic.core.decision import Belief, Decision, Policy, Stage
from metabolic.core.fleet import Deployment, FleetSpec, Load, Situation
from metabolic.core.metabolic import MetabolicState, Profile, Threshold
from metabolic.core.request import Ask, WarmPrefix
from metabolic.decide.decide import decide
from metabolic.decide.digest import sealed
from metabolic.decide.estimate import Prepared, prepare

MIN_ROWS = 20
"""Labelled answers a lane needs for a belief of its own."""

GRID = (0.5, 0.6, 0.66, 0.7, 0.74, 0.78, 0.8, 0.82, 0.84, 0.86, 0.88, 0.9, 0.92, 0.94, 0.96, 0.98)
"""Thresholds tried: geometric mean token probabilities. 0.82 is a mean log-probability of -0.2."""

_DECODE_PER_PREFILL = 3.0
"""What a written token costs against a read one: 2.75 to 3 on the default fleet's Qwen models,
one thread, llama.cpp."""

_LEVELS = ("unknown", "nominal", "elevated", "critical")


class Learned(Struct, frozen=True, kw_only=True):
    """What was chosen on one half: the threshold, and fleet and policy ready for ``decide``."""

    min_confidence: float
    fleet: FleetSpec
    policy: Policy
    prepared: Prepared


def kept(case: Case, deployment: str, min_confidence: float) -> bool:
    """Say whether a draft would be kept at a threshold, as ``advance`` judges it."""
    verdict = case.verdicts[deployment]
    if case.answers[deployment].failure is not None or not verdict.well_formed:
        return False
    sure = verdict.confidence
    return not verdict.doubtful and sure is not None and sure >= min_confidence


def beliefs(
    cases: Sequence[Case], names: Iterable[str], *, min_confidence: float
) -> tuple[Belief, ...]:
    """Return what these answers say of each deployment, on all lanes and on those with rows.

    ``p_correct_accepted`` is ``None`` when no draft was kept.
    """
    lanes: dict[str, list[Case]] = {"*": list(cases)}
    for case in cases:
        lanes.setdefault(case.asked.signals.lane, []).append(case)
    return tuple(
        _belief(rows, name, lane, min_confidence)
        for name in sorted(names)
        for lane, rows in sorted(lanes.items())
        if len(rows) >= MIN_ROWS or (lane == "*" and rows)
    )


def _belief(rows: Sequence[Case], name: str, lane: str, min_confidence: float) -> Belief:
    """Return what these rows say of one deployment on one lane."""
    right = sum(case.answers[name].right for case in rows)
    stays = [case.answers[name].right for case in rows if kept(case, name, min_confidence)]
    return Belief(
        deployment=name,
        lane=lane,
        p_correct=right / len(rows),
        p_accept=len(stays) / len(rows),
        p_correct_accepted=sum(stays) / len(stays) if stays else None,
        evidence=len(rows),
    )


def learn(
    cases: Sequence[Case],
    fleet: Sequence[Deployment],
    *,
    profile: Profile,
    cpu_w_per_core: float,
    grid: Sequence[float] = GRID,
) -> Learned:
    """Choose the threshold: the cheapest that keeps to the profile's loss on these cases.

    The loss is against the best single deployment, ``preference × max_loss_ratio`` of it at most.
    When none keeps to it, the strictest is taken.
    """
    measured = _measured(cases, fleet, cpu_w_per_core=cpu_w_per_core)
    names = [one.name for one in fleet]
    floor = max(_right(cases, name) for name in names)
    floor -= profile.preference * profile.max_loss_ratio * len(cases)
    best: tuple[float, Learned] | None = None
    for threshold in sorted(grid):
        tried = _at(cases, measured, profile, threshold, cpu_w_per_core=cpu_w_per_core)
        folded = [cascade(case, tried) for case in cases]
        cost = sum(_cost(one) for one in folded)
        if sum(one.right for one in folded) >= floor and (best is None or cost < best[0]):
            best = (cost, tried)
    if best is not None:
        return best[1]
    return _at(cases, measured, profile, max(grid), cpu_w_per_core=cpu_w_per_core)


def _at(
    cases: Sequence[Case],
    fleet: FleetSpec,
    profile: Profile,
    threshold: float,
    *,
    cpu_w_per_core: float,
) -> Learned:
    """Return fleet and policy with this threshold at every level, and the beliefs at it."""
    levels = tuple(Threshold(level=level, min_confidence=threshold) for level in _LEVELS)
    policy = sealed(
        Policy(
            id="",
            profile=replace(profile, thresholds=levels),
            cpu_w_per_core=cpu_w_per_core,
            beliefs=beliefs(
                cases, [one.name for one in fleet.deployments], min_confidence=threshold
            ),
        )
    )
    return Learned(
        min_confidence=threshold, fleet=fleet, policy=policy, prepared=prepare(fleet, policy)
    )


def _measured(
    cases: Sequence[Case], fleet: Sequence[Deployment], *, cpu_w_per_core: float
) -> FleetSpec:
    """Return the fleet with the speeds these cases show."""
    deployments: list[Deployment] = []
    for one in fleet:
        prefill, decode = _speeds([case.answers[one.name] for case in cases])
        known = one.active_w is not None or one.device is None
        deployments.append(
            replace(
                one,
                prefill_tokens_per_s=prefill or one.prefill_tokens_per_s,
                decode_tokens_per_s=decode or one.decode_tokens_per_s,
                speed_origin="measured" if prefill and decode else one.speed_origin,
                active_w=one.active_w if known else cpu_w_per_core,
            )
        )
    return sealed(FleetSpec(id="", deployments=tuple(deployments)))


def _speeds(answers: Sequence[Recorded]) -> tuple[float | None, float | None]:
    """Return tokens per second of prefill and decode by least squares; ``None`` without answers.

    seconds = fresh input tokens / prefill + output tokens / decode, without a constant. Answers
    that are too alike to tell the two apart share their seconds at a fixed ratio.
    """
    aa = ab = bb = at = bt = 0.0
    work = total_s = 0.0
    for one in answers:
        if one.input_tokens is None or one.output_tokens is None or one.failure is not None:
            continue
        fresh = one.input_tokens - (one.cached_tokens or 0)
        seconds = one.seconds if one.cpu_s is None else one.cpu_s
        aa += fresh * fresh
        ab += fresh * one.output_tokens
        bb += one.output_tokens * one.output_tokens
        at += fresh * seconds
        bt += one.output_tokens * seconds
        work += fresh + _DECODE_PER_PREFILL * one.output_tokens
        total_s += seconds
    determinant = aa * bb - ab * ab
    if determinant > 1e-9 * aa * bb:
        per_input = (at * bb - bt * ab) / determinant
        per_output = (bt * aa - at * ab) / determinant
        if per_input > 0 and per_output > 0:
            return 1 / per_input, 1 / per_output
    if work <= 0 or total_s <= 0:
        return None, None
    return work / total_s, work / total_s / _DECODE_PER_PREFILL


def _right(cases: Sequence[Case], name: str) -> int:
    """Return how many a deployment answers rightly."""
    return sum(case.answers[name].right for case in cases)


def _cost_of(one: Recorded) -> float:
    """Return CPU seconds of one answer, or wall seconds where they are not known."""
    return one.seconds if one.cpu_s is None else one.cpu_s


def _cost(folded: Folded) -> float:
    """Return CPU seconds, or wall seconds where they are not known."""
    return folded.seconds if folded.cpu_s is None else folded.cpu_s


def decision(case: Case, learned: Learned) -> Decision:
    """Return what the product decides for a question, no text seen."""
    asked = case.asked
    tokens = [one.input_tokens for one in case.answers.values() if one.input_tokens is not None]
    ask = Ask(
        id=asked.id,
        at_s=0.0,
        input_tokens=max(tokens, default=0),
        max_output_tokens=MAX_TOKENS,
        warm=tuple(
            WarmPrefix(deployment=name, prefix_tokens=one.cached_tokens)
            for name, one in case.answers.items()
            if one.cached_tokens
        ),
    )
    situation = Situation(
        at_s=0.0,
        metabolic=MetabolicState(),
        fleet=learned.fleet,
        load=tuple(Load(deployment=one.name) for one in learned.fleet.deployments),
    )
    return decide(ask, asked.signals, situation, learned.policy, prepared=learned.prepared)


def cascade(case: Case, learned: Learned) -> Folded:
    """Return what the product does with a question."""
    return fold(decision(case, learned), case)


def two_stage(case: Case, *, first: str, last: str, min_confidence: float) -> Folded:
    """Return what a plain cascade of two does: no beliefs, one threshold."""
    stages = (Stage(deployment=first, min_confidence=min_confidence), Stage(deployment=last))
    return fold(Decision(stages=stages), case)


def choose_two_stage(
    cases: Sequence[Case], *, first: str, last: str, max_loss: float, grid: Sequence[float] = GRID
) -> float:
    """Return the cheapest threshold at which the plain cascade loses ``max_loss`` at most."""
    floor = _right(cases, last) - max_loss * len(cases)
    best: tuple[float, float] | None = None
    for threshold in sorted(grid):
        folded = [
            two_stage(case, first=first, last=last, min_confidence=threshold) for case in cases
        ]
        cost = sum(_cost(one) for one in folded)
        if sum(one.right for one in folded) >= floor and (best is None or cost < best[0]):
            best = (cost, threshold)
    return max(grid) if best is None else best[1]


def quality(cases: Sequence[Case], name: str) -> tuple[float, float]:
    """Return how often a deployment is right, then what it costs: by this the fleet is ranked."""
    return _right(cases, name) / len(cases), sum(_cost_of(case.answers[name]) for case in cases)


def oracle(case: Case) -> Folded:
    """Return the cheapest right answer, or the cheapest when none is right: the bound."""
    folded = [fold(single(name), case) for name in case.answers]
    return min(folded, key=lambda one: (not one.right, _cost(one)))


def random_share(
    cases: Sequence[Case], shares: Mapping[str, float], *, seed: int, draws: int = 20
) -> list[Folded]:
    """Return ``draws`` rounds of sending questions to deployments by lot, with these shares."""
    lot = random.Random(seed)
    names, weights = list(shares), list(shares.values())
    return [
        fold(single(name), case)
        for _ in range(draws)
        for case, name in zip(cases, lot.choices(names, weights, k=len(cases)), strict=True)
    ]


def by_length(
    chosen_on: Sequence[Case], *, first: str, last: str, strong_share: float
) -> Callable[[Case], Folded]:
    """Return the rule that sends the longest prompts to ``last``, as many as ``strong_share``."""
    lengths = sorted((case.asked.chars for case in chosen_on), reverse=True)
    count = round(strong_share * len(lengths))
    bound = lengths[count - 1] if count else float("inf")

    def send(case: Case) -> Folded:
        return fold(single(last if case.asked.chars >= bound else first), case)

    return send


def auroc(cases: Sequence[Case], name: str) -> float | None:
    """Return how well confidence tells right from wrong answers; ``None`` if all are alike.

    The chance that a right answer is surer than a wrong one, ties counting half.
    """
    scored = sorted(
        (case.verdicts[name].confidence or 0.0, case.answers[name].right) for case in cases
    )
    right = sum(is_right for _, is_right in scored)
    wrong = len(scored) - right
    if not right or not wrong:
        return None
    ranks: dict[float, list[int]] = {}
    for rank, (sure, _) in enumerate(scored, 1):
        ranks.setdefault(sure, []).append(rank)
    mean = {sure: sum(found) / len(found) for sure, found in ranks.items()}
    total = sum(mean[sure] for sure, is_right in scored if is_right)
    return (total - right * (right + 1) / 2) / (right * wrong)
