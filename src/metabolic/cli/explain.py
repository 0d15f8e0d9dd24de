"""``metabolic explain``: how a prompt would be routed, and why; nothing is started or asked."""

__all__ = ["explain", "print_explanation"]

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from metabolic.cli import show
from metabolic.config import load, override
from metabolic.core.checking import Checking
from metabolic.core.decision import Candidate, Decision, Plan, Speculation, Stage
from metabolic.decide.decide import why
from metabolic.decide.prices import prices

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from metabolic.wiring.offline import Explanation


def explain(
    prompt: str,
    *,
    config: Annotated[Path | None, Parameter(env_var="METABOLIC_CONFIG")] = None,
    profile: Literal["auto", "datacenter", "edge", "mcu"] | None = None,
    preference: Annotated[float | None, Parameter(validator=Number(gte=0, lte=1))] = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Show how a prompt would be routed now: candidates, estimates, plans, reasons.

    Args:
        prompt: The user's message; ``-`` reads it from standard input.
        config: The configuration file; without one the embedded defaults.
        profile: Decide under this profile.
        preference: The dial, from 0 (quality) to 1 (thrift).
        json: Print JSON instead of tables.
    """
    from metabolic import wiring  # noqa: PLC0415 - `--help` does without it

    text = sys.stdin.read() if prompt == "-" else prompt
    settings = override(load(config), profile=profile)
    explanation = wiring.offline(settings).explain(text, preference=preference)
    if json:
        show.print_json(explanation)
    else:
        print_explanation(explanation, show.console())


def print_explanation(explanation: "Explanation", console: "Console") -> None:
    """Print an explanation for people."""
    for line in _heading(explanation):
        console.print(line, markup=False, soft_wrap=True)
    decision = explanation.decision
    console.print(_candidates(decision.candidates))
    if decision.plans:
        console.print(_plans(decision.plans))
    for line in (*_choice(decision), *_checks(explanation.checking)):
        console.print(line, markup=False, soft_wrap=True)


def _heading(explanation: "Explanation") -> Iterator[str]:
    """Yield what was seen of the prompt and of the machine."""
    signals, state = explanation.signals, explanation.situation.metabolic
    shares = f"simple {signals.p_simple:.0%}, medium {signals.p_medium:.0%}"
    yield (
        f"prompt   {signals.task}, {explanation.ask.input_tokens} tokens in, about "
        f"{signals.expected_output_tokens} out; {shares}, complex {signals.p_complex:.0%} "
        f"({signals.classifier})"
    )
    reasons = f": {'; '.join(state.reasons)}" if state.reasons else ""
    yield f"machine  {state.level}, profile {state.profile}{reasons}"


def _candidates(candidates: tuple[Candidate, ...]) -> "Table":
    """Return who could answer, at what, and who may not, with the reason."""
    heads = ("candidate", ">good", ">kept", ">first s", ">J", ">marginal J", ">USD", ">net USD")
    return show.table("Candidates", (*heads, "rejected"), map(_candidate, candidates))


def _candidate(candidate: Candidate) -> tuple[str, ...]:
    name = candidate.deployment + (f":{candidate.variant}" if candidate.variant else "")
    estimate = candidate.estimate
    if estimate is None:
        return (name, *("–",) * 7, candidate.rejected or "")
    return (
        name,
        _percent(estimate.p_correct),
        _percent(estimate.p_accept),
        show.figure(estimate.ttft_s),
        show.figure(estimate.energy_j),
        show.figure(estimate.marginal_energy_j),
        show.figure(estimate.cost_usd),
        show.figure(estimate.net_usd),
        candidate.rejected or "",
    )


def _plans(plans: tuple[Plan, ...]) -> "Table":
    """Return the cascades that were compared, cheapest first."""
    rows = (
        (
            " → ".join(plan.stages),
            _percent(plan.p_correct),
            _percent(plan.p_escalate),
            show.figure(plan.expected_energy_j),
            show.figure(plan.expected_net_usd),
        )
        for plan in plans
    )
    return show.table("Plans", ("plan", ">good", ">escalates", ">J", ">net USD"), rows)


def _choice(decision: Decision) -> Iterator[str]:
    """Yield what was chosen and why."""
    yield f"choice   {' → '.join(map(_stage, decision.stages)) or 'nobody may answer'}"
    if decision.fallbacks:
        yield f"if all fail  {' → '.join(stage.deployment for stage in decision.fallbacks)}"
    yield f"delivery {decision.delivery}"
    if decision.abstained:
        yield f"no cascade: {decision.abstained}"
    if decision.speculation is not None:
        yield from _speculation(decision.speculation)
    yield from (f"because  {reason}" for reason in why(decision))
    yield from (f"price    {line}" for line in prices(decision))


def _checks(checking: Checking | None) -> Iterator[str]:
    """Yield what the validators take for a draft."""
    if checking is None or not (checking.parts or checking.unknown):
        return
    parts = [f"{one.name} {1e3 * (one.cpu_s + one.wait_s):.3g} ms" for one in checking.parts]
    parts += [f"{name} does not say" for name in checking.unknown]
    yield f"checks   {', '.join(parts)}"


def _speculation(found: Speculation) -> Iterator[str]:
    """Yield whether drafting is wanted, whether it could be had, and the gate's figures."""
    wanted = "wanted" if found.wanted else "not wanted"
    who = "" if found.deployment is None else f" at {found.deployment}"
    hindered = f"; {found.hindered}" if found.hindered else ""
    yield f"speculation {wanted}{who}: {found.why}{hindered}"
    if found.gain_ratio is None:
        return
    yield (
        f"  speed-up {found.gain_ratio:.2f} ({found.gain_low_ratio or 0:.2f} to "
        f"{found.gain_high_ratio or 0:.2f}) = {found.tau_ratio or 0:.2f} tokens a step / "
        f"(1 + verify {found.verify_ratio or 0:.2f} + draft {found.draft_ratio or 0:.2f}); "
        f"joules a token x {found.energy_ratio or 0:.2f}; {found.regime}; "
        + ("prior" if found.key == "prior" else f"{found.steps:.0f} steps of {found.key}")
    )


def _stage(stage: Stage) -> str:
    name = stage.deployment + (f":{stage.variant}" if stage.variant else "")
    if stage.rule == "never":
        return f"{name} (to compare with)"
    if stage.rule == "agreement":
        return f"{name} (kept where both agree)"
    gate = stage.min_confidence
    return name if gate is None else f"{name} (kept at confidence ≥ {gate:.2f})"


def _percent(ratio: float | None) -> str:
    """Return a share as a percentage; unknown is a dash."""
    return "–" if ratio is None else f"{ratio:.0%}"
