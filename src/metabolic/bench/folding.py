"""Recorded answers through the real state machine: what each policy would have cost and given.

Nothing here decides. A decision comes from ``decide`` (or is a single stage, for the baselines),
``advance`` walks it, and the recorded answers and verdicts are the events.
"""

__all__ = ["Case", "Folded", "cases", "default_validators", "fold", "single"]

from collections.abc import Coroutine, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from metabolic import plugins
from metabolic.bench.answers import MAX_TOKENS, Asked, Book, Recorded
from metabolic.core.attempt import (
    Attempt,
    Began,
    Call,
    Cancel,
    Check,
    Checked,
    Choice,
    Ended,
    Event,
    Failure,
    Open,
    Reached,
    Reply,
    ReplyChoice,
    Verdict,
)
from metabolic.core.decision import Decision, Stage
from metabolic.core.ports import Validator
from metabolic.core.request import Request, Sampling, Usage
from metabolic.decide.advance import EARLY_ABORT, advance, begin
from metabolic.decide.evidence import merge, summarise
from metabolic.decide.tokens import first_tokens


class Case(Struct, frozen=True, kw_only=True):
    """One question, with every deployment's answer and the validators' verdict on it."""

    asked: Asked
    answers: dict[str, Recorded]
    verdicts: dict[str, Verdict]


class Folded(Struct, frozen=True, kw_only=True):
    """What a policy did with one question: net of drafts thrown away.

    ``answered`` is ``None`` when nothing could be given. ``cpu_s`` is ``None`` when an engine's
    CPU time is unknown.
    """

    case: Case
    right: bool
    cpu_s: float | None
    seconds: float
    called: tuple[str, ...]
    answered: str | None


def cases(book: Book, validators: Sequence[Validator]) -> tuple[Case, ...]:
    """Return the questions everyone answered, judged by the validators of the product."""
    found: list[Case] = []
    for asked in book.complete():
        answers = {name: book.answers[asked.id, name] for name in book.deployments}
        verdicts = {name: _judge(one, validators) for name, one in answers.items()}
        found.append(Case(asked=asked, answers=answers, verdicts=verdicts))
    return tuple(found)


def default_validators() -> tuple[Validator, ...]:
    """Return the validators a gateway has without further configuration."""
    return tuple(plugins.validator(kind) for kind in ("shape", "confidence"))


def _judge(one: Recorded, validators: Sequence[Validator]) -> Verdict:
    """Return the merged verdict on a recorded answer."""
    request = Request(
        id=one.question,
        dialect="chat",
        model="auto",
        sampling=Sampling(max_output_tokens=MAX_TOKENS),
    )
    choice = ReplyChoice(text=one.text, finish_reason=one.finish_reason, logprobs=one.logprobs)
    reply = Reply(choices=(choice,), usage=_usage(one))
    attempt = _attempt(one, Call(id="c0", stage=0, deployment=one.deployment), began_s=0.0)
    return merge([_now(each.check(request, attempt, reply)) for each in validators])


def _now(check: Coroutine[None, None, Verdict]) -> Verdict:
    """Return what a validator says; ours never wait."""
    try:
        check.send(None)
    except StopIteration as done:
        verdict: Verdict = done.value
        return verdict
    check.close()
    message = "a validator that waits cannot judge recorded answers"
    raise NotImplementedError(message)


def _usage(one: Recorded) -> Usage:
    """Return the tokens of a recorded answer."""
    return Usage(
        input_tokens=one.input_tokens,
        cached_tokens=one.cached_tokens,
        output_tokens=one.output_tokens,
    )


def _attempt(one: Recorded, call: Call, *, began_s: float) -> Attempt:
    """Return a recorded answer as the attempt it would have been."""
    failure = None if one.failure is None else Failure(kind="bad_reply", message=one.failure)
    choice = Choice(
        finish_reason=one.finish_reason,
        output_chars=len(one.text),
        logprobs=summarise(one.logprobs),
    )
    return Attempt(
        call=call,
        began_s=began_s,
        ended_s=began_s + one.seconds,
        usage=_usage(one),
        choices=() if failure else (choice,),
        failure=failure,
        cpu_s=one.cpu_s,
    )


def _answered(answer: Recorded, call: Call, *, began_s: float) -> tuple[Event, ...]:
    """Return the events of a recorded answer: the checkpoints it passes, and its end."""
    attempt = _attempt(answer, call, began_s=began_s)
    means = [(count, first_tokens(answer.logprobs, count)) for count in call.checkpoints]
    return (
        *(
            Reached(call=call.id, tokens=count, logprob=mean, at_s=began_s)
            for count, mean in means
            if mean is not None and answer.failure is None
        ),
        Ended(attempt=attempt, at_s=attempt.ended_s),
    )


def _stopped(whole: Attempt, at: Reached, pace: Mapping[str, float]) -> Ended:
    """Return the end of a draft that was given up, less what was not written.

    Its wall seconds shrink as its CPU seconds do.
    """
    per_token_s = pace.get(whole.call.deployment, 0.0)
    left = max(0, (whole.usage.output_tokens or at.tokens) - at.tokens)
    share = 1.0
    if whole.cpu_s:
        share = max(0.0, 1 - left * per_token_s / whole.cpu_s)
    ended_s = whole.began_s + share * (whole.ended_s - whole.began_s)
    attempt = Attempt(
        call=whole.call,
        began_s=whole.began_s,
        ended_s=ended_s,
        usage=replace(whole.usage, output_tokens=at.tokens),
        failure=Failure(kind="cancelled", code=EARLY_ABORT),
        cpu_s=None if whole.cpu_s is None else share * whole.cpu_s,
    )
    return Ended(attempt=attempt, at_s=ended_s)


def single(deployment: str) -> Decision:
    """Return the decision that always asks one deployment."""
    return Decision(stages=(Stage(deployment=deployment),))


def fold(decision: Decision, case: Case, *, pace: Mapping[str, float] | None = None) -> Folded:
    """Return what a decision does with a question, by the recorded answers.

    ``pace`` is CPU seconds of a written token by deployment, for what is saved of drafts that are
    given up; without it they are charged in full.
    """
    run = begin(decision)
    events: list[Event] = [Began(at_s=0.0)]
    now_s = 0.0
    while events:
        event = events.pop(0)
        now_s = max(now_s, event.at_s) if isinstance(event, Ended) else now_s
        run, effects = advance(run, event)
        for effect in effects:
            if isinstance(effect, Open):
                answer = case.answers[effect.call.deployment]
                events.extend(_answered(answer, effect.call, began_s=now_s))
            elif isinstance(effect, Cancel) and isinstance(event, Reached):
                ended = next(one for one in events if isinstance(one, Ended))
                events = [_stopped(ended.attempt, event, (pace or {}))]
            elif isinstance(effect, Check):
                name = next(
                    one.call.deployment for one in run.attempts if one.call.id == effect.call
                )
                verdict = case.verdicts[name]
                events.append(Checked(call=effect.call, verdict=verdict, at_s=now_s))
    answered = None if run.answer is None else run.answer.deployment
    spent = [one.cpu_s for one in run.attempts]
    return Folded(
        case=case,
        right=answered is not None and case.answers[answered].right,
        cpu_s=None if None in spent else sum(one for one in spent if one is not None),
        seconds=now_s,
        called=tuple(one.call.deployment for one in run.attempts),
        answered=answered,
    )
