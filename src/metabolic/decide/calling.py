"""The calls of a run: what each is asked for, when its time is up, and which the client sees."""

__all__ = ["call_of", "ends_s", "is_lost", "misses", "others", "shown", "unasked"]

from msgspec.structs import replace

from metabolic.core.attempt import Call, Cancel, Effect, Release, Retract, Run
from metabolic.core.decision import Stage
from metabolic.decide.drafts import LOST, is_last, was_asked


def call_of(run: Run, stage: Stage, index: int) -> Call:
    """Return the call of the stage with that number."""
    delivery, hedge = run.decision.delivery, stage.hedge
    counts = tuple([one.tokens for one in stage.checkpoints])
    live = (delivery == "replace" and stage.rule != "never") or (
        delivery == "window" and is_last(stage)
    )
    if hedge is not None:
        if hedge.doubt is not None and hedge.doubt.tokens not in counts:
            counts = (*counts, hedge.doubt.tokens)
        live = live or (hedge.late and delivery != "stream")
    return Call(
        id=f"c{len(run.attempts) + len(run.open)}",
        stage=index,
        deployment=stage.deployment,
        variant=stage.variant,
        logprobs=stage.min_confidence is not None,
        keep=delivery != "stream",
        checkpoints=() if run.retried else counts,
        live=live,
        num_speculative_tokens=stage.num_speculative_tokens,
    )


def ends_s(run: Run, stage: Stage, at_s: float) -> float:
    """Return when the time of a call opened now is up."""
    end_s = at_s + stage.timeout_s
    return end_s if run.deadline_s is None else min(end_s, run.deadline_s)


def misses(run: Run, stage: Stage, at_s: float) -> bool:
    """Say whether a stage opened now would miss the deadline."""
    return run.deadline_s is not None and at_s + (stage.expected_s or 0.0) >= run.deadline_s


def unasked(run: Run, index: int) -> int:
    """Return the number of the first stage from that on that was not asked beside another."""
    while was_asked(run, index):
        index += 1
    return index


def others(run: Run, call: str | None) -> tuple[Effect, ...]:
    """Return what stops everybody open but one."""
    return tuple([Cancel(call=one.id, why=LOST) for one in run.open if one.id != call])


def shown(run: Run, call: str) -> tuple[Run, tuple[Effect, ...]]:
    """Let a call out, taking back what was shown before it."""
    if run.released == call:
        return run, ()
    before = () if run.released is None else (Retract(call=run.released),)
    return replace(run, released=call), (*before, Release(call=call))


def is_lost(run: Run, call: str) -> bool:
    """Say whether another call is out for good, so that this one can only be billed."""
    return run.decision.delivery != "replace" and run.released not in {None, call}
