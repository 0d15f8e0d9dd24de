"""The life of one request as a state machine: ``advance(run, event) -> (run, effects)``.

Two rules. Everything that decides what a request does next lives in this file. This file does not
know what time it is, who is connected or what an answer says: events tell it.

Theory of operation. A run walks through ``decision.stages`` and, when none of them gave a draft
that may be given, through ``decision.fallbacks``. At most one call is open at a time::

    Began ──Open──▶ waiting ──Ended(answer)──Check──▶ checking ──Checked(accepted)──▶ Release
                      │  ▲                               │
        Ended(failed) │  └────────── Open next ──────────┘ Checked(refused)
                      ▼
              next stage, or the best draft (degraded), or Finish(None)

- **hold**: nothing is released before ``Checked`` accepts it. A draft is accepted when it is
  well-formed, not doubtful, and at least as confident as its stage asks; no evidence where
  evidence is asked for is a refusal.
- **early abort**: a gated draft that is too unsure at a checkpoint is cancelled while it is being
  written, if another stage follows and is in time; nothing of it has left. It is asked once more,
  to its end, only when everybody else has failed.
- **agreement**: a stage that goes by it is compared with the draft before it and kept when both
  say the same in the end; a stage that is only compared with is never kept, unless degraded.
- **stream**: the first ``Progress`` releases the call, and no other call may answer afterwards:
  two answers are never concatenated. A failure before that moves on; one after it ends the run.
- **degraded**: when no stage was satisfied, the best completed well-formed draft is given and
  marked; a run without one ends with the last failure.
- **asked once more**: when nobody is left to try and nothing was answered, the first deployment
  whose failure may pass (unreachable, overloaded, 5xx) is asked again, once, after the seconds it
  asked for (at most ``LONGEST_WAIT_S``).
- A refusal by the upstream of the request itself (400, 413, 422) is the client's to hear: no
  other deployment is asked, unless it was too long for this one. Other 4xx are ours (key, name,
  quota) and move on.
- **client gone**: everything open is cancelled; the run finishes when it has ended, so that it
  is billed.
"""

__all__ = ["EARLY_ABORT", "LONGEST_WAIT_S", "OURS_TO_MEND", "advance", "begin", "stage_at"]

from msgspec.structs import replace

from metabolic.core.attempt import (
    Answer,
    Attempt,
    Began,
    Call,
    Cancel,
    Check,
    Checked,
    ClientGone,
    Effect,
    Ended,
    Event,
    Failure,
    Finish,
    Open,
    Progress,
    Reached,
    Release,
    Run,
    Tick,
    Verdict,
    Wake,
)
from metabolic.core.decision import Decision, Stage

LONGEST_WAIT_S = 5.0
"""A deployment that wants to be left alone for longer is not waited for."""

EARLY_ABORT = "early abort"
"""Why a draft was cancelled at a checkpoint."""

_BUSY_WAIT_S = 0.5
_CLIENT_FAULTS = frozenset({400, 413, 422})
OURS_TO_MEND = frozenset({"context_length_exceeded"})
"""Refusals of the request that another deployment, with more context, may not share."""

_SERVER_FAULT = 500

Step = tuple[Run, tuple[Effect, ...]]


def begin(decision: Decision, *, deadline_s: float | None = None) -> Run:
    """Return the run of a decision, before anything happened.

    ``deadline_s`` is the client's limit in seconds since the run begins.
    """
    return Run(decision=decision, deadline_s=deadline_s)


def advance(run: Run, event: Event) -> Step:
    """Return the run after an event, and what must be done now, in order.

    Events that come after the end, or for calls that are not open, change nothing.
    """
    if run.finished:
        return run, ()
    match event:
        case Began():
            return _open(run, event.at_s)
        case Progress():
            return _progress(run, event)
        case Reached():
            return _reached(run, event)
        case Ended():
            return _ended(run, event)
        case Checked():
            return _checked(run, event)
        case Tick():
            return _tick(run, event)
        case ClientGone():
            return _gone(run)


def stage_at(decision: Decision, index: int) -> Stage | None:
    """Return the stage of that number, counting fallbacks after stages; ``None`` past the end."""
    if index < len(decision.stages):
        return decision.stages[index]
    index -= len(decision.stages)
    return decision.fallbacks[index] if index < len(decision.fallbacks) else None


def _open(run: Run, at_s: float) -> Step:
    """Open the call of the run's stage."""
    decision = run.decision
    stage = stage_at(decision, run.stage)
    if stage is None:
        return _finish(run, None)
    streams = decision.delivery == "stream"
    call = Call(
        id=f"c{len(run.attempts)}",
        stage=run.stage,
        deployment=stage.deployment,
        variant=stage.variant,
        logprobs=stage.min_confidence is not None,
        keep=not streams,
        checkpoints=() if run.retried else tuple([one.tokens for one in stage.checkpoints]),
    )
    ends_s = at_s + stage.timeout_s
    if run.deadline_s is not None:
        ends_s = min(ends_s, run.deadline_s)
    run = replace(run, open=(call,), stage_ends_s=ends_s)
    return run, (Open(call=call), Wake(at_s=ends_s))


def _progress(run: Run, event: Progress) -> Step:
    """Release a streamed call with its first bytes."""
    is_open = any(call.id == event.call for call in run.open)
    if run.decision.delivery != "stream" or run.released is not None or not is_open:
        return run, ()
    return replace(run, released=event.call), (Release(call=event.call),)


def _reached(run: Run, event: Reached) -> Step:
    """Cancel a draft that will not be kept, if somebody is left who can answer in time."""
    call = next((one for one in run.open if one.id == event.call), None)
    stage = None if call is None else stage_at(run.decision, call.stage)
    if call is None or stage is None or run.released == call.id or not _hopeless(stage, event):
        return run, ()
    following = run.stage + 1
    if following >= len(run.decision.stages) or run.retried or run.gone:
        return run, ()
    takes_s = run.decision.stages[following].expected_s
    if run.deadline_s is not None and event.at_s + (takes_s or 0.0) >= run.deadline_s:
        return run, ()
    return run, (Cancel(call=call.id, why=EARLY_ABORT),)


def _hopeless(stage: Stage, event: Reached) -> bool:
    """Say whether a draft is below the threshold of the checkpoint it has reached."""
    return any(
        one.tokens == event.tokens and event.logprob < one.min_logprob for one in stage.checkpoints
    )


def _ended(run: Run, event: Ended) -> Step:
    """Book the attempt; check an answer, move on from a failure."""
    attempt = event.attempt
    call = attempt.call
    if all(call.id != one.id for one in run.open):
        return run, ()
    still_open = tuple(one for one in run.open if one.id != call.id)
    run = replace(
        run,
        open=still_open,
        attempts=(*run.attempts, attempt),
        stage_ends_s=None,
        failure=attempt.failure or run.failure,
    )
    if run.gone:
        return (run, ()) if still_open else _finish(run, None)
    if attempt.failure is not None:
        return _failed(run, attempt, attempt.failure, event.at_s)
    if run.decision.delivery == "stream":
        return _give(run, attempt, degraded=_is_fallback(run, attempt))
    return run, (Check(call=call.id, against=_against(run, call)),)


def _against(run: Run, call: Call) -> str | None:
    """Return the answered call that a draft is compared with, if its stage goes by agreement."""
    stage = stage_at(run.decision, call.stage)
    if stage is None or stage.rule != "agreement":
        return None
    answered = (one for one in run.attempts if one.failure is None and one.call.id != call.id)
    return max((one.call.id for one in answered), default=None)


def _failed(run: Run, attempt: Attempt, failure: Failure, at_s: float) -> Step:
    """Move on from a failed call, unless the client must hear of it."""
    if run.released == attempt.call.id:
        return _finish(run, None)
    theirs = failure.kind == "refused" and failure.status in _CLIENT_FAULTS
    if theirs and failure.code not in OURS_TO_MEND:
        return _last_resort(run)
    return _next(run, at_s)


def _checked(run: Run, event: Checked) -> Step:
    """Give an accepted draft; move on from a refused one."""
    attempt = next((one for one in run.attempts if one.call.id == event.call), None)
    if attempt is None or attempt.failure is not None:
        return run, ()
    run = replace(run, verdicts=(*run.verdicts, (event.call, event.verdict)))
    stage = stage_at(run.decision, attempt.call.stage)
    if stage is not None and _accepted(stage, event.verdict):
        return _give(run, attempt, degraded=_is_fallback(run, attempt))
    return _next(run, event.at_s)


def _is_fallback(run: Run, attempt: Attempt) -> bool:
    """Say whether an attempt was made only because every stage had failed, or there was none."""
    return attempt.call.stage >= len(run.decision.stages)


def _accepted(stage: Stage, verdict: Verdict) -> bool:
    """Say whether a stage keeps a draft with this verdict."""
    if not verdict.well_formed or verdict.doubtful:
        return False
    if stage.rule != "confidence":
        return stage.rule == "agreement" and verdict.agrees is True
    if stage.min_confidence is None:
        return True
    return verdict.confidence is not None and verdict.confidence >= stage.min_confidence


def _next(run: Run, at_s: float) -> Step:
    """Open the next stage; fall back only when there is no draft that may be given."""
    late = run.deadline_s is not None and at_s >= run.deadline_s
    following = _in_time(run, at_s)
    exhausted = following >= len(run.decision.stages)
    if late or run.retried or (exhausted and _best_draft(run) is not None):
        return _last_resort(run)
    if stage_at(run.decision, following) is None:
        return _again(run, at_s)
    return _open(replace(run, stage=following), at_s)


def _in_time(run: Run, at_s: float) -> int:
    """Return the next stage, without those that would miss the deadline if there is a draft."""
    following = run.stage + 1
    if run.deadline_s is None or _best_draft(run) is None:
        return following
    for stage in run.decision.stages[following:]:
        if stage.expected_s is None or at_s + stage.expected_s <= run.deadline_s:
            break
        following += 1
    return following


def _again(run: Run, at_s: float) -> Step:
    """Ask once more, the first of those whose failure may pass; only when nobody else is left."""
    failed = next((one for one in run.attempts if _may_pass(one.failure)), None)
    if run.retried or failed is None or failed.failure is None:
        return _last_resort(run)
    wait_s = failed.failure.retry_after_s
    if wait_s is None:
        wait_s = _BUSY_WAIT_S if failed.failure.kind == "overloaded" else 0.0
    at_s = max(at_s, failed.ended_s + wait_s)
    if wait_s > LONGEST_WAIT_S or (run.deadline_s is not None and at_s >= run.deadline_s):
        return _last_resort(run)
    run = replace(run, retried=True, stage=failed.call.stage)
    if wait_s:
        return replace(run, retry_at_s=at_s), (Wake(at_s=at_s),)
    return _open(run, at_s)


def _may_pass(failure: Failure | None) -> bool:
    """Say whether the same call may succeed a moment later."""
    if failure is None:
        return False
    if failure.kind in {"unreachable", "overloaded"}:
        return True
    if failure.kind == "cancelled":
        return failure.code == EARLY_ABORT  # given up by us; now it is all there is
    return failure.kind == "bad_reply" and (failure.status or 0) >= _SERVER_FAULT


def _last_resort(run: Run) -> Step:
    """Give the best draft, marked degraded; without one, end with the failure."""
    draft = _best_draft(run)
    return _finish(run, None) if draft is None else _give(run, draft, degraded=True)


def _best_draft(run: Run) -> Attempt | None:
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


def _give(run: Run, attempt: Attempt, *, degraded: bool) -> Step:
    """Release an attempt's answer and end the run."""
    verdict = dict(run.verdicts).get(attempt.call.id)
    answer = Answer(
        call=attempt.call.id,
        deployment=attempt.call.deployment,
        escalations=attempt.call.stage,
        confidence=None if verdict is None else verdict.confidence,
        degraded=degraded,
        certified=run.decision.certified and not degraded,
    )
    effects: tuple[Effect, ...] = (Finish(call=attempt.call.id),)
    if run.released is None:
        effects = (Release(call=attempt.call.id), *effects)
    return replace(run, answer=answer, released=attempt.call.id, finished=True), effects


def _finish(run: Run, call: str | None) -> Step:
    """End the run."""
    return replace(run, finished=True), (Finish(call=call),)


def _tick(run: Run, event: Tick) -> Step:
    """Cancel what is open when its time is up; its end moves the run on. Or ask once more."""
    if run.retry_at_s is not None and event.at_s >= run.retry_at_s and not run.open:
        return _open(replace(run, retry_at_s=None), event.at_s)
    if run.stage_ends_s is None or event.at_s < run.stage_ends_s or not run.open:
        return run, ()
    cancels = tuple(Cancel(call=call.id, why="timeout") for call in run.open)
    return replace(run, stage_ends_s=None), cancels


def _gone(run: Run) -> Step:
    """Cancel everything: nobody will read it."""
    if not run.open:
        return _finish(replace(run, gone=True), None)
    cancels = tuple(Cancel(call=call.id, why="client gone") for call in run.open)
    return replace(run, gone=True), cancels
