"""Attempts to a receipt: every call that was made is on it, kept or discarded.

The energy of a receipt is provisional: modelled from the seconds (or CPU seconds) each call took
on its device, with bounds, until the meters have closed their windows. Joules of remote APIs are
modelled from tokens and stand apart: they are never added to local ones.
"""

__all__ = ["bill", "largest_of", "sum_energy"]

from collections.abc import Iterable, Mapping
from typing import TypeVar

from msgspec.structs import replace

from metabolic.account.carbon import carbon_of, embodied_g
from metabolic.account.checks import checks_of
from metabolic.account.money import electricity_usd, rent_usd, tokens_usd
from metabolic.account.tasks import grown
from metabolic.account.work import (
    active_energy_j,
    modelled,
    parameters_of,
    remote_range,
    usage_s,
)
from metabolic.core.attempt import Attempt, Failure, Run, Verdict
from metabolic.core.checking import Checks
from metabolic.core.decision import Policy
from metabolic.core.fleet import Deployment, Load
from metabolic.core.hardware import Origin
from metabolic.core.metabolic import Level
from metabolic.core.receipt import AttemptBill, Baseline, Carbon, Cost, Energy, Receipt
from metabolic.core.request import Ask, Usage
from metabolic.core.signals import Signals

_Number = TypeVar("_Number", int, float)

_WEAKNESS: tuple[Origin, ...] = ("measured", "derived", "modelled")


def bill(  # noqa: PLR0913 - a bill is made of all of these
    *,
    ask: Ask,
    signals: Signals,
    level: Level,
    fleet: Mapping[str, Deployment],
    policy: Policy,
    run: Run,
    seconds: float,
    largest: str | None = None,
    load: tuple[Load, ...] = (),
) -> Receipt:
    """Return the provisional receipt of a finished run.

    ``fleet`` maps names to deployments, ``largest`` is the name of the largest of them if the
    caller kept it; ``seconds`` is how long the run took. ``load`` is the situation's: how busy
    each deployment was, and by what its estimated joules are to be multiplied.
    """
    busy, largest = {one.deployment: one for one in load}, largest or largest_of(fleet)
    bills, local, remote = _attempts(run, fleet, policy, busy, ask.input_tokens)
    energy, checks = sum_energy(local), checks_of(run, policy)
    made = Receipt(
        id=ask.id,
        at_s=ask.at_s,
        status="provisional" if local else "settled",
        task=signals.task,
        level=level,
        answer=run.answer,
        failure=None if run.answer else run.failure,
        seconds=seconds,
        attempts=bills,
        usage=_sum_usage(bills),
        cpu_s=_sum([one.cpu_s for one in bills]),
        energy=energy,
        remote_energy=sum_energy(remote),
        cost=_cost(bills, energy, policy, rent=_rent(bills, fleet, busy), checks=checks),
        carbon=None if energy is None else _carbon(bills, energy, policy, fleet, busy),
        baselines=_baselines(ask, run, bills, fleet=fleet, policy=policy, largest=largest),
        checks=checks,
    )
    task = ask.agent_task
    if task is None:
        return made
    so_far = grown(task, cost=made.cost, energy=made.energy, usage=made.usage)
    return replace(made, agent_task=so_far)


def _attempts(
    run: Run, fleet: Mapping[str, Deployment], policy: Policy, busy: Mapping[str, Load], asked: int
) -> tuple[tuple[AttemptBill, ...], list[Energy | None], list[Energy | None]]:
    """Return the bill of every call, and the energies of local and of remote ones.

    ``asked`` are the prompt's tokens as counted here.
    """
    verdicts = dict(run.verdicts)
    bills: list[AttemptBill] = []
    local: list[Energy | None] = []
    remote: list[Energy | None] = []
    for attempt in run.attempts:
        deployment = fleet.get(attempt.call.deployment)
        load = busy.get(attempt.call.deployment)
        ratio = 1.0 if load is None or load.energy_ratio is None else load.energy_ratio
        energy = _energy(attempt, deployment, policy, ratio)
        one = _attempt(attempt, deployment, energy, verdicts.get(attempt.call.id), asked)
        bills.append(one)
        here = deployment is not None and deployment.device is not None
        (local if here else remote).append(one.energy)
    return tuple(bills), local, remote


def largest_of(fleet: Mapping[str, Deployment]) -> str | None:
    """Return the deployment with the most active parameters; ``None`` for an empty fleet."""
    return max(fleet, key=lambda name: (parameters_of(fleet[name].model), name), default=None)


def sum_energy(parts: Iterable[Energy | None]) -> Energy | None:
    """Return the sum of energies with its bounds; ``None`` when there is nothing known to add.

    The sum is as weak as its weakest part, and provisional if any part is.
    """
    known = [one for one in parts if one is not None]
    if not known:
        return None
    if len(known) == 1:
        return known[0]
    return Energy(
        energy_j=sum(one.energy_j for one in known),
        low_j=sum(one.low_j for one in known),
        high_j=sum(one.high_j for one in known),
        origin=_WEAKNESS[max(_WEAKNESS.index(one.origin) for one in known)],
        status="provisional" if any(one.status == "provisional" for one in known) else "settled",
        meter="+".join(sorted({one.meter for one in known if one.meter is not None})) or None,
        idle_j=_sum([one.idle_j for one in known]),
    )


def _attempt(
    attempt: Attempt,
    deployment: Deployment | None,
    energy: Energy | None,
    verdict: Verdict | None,
    asked: int,
) -> AttemptBill:
    """Return the bill of one call."""
    first = attempt.first_token_s
    return AttemptBill(
        call=attempt.call.id,
        deployment=attempt.call.deployment,
        variant=attempt.call.variant,
        role=attempt.call.role,
        seconds=attempt.ended_s - attempt.began_s,
        ttft_s=None if first is None else first - attempt.began_s,
        usage=attempt.usage,
        cpu_s=attempt.cpu_s,
        energy=energy,
        tokens_usd=_tokens_usd(_charged(attempt, asked), deployment),
        confidence=None if verdict is None else verdict.confidence,
        well_formed=None if verdict is None else verdict.well_formed,
        reasons=() if verdict is None else verdict.reasons,
        failure=attempt.failure,
        doubtful=verdict is not None and verdict.doubtful,
        validator="" if verdict is None else verdict.validator,
        claims=() if verdict is None else verdict.claims,
        drafts=attempt.drafts,
    )


def _charged(attempt: Attempt, asked: int) -> Usage:
    """Return the tokens that are paid for.

    Who stops a call, or loses it half-way, is not told what it took: at least its prompt, and what
    had come of it.
    """
    usage, failure = attempt.usage, attempt.failure
    if failure is None or (usage.output_tokens is None and not _stopped(failure)):
        return usage
    return Usage(
        input_tokens=asked if usage.input_tokens is None else usage.input_tokens,
        cached_tokens=usage.cached_tokens,
        output_tokens=usage.output_tokens or 0,
    )


def _stopped(failure: Failure) -> bool:
    """Say whether we stopped the call ourselves, for a reason."""
    return failure.kind == "cancelled" and failure.code is not None


def _energy(
    attempt: Attempt, deployment: Deployment | None, policy: Policy, ratio: float
) -> Energy | None:
    """Return what a call is modelled to have drawn; ``None`` when it cannot be said.

    ``ratio`` is how far the deployment's own figures have been off.
    """
    if deployment is None:
        return None
    usage = attempt.usage
    if deployment.device is None:
        if usage.output_tokens is None:
            return None
        fresh = max(0, (usage.input_tokens or 0) - (usage.cached_tokens or 0))
        return remote_range(deployment.model, input_tokens=fresh, output_tokens=usage.output_tokens)
    if attempt.cpu_s is not None:
        energy_j = active_energy_j(attempt.cpu_s, active_w=policy.cpu_w_per_core)
    else:
        seconds = usage_s(usage, deployment)
        if seconds is None:
            seconds = attempt.ended_s - attempt.began_s
        energy_j = active_energy_j(seconds * ratio, active_w=deployment.active_w)
    return None if energy_j is None else modelled(energy_j)


def _tokens_usd(usage: Usage, deployment: Deployment | None) -> float | None:
    """Return what the tokens cost; ``None`` without a price or a token count."""
    if deployment is None:
        return None
    if deployment.price is None:
        return 0.0 if deployment.device is not None else None
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    return tokens_usd(
        deployment.price,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cached_tokens=usage.cached_tokens or 0,
    )


def _cost(
    bills: tuple[AttemptBill, ...],
    energy: Energy | None,
    policy: Policy,
    *,
    rent: float | None,
    checks: Checks | None,
) -> Cost:
    """Return the dollars of all calls and checks."""
    paid = sum([one.tokens_usd or 0.0 for one in bills])
    checks_usd = None if checks is None else checks.usd
    if energy is None:
        return Cost(tokens_usd=paid, rent_usd=rent, checks_usd=checks_usd)
    return Cost(
        tokens_usd=paid,
        electricity_usd=electricity_usd(energy.energy_j, usd_per_kwh=policy.usd_per_kwh),
        origin=energy.origin,
        rent_usd=rent,
        checks_usd=checks_usd,
    )


def _beside(name: str, busy: Mapping[str, Load]) -> int:
    """Return how many calls share a deployment with one more, as the decision saw it."""
    load = busy.get(name)
    return 1 if load is None else 1 + load.running


def _rent(
    bills: tuple[AttemptBill, ...], fleet: Mapping[str, Deployment], busy: Mapping[str, Load]
) -> float | None:
    """Return the calls' part of rented hours; ``None`` when nothing is rented."""
    parts: list[float | None] = []
    for one in bills:
        deployment = fleet.get(one.deployment)
        if deployment is not None and deployment.usd_per_hour is not None:
            running = _beside(one.deployment, busy)
            rate = deployment.usd_per_hour
            parts.append(rent_usd(one.seconds, usd_per_hour=rate, running=running))
    return _sum(parts)


def _carbon(
    bills: tuple[AttemptBill, ...],
    energy: Energy,
    policy: Policy,
    fleet: Mapping[str, Deployment],
    busy: Mapping[str, Load],
) -> Carbon:
    """Return the carbon of the calls made here; the machine's making by the time they took."""
    making: float | None = None
    if policy.embodied_g_per_h is not None:
        making = 0.0
        for one in bills:
            deployment = fleet.get(one.deployment)
            if deployment is not None and deployment.device is not None:
                part_s = one.seconds / _beside(one.deployment, busy)
                making += embodied_g(part_s, g_per_h=policy.embodied_g_per_h)
    return carbon_of(
        energy,
        g_per_kwh=policy.g_per_kwh,
        market_g_per_kwh=policy.market_g_per_kwh,
        water_l_per_kwh=policy.water_l_per_kwh,
        embodied_g=making,
    )


def _baselines(
    ask: Ask,
    run: Run,
    bills: tuple[AttemptBill, ...],
    *,
    fleet: Mapping[str, Deployment],
    policy: Policy,
    largest: str | None,
) -> tuple[Baseline, ...]:
    """Return what the best single and the largest deployment would have taken, modelled."""
    if run.answer is None:
        return ()
    answered = next(one for one in bills if one.call == run.answer.call).usage
    usage = Usage(
        input_tokens=answered.input_tokens or ask.input_tokens,
        output_tokens=answered.output_tokens,
    )
    best = run.decision.reference
    names = (best,) if best == largest else (best, largest)
    return tuple(
        [
            _baseline(fleet[name], usage, policy)
            for name in names
            if name is not None and name in fleet
        ]
    )


def _baseline(deployment: Deployment, usage: Usage, policy: Policy) -> Baseline:
    """Return one modelled alternative for the same tokens."""
    energy_j = None
    if deployment.device is not None:
        energy_j = active_energy_j(usage_s(usage, deployment), active_w=deployment.active_w)
    cost_usd = _tokens_usd(usage, deployment)
    if energy_j is not None and cost_usd is not None:
        cost_usd += electricity_usd(energy_j, usd_per_kwh=policy.usd_per_kwh)
    return Baseline(deployment=deployment.name, energy_j=energy_j, cost_usd=cost_usd)


def _sum_usage(bills: tuple[AttemptBill, ...]) -> Usage:
    """Return the tokens of all calls; a kind nobody reported stays unknown."""
    if len(bills) == 1:
        return bills[0].usage
    return Usage(
        input_tokens=_sum([one.usage.input_tokens for one in bills]),
        cached_tokens=_sum([one.usage.cached_tokens for one in bills]),
        output_tokens=_sum([one.usage.output_tokens for one in bills]),
        reasoning_tokens=_sum([one.usage.reasoning_tokens for one in bills]),
    )


def _sum(parts: list[_Number | None]) -> _Number | None:
    """Return the sum of what is known; ``None`` when nothing is."""
    known = [one for one in parts if one is not None]
    return sum(known[1:], known[0]) if known else None
