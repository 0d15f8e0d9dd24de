"""What an answer costs besides tokens and joules: the client's time, and checking the draft.

Theory. Both are paid once for every draft, kept or not, so they belong into the cost ``c`` of each
stage: then a gate pays only where it saves more than the seconds and the checks it adds, and the
wait of a discarded draft is charged with the rest of it. The seconds are those to the end of the
answer, waking and queue included, since a gated draft is held until it is whole. A wait that is
not known is taken to be long rather than nothing: unknown is never free.
"""

__all__ = ["SLOW_TPOT_S", "SLOW_TTFT_S", "seconds_of", "with_dues"]

from msgspec.structs import replace

from metabolic.core.decision import Estimate, Policy

SLOW_TTFT_S, SLOW_TPOT_S = 1.0, 0.05
"""Assumed of a deployment that nothing is known of: one second, then 20 tokens a second. Ours,
coarse, and replaced by what its first answers show."""

_S_PER_H = 3600.0


def with_dues(judged: Estimate, policy: Policy, *, usd_per_j: float) -> Estimate:
    """Return the estimate with waiting and checking in its net cost.

    ``usd_per_j`` is the price of a joule here, for the CPU seconds of the checks.
    """
    checking = policy.checking
    check_usd = check_s = gate_usd = gate_s = 0.0
    if checking is not None:
        usd_per_s = policy.cpu_w_per_core * usd_per_j
        check_usd = checking.usd + checking.cpu_s * usd_per_s
        check_s = checking.cpu_s + checking.wait_s
        gate_s = checking.gate_cpu_s + checking.gate_wait_s
        gate_usd = checking.gate_usd + checking.gate_cpu_s * usd_per_s
        gate_usd += gate_s * policy.wait_usd_per_h / _S_PER_H
    wait_usd = 0.0
    if policy.wait_usd_per_h:
        ttft_s = SLOW_TTFT_S if judged.ttft_s is None else judged.ttft_s
        tpot_s = SLOW_TPOT_S if judged.tpot_s is None else judged.tpot_s
        seconds = ttft_s + tpot_s * judged.output_tokens + check_s
        wait_usd = seconds * policy.wait_usd_per_h / _S_PER_H
    return replace(
        judged,
        wait_usd=wait_usd,
        check_usd=check_usd,
        check_s=check_s,
        gate_usd=gate_usd,
        gate_s=gate_s,
        net_usd=judged.net_usd + wait_usd + check_usd,
    )


def seconds_of(judged: Estimate) -> float | None:
    """Return the seconds to the end of a checked answer; ``None`` where a speed is not known."""
    if judged.ttft_s is None or judged.tpot_s is None:
        return None
    return judged.ttft_s + judged.tpot_s * judged.output_tokens + judged.check_s
