"""Conditional speculation: each stage that may draft, switched as it pays and as it can be.

What a deployment's speculation is switched by is resolved in this order: a field of the request,
an API of its process, a twin that was started with it, its engine's own schedule, nothing. What
was wanted and could not be had is written down (``Speculation.hindered``). Whether it is wanted
is ``decide.drafting``'s gate, fed by what engines reported of earlier answers (``Load.drafting``).
The paper's rule, headroom alone, is kept as ``rule = "headroom"``, to compare.
"""

__all__ = ["judged", "speculated", "switched"]

from collections.abc import Sequence

from msgspec.structs import replace

from metabolic.core.decision import Decision, Speculation, Stage
from metabolic.core.fleet import Deployment, Load
from metabolic.core.speculation import Drafter, Drafting
from metabolic.decide.acceptance import bounds, prior
from metabolic.decide.drafting import NEVER, Gain, Regime, gain, gate, regime
from metabolic.decide.estimate import View
from metabolic.decide.explore import lot_of
from metabolic.decide.impacts import speculation

_FLOOR = 0.9
"""Nothing is tried out that probably costs more than a tenth."""

_ORDER = ("request", "process_api", "twin", "batch_schedule", "startup", "none")
"""What is switched sooner than what."""


def speculated(decision: Decision, seen: View) -> Decision:
    """Return the decision with each stage that may draft switched as it pays.

    The first such stage speaks in ``decision.speculation``. A twin takes a stage's place; a
    deployment that was named, by the client or by a tool's result, stays where it is. Should the
    twin fail, its model without drafting is asked first.
    """
    drafters = seen.prepared.drafters
    if not any(stage.deployment in drafters for stage in decision.stages):
        return decision
    loads = {one.deployment: one for one in seen.load}
    said: Speculation | None = None
    stages: list[Stage] = []
    replaced: list[Stage] = []
    for stage in decision.stages:
        ones = drafters.get(stage.deployment)
        if ones is None:
            stages.append(stage)
            continue
        best = _tried(_best([judged(one, seen, loads) for one in ones]), seen)
        made, best = switched(stage, best, seen, loads)
        stages.append(made)
        if made.deployment != stage.deployment:
            replaced.insert(0, Stage(deployment=stage.deployment, timeout_s=stage.timeout_s))
        said = said or best
    fallbacks = (*replaced, *decision.fallbacks)
    return replace(decision, stages=tuple(stages), fallbacks=fallbacks, speculation=said)


def _best(found: Sequence[Speculation]) -> Speculation:
    """Return what is wanted most; among equals what is switched most finely."""
    return min(
        found,
        key=lambda one: (
            not one.wanted,
            -(one.gain_ratio or 0.0),
            _ORDER.index(one.how),
            one.deployment or "",
        ),
    )


def judged(one: Deployment, seen: View, loads: dict[str, Load]) -> Speculation:
    """Return whether this deployment's drafting is wanted, with the figures behind it."""
    drafter = one.drafting or Drafter(method="draft")
    load, own = loads.get(drafter.twin_of or one.name), loads.get(one.name)
    known = None if own is None else own.drafting
    if known is None:
        known = _unseen(seen.signals.task, drafter)
    found, where = gain(known, drafter, load, one), regime(seen.metabolic, load, one.slots)
    wanted, why = _wanted(one, found, seen, where=where, load=load)
    return Speculation(
        wanted=wanted,
        num_speculative_tokens=drafter.num_speculative_tokens,
        why=why,
        deployment=one.name,
        twin_of=drafter.twin_of,
        how="twin" if drafter.twin_of is not None else drafter.granularity,
        regime=where,
        key=known.key,
        gain_ratio=round(found.speedup, 3),
        gain_low_ratio=round(found.low, 3),
        gain_high_ratio=round(found.high, 3),
        energy_ratio=round(found.energy_ratio, 3),
        tau_ratio=round(found.tau, 3),
        verify_ratio=round(found.verify, 3),
        draft_ratio=round(found.draft, 3),
        steps=round(known.steps),
    )


def _wanted(
    one: Deployment, found: Gain, seen: View, *, where: Regime, load: Load | None
) -> tuple[bool, str]:
    """Say by the rule in force whether drafting is wanted, and why."""
    signals, policy = seen.signals, seen.policy
    is_complex = signals.p_complex > max(signals.p_simple, signals.p_medium)
    if policy.speculation_rule == "off":
        return False, "switched off"
    if policy.speculation_rule == "headroom":
        return _by_headroom(seen, is_complex=is_complex)
    wanted, why = gate(found, where=where, profile=policy.profile, is_complex=is_complex)
    lost = _lost_tokens(one, found, seen, load) if wanted else 0
    return (False, f"{lost} cached tokens would be read again") if lost else (wanted, why)


def _unseen(task: str, drafter: Drafter) -> Drafting:
    """Return what is believed of a task that nobody has drafted for."""
    first = prior(task, method=drafter.method, tokens=drafter.num_speculative_tokens)
    low, mean, high = bounds(first)
    return Drafting(
        key="prior",
        accepted_ratio=mean,
        low_ratio=low,
        high_ratio=high,
        drafted_ratio=first.drafted_tokens / first.steps,
    )


def _by_headroom(seen: View, *, is_complex: bool) -> tuple[bool, str]:
    """Return the paper's rule: on for complex queries with headroom, off in the heat."""
    found = speculation(seen.metabolic, seen.policy.profile)
    if found is None:
        return False, "headroom is not known"
    if found.wanted and not is_complex:
        return False, "the query is not complex"
    return found.wanted, found.why


def _lost_tokens(one: Deployment, found: Gain, seen: View, load: Load | None) -> int:
    """Return the cached tokens that a twin would read again for less than it gains; 0: worth it."""
    base = None if one.drafting is None else one.drafting.twin_of
    if base is None or not seen.warm:
        return 0
    lost = seen.warm.get(base, 0) - seen.warm.get(one.name, 0)
    if lost <= 0 or load is None or not load.ttft_per_token_s or not load.tpot_s:
        return 0
    saved_s = seen.output_tokens * load.tpot_s * (1.0 - 1.0 / max(found.low, 1.0))
    return lost if lost * load.ttft_per_token_s > saved_s else 0


def _tried(best: Speculation, seen: View) -> Speculation:
    """Return it wanted now and then although nobody is sure, so that somebody will be."""
    ratio = seen.policy.speculation_explore_ratio
    if best.wanted or not ratio or seen.policy.speculation_rule != "gate":
        return best
    if best.regime in NEVER or seen.strain is not None or seen.policy.profile.speculation == "off":
        return best
    low, high = best.gain_low_ratio or 0.0, best.gain_high_ratio or 0.0
    switchable = best.how in {"twin", "request"}
    if (
        not switchable
        or low < _FLOOR
        or high <= 1.0
        or lot_of(f"{seen.policy.id} speculation", seen.ask.id) >= ratio
    ):
        return best
    return replace(best, wanted=True, why="tried out: it may pay")


def switched(
    stage: Stage, one: Speculation, seen: View, loads: dict[str, Load]
) -> tuple[Stage, Speculation]:
    """Return the stage as it is to run, and whether what was wanted could be had."""
    if one.how == "request":
        tokens = one.num_speculative_tokens if one.wanted else 0
        return replace(stage, num_speculative_tokens=tokens), replace(one, applied=True)
    if one.how == "twin":
        return _at_twin(stage, one, seen, loads)
    if one.how == "process_api":
        hindered: str | None = "nobody here moves its API"
    elif one.how == "batch_schedule":
        hindered = "its engine decides by its batch"
    else:  # it drafts always, or cannot at all
        is_on = one.how == "startup"
        said = "it was started with drafting" if is_on else "its engine cannot draft"
        hindered = None if one.wanted == is_on else said
    return stage, replace(one, applied=hindered is None, hindered=hindered)


def _at_twin(
    stage: Stage, one: Speculation, seen: View, loads: dict[str, Load]
) -> tuple[Stage, Speculation]:
    """Return the stage at the twin, if it is wanted and there."""
    if not one.wanted or one.deployment is None:
        return stage, replace(one, applied=True)
    load, hindered = loads.get(one.deployment), None
    if seen.ask.pin is not None or seen.ask.conversation_pin is not None:
        hindered = "the deployment was named"
    elif load is None or load.state != "warm":
        hindered = "its twin is not running"
    elif load.healthy is False:
        hindered = "its twin is not well"
    if hindered is not None:
        return stage, replace(one, applied=False, hindered=hindered)
    return replace(stage, deployment=one.deployment), replace(one, applied=True)
