"""Records as the whole line makes them, without a clock, an engine or a network.

The decision, the run and the bill are the real ones; what engines answer and validators say is
drawn from a seed. So replay must find every one of them equal.
"""

__all__ = ["fill_ledger", "folded_record"]

import random
from collections import deque

import msgspec
from msgspec import Struct

from metabolic.account.bill import bill
from metabolic.core.attempt import (
    Attempt,
    Began,
    Call,
    Cancel,
    Check,
    Checked,
    Choice,
    ClientGone,
    Effect,
    Ended,
    Event,
    Failure,
    FailureKind,
    LogprobSummary,
    Open,
    Run,
    Tick,
    Verdict,
)
from metabolic.core.decision import Belief, Decision, Policy
from metabolic.core.fleet import Load, Price, Situation, SituationRef
from metabolic.core.metabolic import Level, MetabolicState
from metabolic.core.ports import Ledger
from metabolic.core.receipt import RECORD_SCHEMA, Record
from metabolic.core.request import Ask, Limits, Usage, WarmPrefix
from metabolic.core.signals import Signals
from metabolic.decide.advance import advance, begin
from metabolic.decide.decide import DECISION_VERSION, decide
from metabolic.decide.digest import digest
from metabolic.testing.examples import example_settlement
from metabolic.testing.fleets import deployment, policy_of, situation_of

_FAILURES: tuple[FailureKind, ...] = ("unreachable", "overloaded", "timed_out", "refused")
_LEVELS: tuple[Level, ...] = ("unknown", "nominal", "elevated", "critical")
_AT_S = 1_790_000_000.0
_SETTLED_RATIO = 0.5
_BELIEFS = (
    Belief(
        deployment="small",
        lane="*",
        p_correct=0.73,
        p_accept=0.65,
        p_correct_accepted=0.93,
        evidence=500,
    ),
    Belief(deployment="medium", lane="*", p_correct=0.9, evidence=500),
)
"""The small model is worth asking first: replay must see gated stages."""


def fill_ledger(ledger: Ledger, count: int, *, seed: int = 0) -> None:
    """Append ``count`` different records with their blobs; half of them are settled too."""
    for number in range(count):
        draw = random.Random(f"{seed}/{number}")
        policy, situation = policy_of(*_BELIEFS), _situation(draw)
        record = folded_record(_ask(draw, number), situation=situation, policy=policy, draw=draw)
        ledger.put(policy.id, msgspec.json.encode(policy))
        ledger.put(situation.fleet.id, msgspec.json.encode(situation.fleet))
        ledger.put(record.situation.metabolic_id, msgspec.json.encode(situation.metabolic))
        ledger.append(record)
        if record.receipt.status == "provisional" and draw.random() < _SETTLED_RATIO:
            ledger.settle(example_settlement(record, factor=draw.uniform(0.5, 2.0)))


def folded_record(ask: Ask, *, situation: Situation, policy: Policy, draw: random.Random) -> Record:
    """Return the record of a request that was decided, driven and billed."""
    signals = _signals(draw)
    decision = decide(ask, signals, situation, policy)
    driven = _drive(ask, decision, draw)
    return Record(
        schema=RECORD_SCHEMA,
        decision_version=DECISION_VERSION,
        ask=ask,
        signals=signals,
        situation=SituationRef(
            at_s=situation.at_s,
            metabolic_id=digest(situation.metabolic),
            fleet_id=situation.fleet.id,
            load=situation.load,
            hardware_id=situation.hardware_id,
        ),
        decision=decision,
        events=driven.events,
        effects_digest=digest(driven.effects),
        attempts=driven.run.attempts,
        receipt=bill(
            ask=ask,
            signals=signals,
            level=situation.metabolic.level,
            fleet={one.name: one for one in situation.fleet.deployments},
            policy=policy,
            run=driven.run,
            seconds=driven.seconds,
        ),
    )


class _Driven(Struct, frozen=True, kw_only=True):
    """A run at its end, and how it got there."""

    run: Run
    events: tuple[Event, ...]
    effects: tuple[Effect, ...]
    seconds: float


def _drive(ask: Ask, decision: Decision, draw: random.Random) -> _Driven:
    """Fold drawn events until the run has finished."""
    run = begin(decision, deadline_s=ask.limits.deadline_s)
    if not decision.stages:
        return _Driven(run=run, events=(), effects=(), seconds=0.0)
    events: list[Event] = []
    effects: list[Effect] = []
    waiting: deque[Event] = deque([Began(at_s=0.0)])
    at_s = 0.0
    while waiting and not run.finished:
        event = waiting.popleft()
        at_s = event.at_s
        events.append(event)
        run, now = advance(run, event)
        effects += now
        for effect in now:
            waiting.extend(_follow(effect, run, at_s, draw))
    return _Driven(run=run, events=tuple(events), effects=tuple(effects), seconds=at_s)


def _follow(effect: Effect, run: Run, at_s: float, draw: random.Random) -> list[Event]:
    """Return what an effect leads to."""
    match effect:
        case Open(call=call):
            return _opened(call, run, at_s, draw)
        case Check(call=call):
            verdict = Verdict(
                well_formed=draw.random() > 0.1,  # noqa: PLR2004 - one in ten
                confidence=draw.random(),
                reasons=("mean_logprob",),
                validator="confidence",
            )
            return [Checked(call=call, verdict=verdict, at_s=at_s + 0.001)]
        case Cancel(call=call, why=why):
            kind: FailureKind = "timed_out" if why == "timeout" else "cancelled"
            called = next((one for one in run.open if one.id == call), None)
            return [] if called is None else [_ended(called, at_s, at_s, draw, kind=kind)]
        case _:
            return []


def _opened(call: Call, run: Run, at_s: float, draw: random.Random) -> list[Event]:
    """Return how a call goes: it is answered, fails, takes too long, or the client leaves."""
    luck = draw.random()
    if luck < 0.05:  # noqa: PLR2004 - one in twenty
        return [ClientGone(at_s=at_s + 0.2)]
    if luck < 0.1:  # noqa: PLR2004 - one in twenty
        return [Tick(at_s=run.stage_ends_s or at_s)]
    kind = draw.choice(_FAILURES) if luck < 0.2 else None  # noqa: PLR2004 - one in ten
    return [_ended(call, at_s, at_s + draw.uniform(0.05, 4.0), draw, kind=kind)]


def _ended(
    call: Call, began_s: float, ended_s: float, draw: random.Random, *, kind: FailureKind | None
) -> Ended:
    """Return the end of a call."""
    cpu_s = (ended_s - began_s) * draw.uniform(0.5, 1.0)
    if kind is not None:
        attempt = Attempt(
            call=call, began_s=began_s, ended_s=ended_s, failure=Failure(kind=kind), cpu_s=cpu_s
        )
        return Ended(attempt=attempt, at_s=ended_s)
    tokens = draw.randint(1, 400)
    mean = -draw.random()
    attempt = Attempt(
        call=call,
        began_s=began_s,
        ended_s=ended_s,
        usage=Usage(input_tokens=draw.randint(1, 2000), output_tokens=tokens),
        choices=(
            Choice(
                finish_reason="stop",
                output_chars=tokens * 4,
                logprobs=LogprobSummary(
                    tokens=tokens, mean=mean, minimum=mean * 9, q10=mean * 3, q50=mean / 2
                ),
            ),
        ),
        cpu_s=cpu_s,
    )
    return Ended(attempt=attempt, at_s=ended_s)


def _situation(draw: random.Random) -> Situation:
    """Return one of a few fleets at some temperature."""
    price = Price(input_usd_per_token=2e-7, output_usd_per_token=8e-7)
    fleet = [
        deployment("small", parameters=500_000_000, decode_tokens_per_s=40.0),
        deployment("medium", parameters=1_500_000_000, decode_tokens_per_s=18.0),
        deployment("remote", parameters=70_000_000_000, decode_tokens_per_s=60.0, price=price),
    ][: draw.choice((0, 1, 2, 3, 3, 3))]
    return situation_of(
        *fleet,
        load=tuple(Load(deployment=one.name, running=draw.randint(0, 1)) for one in fleet),
        metabolic=MetabolicState(
            level=draw.choice(_LEVELS), throttle_risk_ratio=draw.choice((None, 0.0, 0.4))
        ),
    )


def _ask(draw: random.Random, number: int) -> Ask:
    """Return an ask, now and then with a limit, a warm prefix or a stream."""
    warm = (WarmPrefix(deployment="medium", prefix_tokens=draw.randint(1, 500)),)
    return Ask(
        id=f"drawn-{number:06d}",
        at_s=_AT_S + number,
        tenant="tenant",
        preference=draw.choice((None, 0.0, 0.5, 1.0)),
        stream=draw.random() < 0.3,  # noqa: PLR2004 - three in ten
        delivery=draw.choice(("auto", "stream", "hold")),
        input_tokens=draw.randint(1, 2000),
        limits=Limits(deadline_s=draw.choice((None, None, None, 12.0))),
        warm=draw.choice(((), warm)),
    )


def _signals(draw: random.Random) -> Signals:
    simple = draw.random()
    medium = (1 - simple) * draw.random()
    return Signals(
        task="open_qa",
        lane="open_qa",
        p_simple=simple,
        p_medium=medium,
        p_complex=1 - simple - medium,
        expected_output_tokens=draw.randint(8, 512),
        confidence=draw.random(),
        classifier="drawn",
    )
