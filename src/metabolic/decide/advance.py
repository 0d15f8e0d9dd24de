"""The life of one request as a state machine: ``advance(run, event) -> (run, effects)``.

Two rules. Everything that decides what a request does next lives here, in ``calling`` and in
``drafts``. They do not know what time it is, who is connected or what an answer says: events tell.

Theory of operation. A run walks through ``decision.stages`` and, when none of them gave a draft
that may be given, through ``decision.fallbacks``. One call is open at a time, or two in a hedge::

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
  two answers are never concatenated. A failure before that moves on; one after it ends the run,
  unless it is continued.
- **continued**: when a call dies whose answer is leaving, the same model goes on from exactly what
  the client has, once, if it can (``continuing``); the run then goes by that call.
- **window**: as hold, but a draft that is sure enough at a checkpoint is released there and then,
  and so is the last stage's with its first bytes. From then on it is as in a stream: no other call
  may answer. The verdict at the end is told; it changes nothing.
- **replace**: every draft is released with its first bytes. When another answers after all, its
  first bytes retract what was shown before: ``Retract`` stands between any two answers.
- **hedge**: a second call is opened beside the first when its time has come or the draft is in
  doubt. The first accepted answer wins, the other is cancelled and billed; while one of them is
  open or being checked nobody else is asked. A late hedge asks a replica when first bytes do not
  come, and whoever has them first goes on alone.
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

__all__ = [
    "EARLY_ABORT",
    "LONGEST_WAIT_S",
    "LOST",
    "OURS_TO_MEND",
    "advance",
    "begin",
    "stage_at",
]

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
    Wake,
)
from metabolic.core.decision import Decision
from metabolic.decide.calling import call_of, ends_s, is_lost, misses, others, shown, unasked
from metabolic.decide.continuing import continued
from metabolic.decide.drafts import (
    EARLY_ABORT,
    LOST,
    OURS_TO_MEND,
    accepted,
    against,
    at_checkpoint,
    best_draft,
    is_fallback,
    is_last,
    is_pending,
    is_theirs,
    may_pass,
    stage_at,
)

LONGEST_WAIT_S = 5.0
"""A deployment that wants to be left alone for longer is not waited for."""

_BUSY_WAIT_S = 0.5

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


def _open(run: Run, at_s: float) -> Step:
    """Open the call of the run's stage."""
    stage = stage_at(run.decision, run.stage)
    if stage is None:
        return _finish(run, None)
    call = call_of(run, stage, run.stage)
    wake_s = end_s = ends_s(run, stage, at_s)
    if stage.hedge is not None and not run.retried:
        wake_s = min(end_s, at_s + stage.hedge.after_s)
    hedge_at_s = wake_s if wake_s < end_s else None
    run = replace(run, open=(call,), stage_ends_s=end_s, hedge_at_s=hedge_at_s)
    return run, (Open(call=call), Wake(at_s=wake_s))


def _hedge(run: Run, at_s: float) -> Step:
    """Open the second call beside the stage's own, if it can still answer in time."""
    stage, index = stage_at(run.decision, run.stage), run.stage
    hedge = None if stage is None else stage.hedge
    run = replace(run, hedge_at_s=None)
    wake = () if run.stage_ends_s is None else (Wake(at_s=run.stage_ends_s),)
    if stage is None or hedge is None or run.gone or run.closing or run.released is not None:
        return run, wake
    if hedge.deployment is None:
        index += 1
        other = stage_at(run.decision, index)
    else:
        other = replace(stage, deployment=hedge.deployment, hedge=replace(hedge, doubt=None))
    if other is None or misses(run, other, at_s):
        return run, wake
    call = replace(call_of(run, other, index), role="hedge")
    end_s = max(run.stage_ends_s or 0.0, ends_s(run, other, at_s))
    run = replace(run, open=(*run.open, call), stage_ends_s=end_s)
    return run, (Open(call=call), Wake(at_s=end_s))


def _progress(run: Run, event: Progress) -> Step:
    """Release a call that is streamed or shown with its first bytes; end a wait for them."""
    call = next((one for one in run.open if one.id == event.call), None)
    if call is None or run.closing or run.gone or is_lost(run, call.id):
        return run, ()
    effects: tuple[Effect, ...] = ()
    stage = stage_at(run.decision, call.stage)
    if stage is not None and stage.hedge is not None and stage.hedge.late:
        effects = others(run, call.id)
        if run.hedge_at_s is not None and run.stage_ends_s is not None:
            effects = (*effects, Wake(at_s=run.stage_ends_s))
        run = replace(run, hedge_at_s=None)
    mode = run.decision.delivery
    if mode == "hold" or (mode == "window" and (stage is None or not is_last(stage))):
        return run, effects
    run, released = shown(run, call.id)
    return run, (*released, *effects)


def _reached(run: Run, event: Reached) -> Step:
    """Give up a draft that will not be kept, let out one that will, hedge one in doubt."""
    call = next((one for one in run.open if one.id == event.call), None)
    stage = None if call is None else stage_at(run.decision, call.stage)
    if call is None or stage is None or run.closing or run.gone:
        return run, ()
    mode = run.decision.delivery
    point = at_checkpoint(stage, event)
    if point is not None and (run.released != call.id or mode == "replace"):
        if event.logprob < point.min_logprob:
            return _give_up(run, call, event.at_s)
        sure = point.release_logprob is not None and event.logprob >= point.release_logprob
        if mode == "window" and sure and run.released is None:
            return _commit(run, call)
    doubt = None if stage.hedge is None else stage.hedge.doubt
    if run.hedge_at_s is None or doubt is None or doubt.tokens != event.tokens:
        return run, ()
    return _hedge(run, event.at_s) if event.logprob < doubt.min_logprob else (run, ())


def _commit(run: Run, call: Call) -> Step:
    """Let a draft out that is still being written; nobody else may answer then."""
    run, released = shown(run, call.id)
    return run, (*released, *others(run, call.id))


def _give_up(run: Run, call: Call, at_s: float) -> Step:
    """Cancel a draft if somebody is left who can answer in time."""
    if run.retried:
        return run, ()
    if len(run.open) == 1:
        following = unasked(run, call.stage + 1)
        stages = run.decision.stages
        if following >= len(stages) or misses(run, stages[following], at_s):
            return run, ()
    return run, (Cancel(call=call.id, why=EARLY_ABORT),)


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
        stage_ends_s=run.stage_ends_s if still_open else None,
        hedge_at_s=None,
        failure=run.failure if run.closing else attempt.failure or run.failure,
    )
    if run.gone or run.closing:
        return (run, ()) if still_open else _finish(run, run.answer if run.closing else None)
    if attempt.failure is not None:
        return _failed(run, event, attempt.failure)
    if is_lost(run, call.id):
        return run, ()
    if run.decision.delivery == "stream":
        return _give(run, attempt, degraded=is_fallback(run, attempt))
    return run, (Check(call=call.id, against=against(run, call)),)


def _failed(run: Run, event: Ended, failure: Failure) -> Step:
    """Move on from a failed call, unless the client must hear of it."""
    if run.released == event.attempt.call.id and run.decision.delivery != "replace":
        call = continued(run, event) if event.continued_by else None
        return _close(run, ()) if call is None else _go_on(run, call, event.at_s)
    if is_theirs(failure) and not run.open and not is_pending(run):
        return _last_resort(run)
    return _next(run, event.at_s)


def _go_on(run: Run, call: Call, at_s: float) -> Step:
    """Open the call that goes on with the answer which the client has the beginning of."""
    stage = stage_at(run.decision, call.stage)
    end_s = None if stage is None else ends_s(run, stage, at_s)
    run = replace(run, open=(call,), released=call.id, stage_ends_s=end_s, hedge_at_s=None)
    return run, (Open(call=call),) if end_s is None else (Open(call=call), Wake(at_s=end_s))


def _checked(run: Run, event: Checked) -> Step:
    """Give an accepted draft; move on from a refused one, unless it is out for good."""
    attempt = next((one for one in run.attempts if one.call.id == event.call), None)
    if attempt is None or attempt.failure is not None or run.closing or run.gone:
        return run, ()
    run = replace(run, verdicts=(*run.verdicts, (event.call, event.verdict)))
    stage = stage_at(run.decision, attempt.call.stage)
    if stage is not None and accepted(stage, event.verdict):
        return _give(run, attempt, degraded=is_fallback(run, attempt))
    if run.released == attempt.call.id and run.decision.delivery == "window":
        return _give(run, attempt, degraded=True)
    return _next(run, event.at_s)


def _next(run: Run, at_s: float) -> Step:
    """Open the next stage; fall back only when there is no draft that may be given."""
    if run.open or is_pending(run):
        return run, ()
    late = run.deadline_s is not None and at_s >= run.deadline_s
    following = _in_time(run, at_s)
    exhausted = following >= len(run.decision.stages)
    if late or run.retried or (exhausted and best_draft(run) is not None):
        return _last_resort(run)
    if stage_at(run.decision, following) is None:
        return _again(run, at_s)
    return _open(replace(run, stage=following), at_s)


def _in_time(run: Run, at_s: float) -> int:
    """Return the next stage, without those that would miss the deadline if there is a draft."""
    following = unasked(run, run.stage + 1)
    if run.deadline_s is None or best_draft(run) is None:
        return following
    for stage in run.decision.stages[following:]:
        if stage.expected_s is None or at_s + stage.expected_s <= run.deadline_s:
            break
        following += 1
    return following


def _again(run: Run, at_s: float) -> Step:
    """Ask once more, the first of those whose failure may pass; only when nobody else is left."""
    failed = next((one for one in run.attempts if may_pass(one.failure)), None)
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


def _last_resort(run: Run) -> Step:
    """Give the best draft, marked degraded; without one, end with the failure."""
    draft = best_draft(run)
    return _close(run, ()) if draft is None else _give(run, draft, degraded=True)


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
    if run.released is None and not run.open:  # the common case, in one step
        given = attempt.call.id
        run = replace(run, answer=answer, released=given, finished=True)
        return run, (Release(call=given), Finish(call=given))
    run, released = shown(run, attempt.call.id)
    return _close(replace(run, answer=answer), released)


def _close(run: Run, effects: tuple[Effect, ...]) -> Step:
    """End the run, at once or when what is still open has been stopped."""
    if not run.open:
        run, finish = _finish(run, run.answer)
        return run, (*effects, *finish)
    return replace(run, closing=True, hedge_at_s=None), (*effects, *others(run, None))


def _finish(run: Run, answer: Answer | None) -> Step:
    """End the run."""
    return replace(run, finished=True), (Finish(call=None if answer is None else answer.call),)


def _tick(run: Run, event: Tick) -> Step:
    """Ask once more; open a hedge; or cancel what is open when its time is up."""
    if run.retry_at_s is not None and event.at_s >= run.retry_at_s and not run.open:
        return _open(replace(run, retry_at_s=None), event.at_s)
    if run.stage_ends_s is None or not run.open:
        return run, ()
    if event.at_s < run.stage_ends_s:
        hedges = run.hedge_at_s is not None and event.at_s >= run.hedge_at_s
        return _hedge(run, event.at_s) if hedges else (run, ())
    cancels = tuple(Cancel(call=call.id, why="timeout") for call in run.open)
    return replace(run, stage_ends_s=None), cancels


def _gone(run: Run) -> Step:
    """Cancel everything: nobody will read it."""
    if not run.open:
        return _finish(replace(run, gone=True), None)
    cancels = tuple(Cancel(call=call.id, why="client gone") for call in run.open)
    return replace(run, gone=True), cancels
