"""What may become of a draft: kept, given up, let out early, or given after all."""

__all__ = [
    "EARLY_ABORT",
    "LOST",
    "OURS_TO_MEND",
    "accepted",
    "against",
    "at_checkpoint",
    "best_draft",
    "is_fallback",
    "is_last",
    "is_pending",
    "is_theirs",
    "may_pass",
    "stage_at",
    "was_asked",
]

from metabolic.core.attempt import Attempt, Call, Failure, Reached, Run, Verdict
from metabolic.core.checkpoint import Checkpoint
from metabolic.core.decision import Decision, Stage

EARLY_ABORT = "early abort"
"""Why a draft was cancelled at a checkpoint."""

LOST = "lost"
"""Why a call was cancelled beside which another has answered."""

OURS_TO_MEND = frozenset({"context_length_exceeded"})
"""Refusals of the request that another deployment, with more context, may not share."""

_CLIENT_FAULTS = frozenset({400, 413, 422})
_SERVER_FAULT = 500


def stage_at(decision: Decision, index: int) -> Stage | None:
    """Return the stage of that number, counting fallbacks after stages; ``None`` past the end."""
    if index < len(decision.stages):
        return decision.stages[index]
    index -= len(decision.stages)
    return decision.fallbacks[index] if index < len(decision.fallbacks) else None


def accepted(stage: Stage, verdict: Verdict) -> bool:
    """Say whether a stage keeps a draft with this verdict."""
    if not verdict.well_formed or verdict.doubtful:
        return False
    if stage.rule != "confidence":
        return stage.rule == "agreement" and verdict.agrees is True
    if stage.min_confidence is None:
        return True
    return verdict.confidence is not None and verdict.confidence >= stage.min_confidence


def is_last(stage: Stage) -> bool:
    """Say whether a stage keeps any sound draft, so that nothing is left to be weighed."""
    return stage.min_confidence is None and stage.rule == "confidence"


def at_checkpoint(stage: Stage, event: Reached) -> Checkpoint | None:
    """Return the stage's checkpoint that a draft has reached."""
    for one in stage.checkpoints:
        if one.tokens == event.tokens:
            return one
    return None


def against(run: Run, call: Call) -> str | None:
    """Return the answered call that a draft is compared with, if its stage goes by agreement."""
    stage = stage_at(run.decision, call.stage)
    if stage is None or stage.rule != "agreement":
        return None
    answered = (one for one in run.attempts if one.failure is None and one.call.id != call.id)
    return max((one.call.id for one in answered), default=None)


def is_fallback(run: Run, attempt: Attempt) -> bool:
    """Say whether an attempt was made only because every stage had failed, or there was none."""
    return attempt.call.stage >= len(run.decision.stages)


def is_pending(run: Run) -> bool:
    """Say whether an answer is with the validators."""
    if run.decision.delivery == "stream":
        return False
    checked = {call for call, _ in run.verdicts}
    return any(one.failure is None and one.call.id not in checked for one in run.attempts)


def is_theirs(failure: Failure) -> bool:
    """Say whether a failure is a refusal of the request itself, for the client to hear."""
    refused = failure.kind == "refused" and failure.status in _CLIENT_FAULTS
    return refused and failure.code not in OURS_TO_MEND


def may_pass(failure: Failure | None) -> bool:
    """Say whether the same call may succeed a moment later."""
    if failure is None:
        return False
    if failure.kind in {"unreachable", "overloaded"}:
        return True
    if failure.kind == "cancelled":
        return failure.code in {EARLY_ABORT, LOST}  # given up by us; now it is all there is
    return failure.kind == "bad_reply" and (failure.status or 0) >= _SERVER_FAULT


def was_asked(run: Run, index: int) -> bool:
    """Say whether a stage was asked already, beside another."""
    stage = stage_at(run.decision, index)
    return stage is not None and any(
        one.call.role == "hedge"
        and (
            one.call.stage == index
            or (one.call.deployment == stage.deployment and one.call.variant == stage.variant)
        )
        for one in run.attempts
    )


def best_draft(run: Run) -> Attempt | None:
    """Return the best well-formed draft: not doubtful before doubtful, later stages first."""
    verdicts = dict(run.verdicts)
    drafts = [
        one
        for one in run.attempts
        if one.failure is None and (seen := verdicts.get(one.call.id)) and seen.well_formed
    ]
    return max(
        drafts,
        key=lambda one: (not verdicts[one.call.id].doubtful, one.call.stage),
        default=None,
    )
