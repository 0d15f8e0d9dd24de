"""One look: a request tried out behind its answer, labelled and billed."""

__all__ = ["Look", "look"]

import asyncio
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from metabolic.core.attempt import Attempt, Call, Reply, Run
from metabolic.core.decision import Decision, Stage
from metabolic.core.labels import Label
from metabolic.core.request import Ask, Request, Usage
from metabolic.core.shadow import ShadowRow
from metabolic.decide.clusters import answers_of, path_of
from metabolic.decide.decide import decide
from metabolic.execute.drive import Driver
from metabolic.execute.sessions import Sessions, tool_call_ids
from metabolic.execute.shadow_books import Books, run_of
from metabolic.execute.shadow_judge import question, said, weigh
from metabolic.execute.shadow_rules import Found, Line, ShadowRules
from metabolic.execute.shadow_stand import Stand

_CHARS_PER_TOKEN = 4
_TIMEOUT_S = 120.0


class Look(Struct, frozen=True, kw_only=True):
    """What is looked at: the request, its answer, and with what probability it was chosen.

    ``lot`` in [0, 1) draws the candidate where the decision names none.
    """

    request: Request
    ask: Ask
    reply: Reply
    session: str
    propensity: float
    seconds: float
    lot: float


class _Seen(Struct, frozen=True, kw_only=True):
    """What is known of a look once it is decided: both ways to answer, and who stands in."""

    one: Look
    books: Books
    decision: Decision
    reference: str
    chosen: bool
    lost_tokens: int
    stand: Stand
    base: Attempt
    reply: Reply


async def look(one: Look, rules: ShadowRules, line: Line, sessions: Sessions) -> Found:
    """Decide and drive as after the switch; label the draft; bill both ways."""
    seen = _decided(one, rules, line, sessions)
    drawn = rules.candidates[int(one.lot * len(rules.candidates))] if rules.candidates else None
    driven: Run | None = None
    if seen.chosen or drawn is not None:
        plan = seen.decision if seen.chosen else Decision(stages=(Stage(deployment=drawn or ""),))
        driver = replace(line.driver, calls=seen.stand)
        plan = replace(plan, delivery="hold")
        driven = await _driven(driver, one.request, seen.books.ask, plan)
    follows = driven is not None and seen.chosen
    routed = driven.attempts if driven is not None and follows else (seen.base,)
    followed = driven if driven is not None and follows else run_of(seen.base)
    sessions.learn(seen.books.ask, followed, tool_call_ids(seen.reply))
    share = one.propensity if seen.chosen else one.propensity / max(1, len(rules.candidates))
    row = replace(_billed(seen, routed), draft_propensity=share)
    if driven is None:
        return Found(row=row)
    return await _judged(row, driven, seen, judge=rules.judge, driver=line.driver)


def _decided(one: Look, rules: ShadowRules, line: Line, sessions: Sessions) -> _Seen:
    """Decide as after the switch."""
    reference = rules.references.get(one.request.model, rules.reference)
    ask = replace(
        sessions.counted(one.ask),
        warm=sessions.warm(one.ask.tenant, one.ask.session),
        conversation_pin=sessions.pin(one.ask.tenant, one.request),
    )
    reply = replace(one.reply, usage=_filled(one.reply, ask))
    lost = _lost(reply.usage, ask, reference)
    signals, situation = line.classify(one.request, ask), line.situation()
    prepared = line.prepared()
    decision = decide(ask, signals, situation, prepared.policy, prepared=prepared)
    cold = replace(reply, usage=_colder(reply.usage, lost))
    real = line.driver.calls
    actual = Stand(real, reference=reference, reply=reply, seconds=one.seconds)
    return _Seen(
        one=one,
        books=Books(
            ask=ask,
            signals=signals,
            situation=situation,
            policy=prepared.policy,
            fleet=line.fleet(),
        ),
        decision=decision,
        reference=reference,
        chosen=bool(decision.stages) and decision.stages[0].deployment != reference,
        lost_tokens=lost,
        stand=Stand(real, reference=reference, reply=cold, seconds=one.seconds),
        base=actual.given(Call(id="c0", stage=0, deployment=reference), began_s=0.0).attempt,
        reply=reply,
    )


async def _driven(driver: Driver, request: Request, ask: Ask, plan: Decision) -> Run | None:
    """Drive a plan to its end; ``None`` when it takes too long."""
    gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            return (await driver.run(request, ask, plan, sink=None, gone=gone)).run
    except TimeoutError:
        return None


def _billed(seen: _Seen, routed: Sequence[Attempt]) -> ShadowRow:
    """Return the row as far as costs go."""
    books, one, usage = seen.books, seen.one, seen.base.usage
    base_usd, base_energy_j = books.took((seen.base,))
    routed_usd, routed_energy_j = books.took(routed)
    asked = seen.chosen and any(each.call.deployment == seen.reference for each in routed)
    return ShadowRow(
        id=books.ask.id,
        at_s=books.ask.at_s,
        session=one.session,
        tenant=books.ask.tenant,
        lane=books.signals.lane,
        model=one.request.model[:128],
        reference=seen.reference,
        chosen=seen.chosen,
        propensity=one.propensity,
        input_tokens=usage.input_tokens,
        cached_tokens=usage.cached_tokens,
        output_tokens=usage.output_tokens,
        lost_cached_tokens=seen.lost_tokens if asked else 0,
        base_usd=base_usd,
        base_energy_j=base_energy_j,
        routed_usd=routed_usd,
        routed_energy_j=routed_energy_j,
        base_s=one.seconds,
        routed_s=sum(each.ended_s - each.began_s for each in routed),
        policy_id=books.policy.id,
    )


async def _judged(
    row: ShadowRow, driven: Run, seen: _Seen, *, judge: str | None, driver: Driver
) -> Found:
    """Add the draft, its label and what measuring took."""
    books, request = seen.books, seen.one.request
    ours = tuple(each for each in driven.attempts if each.call.deployment != row.reference)
    usd, energy_j = books.took(ours)
    row = replace(row, spent_usd=usd or 0.0, spent_energy_j=energy_j or 0.0)
    first = next((each for each in ours if each.failure is None), None)
    if first is None:
        return Found(row=row)
    draft, verdict = seen.stand.replies[first.call.id], dict(driven.verdicts).get(first.call.id)
    label, cost = await weigh(
        request, (first, draft, verdict), seen.reply, judge=judge, driver=driver, books=books
    )
    draft_usd, draft_energy_j = books.took((first,))
    answer = driven.answer
    row = replace(
        row,
        deployment=first.call.deployment,
        served=seen.chosen and answer is not None and answer.deployment != row.reference,
        score=verdict.confidence if verdict is not None and verdict.well_formed else None,
        loss=None if label is None else label.loss,
        labeller=None if label is None else label.labeller,
        draft_usd=draft_usd,
        draft_energy_j=draft_energy_j,
        spent_usd=row.spent_usd + cost[0],
        spent_energy_j=row.spent_energy_j + cost[1],
    )
    return Found(
        row=row,
        labels=_labels(row, seen),
        certified=row.lane if row.served and seen.decision.certified else None,
        texts=(question(request), said(draft), said(seen.reply)),
    )


def _labels(row: ShadowRow, seen: _Seen) -> tuple[Label, ...]:
    """Return what the comparison says of either answer: as good as the other, or not."""
    if row.loss is None or row.labeller is None:
        return ()
    books = seen.books
    either = ((row.deployment, 1 - max(0.0, row.loss)), (row.reference, 1 - max(0.0, -row.loss)))
    return tuple(
        Label(
            id=row.id,
            at_s=row.at_s,
            tenant=row.tenant,
            lane=row.lane,
            lanes=path_of(books.ask, books.signals, {}),
            yes=answers_of(books.signals),
            deployment=name,
            correct=correct,
            by=row.labeller,
            shadow=True,
            propensity=row.draft_propensity,
        )
        for name, correct in either
    )


def _filled(reply: Reply, ask: Ask) -> Usage:
    """Return the usage, estimated where a stream did not tell it."""
    usage = reply.usage
    chars = sum(len(said(replace(reply, choices=(one,)))) for one in reply.choices)
    return replace(
        usage,
        input_tokens=ask.input_tokens if usage.input_tokens is None else usage.input_tokens,
        output_tokens=max(1, chars // _CHARS_PER_TOKEN)
        if usage.output_tokens is None
        else usage.output_tokens,
    )


def _lost(usage: Usage, ask: Ask, reference: str) -> int:
    """Return the cached tokens the upstream had that it would not have had after the switch."""
    if ask.session is None or not ask.turns:
        return 0
    warm = {one.deployment: one.prefix_tokens for one in ask.warm}
    return max(0, (usage.cached_tokens or 0) - warm.get(reference, 0))


def _colder(usage: Usage, lost: int) -> Usage:
    """Return a usage with fewer tokens from the cache."""
    return replace(usage, cached_tokens=(usage.cached_tokens or 0) - lost) if lost else usage
