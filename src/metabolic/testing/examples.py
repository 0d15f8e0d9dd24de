"""Values to test with: a record as a real request leaves it, of the usual size."""

__all__ = ["example_record", "example_settlement"]

from metabolic.core.attempt import (
    Answer,
    Attempt,
    Began,
    Call,
    Checked,
    Choice,
    Ended,
    LogprobSummary,
    Verdict,
)
from metabolic.core.decision import Candidate, Decision, Estimate, Plan, Stage
from metabolic.core.fleet import Load, SituationRef
from metabolic.core.receipt import (
    RECORD_SCHEMA,
    AttemptBill,
    Baseline,
    Carbon,
    Cost,
    Energy,
    Receipt,
    Record,
    Settlement,
    Share,
)
from metabolic.core.request import Ask, Usage, WarmPrefix
from metabolic.core.signals import Dimension, Signals

_FIRST, _SECOND = "qwen2.5-coder-0.5b-instruct", "qwen2.5-coder-1.5b-instruct"
_USAGE = Usage(input_tokens=212, cached_tokens=0, output_tokens=64)


def example_record(
    number: int = 0, *, at_s: float = 1_790_000_000.25, candidates: int = 3
) -> Record:
    """Return the record of a request that escalated once; ``number`` makes its id.

    The record refers to the blobs ``fleet-0``, ``state-0``, ``readings-0`` and ``policy-0``.
    """
    request_id = f"req-{number:08x}"
    attempts = (_attempt("c0", _FIRST, 0.0), _attempt("c1", _SECOND, 0.9))
    return Record(
        schema=RECORD_SCHEMA,
        decision_version=1,
        ask=_ask(request_id, at_s),
        signals=_signals(),
        situation=SituationRef(
            at_s=at_s,
            metabolic_id="state-0",
            fleet_id="fleet-0",
            load=(Load(deployment=_FIRST, running=1), Load(deployment=_SECOND)),
            hardware_id="readings-0",
        ),
        decision=_decision(candidates),
        events=_events(attempts),
        effects_digest="b1946ac92492d2347c6235b4d2611184",
        attempts=attempts,
        receipt=_receipt(request_id, at_s, attempts),
    )


def example_settlement(record: Record, *, factor: float = 1.25) -> Settlement:
    """Return a settlement that finds ``factor`` times the joules of each billed call."""
    return Settlement(
        id=record.ask.id,
        shares=tuple(
            Share(
                call=f"{record.ask.id}/{bill.call}",
                energy_j=bill.energy.energy_j * factor,
                cpu_s=None if bill.cpu_s is None else bill.cpu_s * factor,
            )
            for bill in record.receipt.attempts
            if bill.energy is not None
        ),
        origin="derived",
        low_ratio=0.8,
        high_ratio=1.3,
        meter="package-0",
    )


def _ask(request_id: str, at_s: float) -> Ask:
    return Ask(
        id=request_id,
        at_s=at_s,
        tenant="2f1d6c0a9be84d57",
        session="session-17",
        needs=("logprobs",),
        input_tokens=212,
        max_output_tokens=256,
        warm=(WarmPrefix(deployment=_FIRST, prefix_tokens=128),),
    )


def _signals() -> Signals:
    names = ("reasoning", "creativity", "constraints", "knowledge", "domain", "few_shot")
    return Signals(
        task="open_qa",
        lane="open_qa",
        p_simple=0.61,
        p_medium=0.27,
        p_complex=0.12,
        dimensions=tuple(Dimension(name=name, ratio=0.125) for name in names),
        expected_output_tokens=96,
        language="en",
        confidence=0.72,
        classifier="rules-1",
    )


def _estimate(rank: int) -> Estimate:
    return Estimate(
        input_tokens=212,
        output_tokens=96,
        ttft_s=0.183 * (rank + 1),
        tpot_s=0.0191 * (rank + 1),
        energy_j=11.4375 * (rank + 1),
        marginal_energy_j=9.71 * (rank + 1),
        limiting_device_w=8.2,
        cost_usd=4.765625e-07 * (rank + 1),
        carbon_g=0.0015027 * (rank + 1),
        p_correct=0.61 + 0.04 * (rank % 8),
        p_accept=0.74,
        p_correct_accepted=0.83,
        evidence=412,
        net_usd=5.1e-07 * (rank + 1),
    )


def _decision(candidates: int) -> Decision:
    return Decision(
        stages=(
            Stage(deployment=_FIRST, min_confidence=0.55),
            Stage(deployment=_SECOND),
        ),
        candidates=tuple(
            Candidate(deployment=f"deployment-{rank}", estimate=_estimate(rank))
            for rank in range(candidates)
        ),
        plans=(
            Plan(
                stages=(_FIRST, _SECOND),
                expected_net_usd=6.2e-07,
                expected_energy_j=13.2,
                p_correct=0.8,
                p_escalate=0.26,
            ),
            Plan(stages=(_SECOND,), expected_net_usd=9e-07, expected_energy_j=22.0, p_correct=0.81),
        ),
        reference=_SECOND,
        reasons=("cascade saves 31 % of the joules",),
        policy_id="policy-0",
    )


def _attempt(call: str, deployment: str, began_s: float) -> Attempt:
    return Attempt(
        call=Call(id=call, stage=int(call[1:]), deployment=deployment, logprobs=True),
        began_s=began_s,
        ended_s=began_s + 0.875,
        usage=_USAGE,
        choices=(
            Choice(
                finish_reason="stop",
                output_chars=241,
                logprobs=LogprobSummary(tokens=64, mean=-0.31, minimum=-4.2, q10=-1.1, q50=-0.08),
            ),
        ),
        cpu_s=0.84,
    )


def _verdict(call: str) -> Verdict:
    if call == "c0":
        return Verdict(
            well_formed=True, confidence=0.41, reasons=("mean_logprob",), validator="confidence"
        )
    return Verdict(well_formed=True, confidence=0.77, validator="confidence")


def _events(attempts: tuple[Attempt, ...]) -> tuple[Began | Ended | Checked, ...]:
    events: list[Began | Ended | Checked] = [Began(at_s=0.0)]
    for attempt in attempts:
        events.append(Ended(attempt=attempt, at_s=attempt.ended_s))
        call = attempt.call.id
        events.append(Checked(call=call, verdict=_verdict(call), at_s=attempt.ended_s + 0.001))
    return tuple(events)


def _energy(energy_j: float) -> Energy:
    return Energy(energy_j=energy_j, low_j=energy_j * 0.5, high_j=energy_j * 2.0, origin="modelled")


def _receipt(request_id: str, at_s: float, attempts: tuple[Attempt, ...]) -> Receipt:
    return Receipt(
        id=request_id,
        at_s=at_s,
        status="provisional",
        task="open_qa",
        level="nominal",
        answer=Answer(call="c1", deployment=_SECOND, escalations=1, confidence=0.77),
        failure=None,
        seconds=1.776,
        attempts=tuple(_bill(attempt) for attempt in attempts),
        usage=Usage(input_tokens=424, cached_tokens=0, output_tokens=128),
        cpu_s=1.68,
        energy=_energy(24.0),
        remote_energy=None,
        cost=Cost(electricity_usd=1e-06),
        carbon=Carbon(
            carbon_g=0.0031533,
            low_g=0.0015767,
            high_g=0.0063067,
            intensity_g_per_kwh=473.0,
            origin="modelled",
        ),
        baselines=(Baseline(deployment=_SECOND, energy_j=22.0, cost_usd=9.2e-07),),
    )


def _bill(attempt: Attempt) -> AttemptBill:
    verdict = _verdict(attempt.call.id)
    return AttemptBill(
        call=attempt.call.id,
        deployment=attempt.call.deployment,
        role=attempt.call.role,
        seconds=attempt.ended_s - attempt.began_s,
        ttft_s=None,
        usage=attempt.usage,
        cpu_s=attempt.cpu_s,
        energy=_energy(12.0),
        tokens_usd=None,
        confidence=verdict.confidence,
        well_formed=verdict.well_formed,
        reasons=verdict.reasons,
        failure=None,
    )
