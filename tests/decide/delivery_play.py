"""A run under test, event by event, with all effects so far."""

from typing import Any

from msgspec.structs import replace

from metabolic.core.attempt import (
    Attempt,
    Began,
    Check,
    Checked,
    Ended,
    Failure,
    Open,
    Progress,
    Reached,
    Verdict,
)
from metabolic.core.checkpoint import Checkpoint
from metabolic.core.decision import Decision, Stage
from metabolic.decide.advance import LOST, advance, begin

GOOD = Verdict(well_formed=True, confidence=0.9)
UNSURE = Verdict(well_formed=True, confidence=0.5)
BROKEN = Verdict(well_formed=False)
DOWN = Failure(kind="unreachable")
STOPPED = Failure(kind="cancelled", code=LOST)
WINDOW = Checkpoint(deployment="small", tokens=8, min_logprob=-2.0, release_logprob=-0.1)
DOUBT = Checkpoint(deployment="small", tokens=4, min_logprob=-0.5)


def decided(*names, delivery: Any, checkpoints=(), hedge=None, fallbacks=()):
    last = len(names) - 1
    stages = [
        Stage(deployment=name, min_confidence=None if i == last else 0.8, timeout_s=10)
        for i, name in enumerate(names)
    ]
    stages[0] = replace(stages[0], checkpoints=checkpoints, hedge=hedge)
    behind = tuple(Stage(deployment=name, timeout_s=10) for name in fallbacks)
    return Decision(stages=tuple(stages), fallbacks=behind, delivery=delivery)


class Play:
    """A run, with all effects so far; each step returns the effects of that step."""

    def __init__(self, decision, **limits):
        self.run: Any
        self.run, first = advance(begin(decision, **limits), Began(at_s=0.0))
        self.log: list[Any] = list(first)
        self.first: Any = first

    def __call__(self, event) -> Any:
        self.run, effects = advance(self.run, event)
        self.log += effects
        return effects

    def progress(self, call, at_s=0.5) -> Any:
        return self(Progress(call=call, at_s=at_s))

    def reached(self, call, tokens, logprob, at_s=0.6) -> Any:
        return self(Reached(call=call, tokens=tokens, logprob=logprob, at_s=at_s))

    def ended(self, call, failure=None, at_s=1.0) -> Any:
        made = next(one.call for one in self.log if isinstance(one, Open) and one.call.id == call)
        attempt = Attempt(call=made, began_s=0.0, ended_s=at_s, failure=failure)
        return self(Ended(attempt=attempt, at_s=at_s))

    def checked(self, call, verdict, at_s=1.0) -> Any:
        return self(Checked(call=call, verdict=verdict, at_s=at_s))

    def answered(self, call, verdict, at_s=1.0) -> Any:
        assert self.ended(call, at_s=at_s) == (Check(call=call),)
        return self.checked(call, verdict, at_s=at_s)

    def opened(self):
        return [(one.call.deployment, one.call.role) for one in self.log if isinstance(one, Open)]
