"""Who goes on with an answer that died half-way: the same model or nobody, and only once.

What the client has seen stays, so another model may not go on: two minds in one answer. A replica
goes before the deployment that has just died. Without anybody the answer ends honestly.
"""

__all__ = ["continued"]

from msgspec.structs import replace

from metabolic.core.attempt import Attempt, Call, Ended, Failure, Run
from metabolic.decide.calling import call_of
from metabolic.decide.drafts import stage_at

_DIED = frozenset({"unreachable", "timed_out", "bad_reply", "overloaded"})
"""How a call dies; a refusal is an answer, and what we cancelled ourselves is wanted so."""


def continued(run: Run, event: Ended) -> Call | None:
    """Return the call that goes on with the answer of one that died; ``None``: nobody can."""
    attempt = event.attempt
    stage = stage_at(run.decision, attempt.call.stage)
    if stage is None or not event.released_chars or run.open or _late(run, event, stage.timeout_s):
        return None
    if attempt.failure is None or attempt.failure.kind not in _DIED:
        return None
    if any(one.call.role == "continued" for one in run.attempts):
        return None
    name = _who(run, attempt, attempt.failure, event.continued_by)
    if name is None:
        return None
    call = call_of(run, replace(stage, deployment=name, hedge=None), attempt.call.stage)
    return replace(call, role="continued", checkpoints=(), live=False)


def _late(run: Run, event: Ended, timeout_s: float) -> bool:
    """Say whether the answer has had its time: going on would only take longer."""
    attempt = event.attempt
    if run.deadline_s is not None and event.at_s >= run.deadline_s:
        return True
    return attempt.ended_s - attempt.began_s >= timeout_s


def _who(run: Run, attempt: Attempt, failure: Failure, able: tuple[str, ...]) -> str | None:
    """Return who goes on, of those that are able and may answer this request."""
    variant, own = attempt.call.variant, attempt.call.deployment
    fit = {
        one.deployment
        for one in run.decision.candidates
        if one.rejected is None and one.variant == variant
    }
    failed = {one.call.deployment for one in run.attempts if one.failure is not None}
    replicas = [name for name in able if name != own and name in fit and name not in failed]
    if replicas:
        return replicas[0]
    return own if own in able and failure.kind != "overloaded" else None
