"""What the page is told: plain values made of what the gateway knows, ``None`` where unknown."""

__all__ = ["SHOWN", "Detail", "Machine", "Now", "Row", "State", "Totals", "Who", "detail", "state"]

from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from metabolic import __version__
from metabolic.core.decision import Decision
from metabolic.core.fleet import Deployment, Load
from metabolic.core.hardware import DeviceState, HardwareState
from metabolic.core.metabolic import MetabolicState
from metabolic.core.receipt import Receipt, Record
from metabolic.core.request import Ask
from metabolic.core.signals import Signals
from metabolic.decide.reasons import why
from metabolic.gateway.page.saved import Saved, saved

SHOWN = 50
"""Requests listed; all that are kept count for shares and savings."""


class Machine(Struct, frozen=True, kw_only=True):
    """The machine: what it affords, its devices as read, and what could be read and no longer can.

    Field names and units are those of ``MetabolicState`` and ``HardwareState``; readings carry
    their origin, source and age.
    """

    level: str
    profile: str
    limiting: str | None
    reasons: tuple[str, ...]
    headroom_c: float | None
    headroom_w: float | None
    time_to_throttle_s: float | None
    throttle_risk_ratio: float | None
    power_w: float | None
    budget_used_ratio: float | None
    memory_level: str
    memory_available_bytes: float | None
    memory_total_bytes: float | None
    battery_ratio: float | None
    on_battery: bool | None
    devices: tuple[DeviceState, ...]
    failed: tuple[str, ...]


class Who(Struct, frozen=True, kw_only=True):
    """One deployment: its tier, how busy it is, and its share of the answers that are kept."""

    name: str
    model: str
    tier: str
    kind: str
    state: str
    healthy: bool | None
    running: int
    waiting: int
    limit: int | None
    answers: int
    share_ratio: float | None


class Row(Struct, frozen=True, kw_only=True):
    """One request, newest first in ``State``: who answered, how long it took, what it cost."""

    id: str
    at_s: float
    task: str
    lane: str
    level: str
    deployment: str | None
    failure: str | None
    escalations: int
    degraded: bool
    certified: bool
    seconds: float
    output_tokens: int | None
    energy_j: float | None
    energy_origin: str | None
    remote_energy_j: float | None
    cost_usd: float | None
    carbon_g: float | None


class Totals(Struct, frozen=True, kw_only=True):
    """What was kept: requests, how many were answered, escalated or degraded, seconds (median)."""

    requests: int
    answered: int
    escalated: int
    degraded: int
    seconds_p50: float | None


class State(Struct, frozen=True, kw_only=True):
    """All the page shows at one moment; ``from_s`` is the oldest request kept (epoch)."""

    version: str
    at_s: float
    ready: bool
    draining: bool
    in_flight: int
    from_s: float | None
    machine: Machine
    fleet: tuple[Who, ...]
    totals: Totals
    saved: tuple[Saved, ...]
    requests: tuple[Row, ...]


class Detail(Struct, frozen=True, kw_only=True):
    """One request down to every candidate; ``words`` says in words why this plan and no other.

    No text of prompt or answer: nothing here holds any. ``receipt`` is settled if the ledger's is.
    """

    ask: Ask
    signals: Signals
    decision: Decision
    decision_version: int
    words: tuple[str, ...]
    receipt: Receipt


class Now(Struct, frozen=True, kw_only=True):
    """What the gateway knows at the moment it is asked."""

    at_s: float
    ready: bool
    draining: bool
    in_flight: int
    hardware: HardwareState
    metabolic: MetabolicState
    fleet: tuple[Deployment, ...]
    loads: tuple[Load, ...]


def state(now: Now, records: Sequence[Record]) -> State:
    """Return what the page shows; ``records`` are those kept, oldest first."""
    fleet = {one.name: one for one in now.fleet}
    answers = Counter(
        one.receipt.answer.deployment for one in records if one.receipt.answer is not None
    )
    sums = (
        saved(records, fleet, against="best single", unit="usd"),
        saved(records, fleet, against="largest", unit="usd"),
        saved(records, fleet, against="best single", unit="j"),
        saved(records, fleet, against="largest", unit="j"),
    )
    return State(
        version=__version__,
        at_s=now.at_s,
        ready=now.ready,
        draining=now.draining,
        in_flight=now.in_flight,
        from_s=records[0].receipt.at_s if records else None,
        machine=_machine(now.hardware, now.metabolic),
        fleet=_fleet(now, answers),
        totals=_totals(records),
        saved=sums,
        requests=tuple(_row(one) for one in reversed(records[-SHOWN:])),
    )


def detail(record: Record, receipt: Receipt | None) -> Detail:
    """Return one request; ``receipt`` is the ledger's, if it has one."""
    return Detail(
        ask=record.ask,
        signals=record.signals,
        decision=record.decision,
        decision_version=record.decision_version,
        words=why(record.decision),
        receipt=receipt or record.receipt,
    )


def _machine(hardware: HardwareState, metabolic: MetabolicState) -> Machine:
    """Return what the machine reads and affords."""
    total = hardware.memory_total_bytes
    return Machine(
        level=metabolic.level,
        profile=metabolic.profile,
        limiting=metabolic.limiting,
        reasons=metabolic.reasons,
        headroom_c=metabolic.headroom_c,
        headroom_w=metabolic.headroom_w,
        time_to_throttle_s=metabolic.time_to_throttle_s,
        throttle_risk_ratio=metabolic.throttle_risk_ratio,
        power_w=metabolic.power_w,
        budget_used_ratio=metabolic.budget_used_ratio,
        memory_level=metabolic.memory_level,
        memory_available_bytes=metabolic.memory_available_bytes,
        memory_total_bytes=None if total is None else total.value,
        battery_ratio=metabolic.battery_ratio,
        on_battery=metabolic.on_battery,
        devices=hardware.devices,
        failed=hardware.failed,
    )


def _fleet(now: Now, answers: Counter[str]) -> tuple[Who, ...]:
    """Return every deployment, the smallest model first."""
    loads = {one.deployment: one for one in now.loads}
    all_answers = sum(answers.values())
    made = [
        Who(
            name=one.name,
            model=one.model.id,
            tier=one.model.tier,
            kind=one.kind,
            state=load.state,
            healthy=load.healthy,
            running=load.running,
            waiting=load.waiting,
            limit=load.limit,
            answers=answers[one.name],
            share_ratio=answers[one.name] / all_answers if all_answers else None,
        )
        for one in now.fleet
        for load in (loads.get(one.name, Load(deployment=one.name)),)
    ]
    order = ("tiny", "small", "medium", "large")
    return tuple(sorted(made, key=lambda one: (order.index(one.tier), one.name)))


def _totals(records: Sequence[Record]) -> Totals:
    """Return the sums of what is kept."""
    answers = [one.receipt.answer for one in records if one.receipt.answer is not None]
    seconds = sorted(one.receipt.seconds for one in records)
    return Totals(
        requests=len(records),
        answered=len(answers),
        escalated=sum(one.escalations > 0 for one in answers),
        degraded=sum(one.degraded for one in answers),
        seconds_p50=seconds[len(seconds) // 2] if seconds else None,
    )


def _row(record: Record) -> Row:
    """Return one line of the list."""
    receipt, answer = record.receipt, record.receipt.answer
    failed = None if receipt.failure is None else receipt.failure.kind
    return Row(
        id=receipt.id,
        at_s=receipt.at_s,
        task=receipt.task,
        lane=record.signals.lane,
        level=receipt.level,
        deployment=None if answer is None else answer.deployment,
        failure=failed or (None if answer is not None else "no candidate"),
        escalations=0 if answer is None else answer.escalations,
        degraded=answer is not None and answer.degraded,
        certified=record.decision.certified,
        seconds=receipt.seconds,
        output_tokens=receipt.usage.output_tokens,
        energy_j=None if receipt.energy is None else receipt.energy.energy_j,
        energy_origin=None if receipt.energy is None else receipt.energy.origin,
        remote_energy_j=None if receipt.remote_energy is None else receipt.remote_energy.energy_j,
        cost_usd=_known_usd(receipt),
        carbon_g=None if receipt.carbon is None else receipt.carbon.carbon_g,
    )


def _known_usd(receipt: Receipt) -> float | None:
    """Return the dollars; ``None`` where no part of them is known."""
    known = any(one.tokens_usd is not None and one.failure is None for one in receipt.attempts)
    cost = receipt.cost
    if cost.electricity_usd is None and cost.rent_usd is None and not known:
        return None
    return cost.total_usd
