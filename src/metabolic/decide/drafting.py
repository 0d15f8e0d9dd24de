"""Does drafting pay here and now, for this answer, and can it be switched? By physics.

Theory. Drafting trades arithmetic for steps: ``S = tau / (V + D)`` with ``tau`` the tokens a step
writes, ``V`` the time of a step that verifies drafts over one that does not (``decide.roofline``:
what grows with the tokens in a step), and ``D`` the time to draft. Its joules a token are
``E = (power ratio x V + D) / tau`` of those without. Which of the two decides depends on how busy
the device is:

| regime | drafting is on when |
|---|---|
| ``idle``: gaps between answers | it lowers the dynamic joules, however warm it is |
| ``busy``: answers share it, below its knee | it is faster |
| ``saturated``: beyond the knee with others waiting | never: what is rejected is another's time |
| ``capped``: hot, or no watts are left | never: there is no power to trade |

Both by what is likely, and only if a loss of more than 3 % is not (one in ten). The ``mcu``
profile goes without; ``datacenter`` gives complex queries the benefit of the doubt, ``edge`` none.

Source: Leviathan et al. 2023 (arXiv:2211.17192), section 3; MagicDec (arXiv:2408.11049) on batch.
"""

__all__ = [
    "NEVER",
    "Gain",
    "Regime",
    "believed_cost",
    "gain",
    "gate",
    "is_twin",
    "regime",
    "twins_of",
]

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from metabolic.core.fleet import Deployment, Load
from metabolic.core.metabolic import MetabolicState, Profile
from metabolic.core.speculation import Drafter, Drafting
from metabolic.decide.roofline import spread

Regime = Literal["idle", "busy", "saturated", "capped"]

_MARGIN = 1.02
"""A gain below this is not worth a switch: the twin has no prompt cached, and estimates err."""

_MOST_LOST = 0.03
"""What may be lost with a probability of one in ten."""

_UNKNOWN_COST = 0.11
"""A verified token in plain steps where nothing is known of the deployment.

Source: llama.cpp #15802, RTX 3090, 8B at 4 bits: four tokens take 1.33 times as long as one.
"""

_KNEE = 0.5
"""Share of a step's time that grows with the batch, from which the device is beyond its knee."""

_GPU_POWER_EXPONENT = 0.12
"""How a GPU's dynamic power grows with the tokens in a step.

Source: ML.ENERGY leaderboard v3, H100: three times the batch draws 1.02 to 1.21 times the power.
"""

NEVER: dict[Regime, str] = {
    "saturated": "the device is beyond its knee and others wait",
    "capped": "the device has no watts to spare",
}
"""The regimes in which nothing is drafted, and why."""


class Gain(Struct, frozen=True, kw_only=True):
    """What drafting would do: speed-up with its probable least and most, and joules a token.

    ``verify`` and ``draft`` are ``V - 1`` and ``D``: what a step takes more, in plain steps.
    """

    speedup: float
    low: float
    high: float
    energy_ratio: float
    tau: float
    verify: float
    draft: float


def gain(known: Drafting, drafter: Drafter, load: Load | None, deployment: Deployment) -> Gain:
    """Return what drafting would do to an answer of this kind, at this batch."""
    per_token = known.token_cost_ratio
    alone = believed_cost(load, deployment) if per_token is None else per_token
    drafting = drafter.draft_cost_ratio
    verifying = alone if per_token is None else max(0.0, alone - drafting)
    batch = 1.0 if load is None else float(max(1, load.running + 1))
    slope = max(_shared(verifying, batch), _growth(load, batch, known.drafted_ratio))
    verify, draft = slope * known.drafted_ratio, drafting * known.drafted_ratio
    step = 1.0 + verify + draft
    on_cpu = deployment.device is None or deployment.device.startswith("cpu")
    power = 1.0 if on_cpu else (1.0 + known.drafted_ratio) ** _GPU_POWER_EXPONENT
    mean = 1.0 + known.accepted_ratio
    return Gain(
        speedup=mean / step,
        low=(1.0 + known.low_ratio) / step,
        high=(1.0 + known.high_ratio) / step,
        energy_ratio=(power * (1.0 + verify) + draft) / mean,
        tau=mean,
        verify=verify,
        draft=draft,
    )


def believed_cost(load: Load | None, deployment: Deployment) -> float:
    """Return what verifying a token costs in plain steps, before anybody has seen it.

    A token in a step costs at least its arithmetic, which prompts show: the time of a prompt's
    token over that of one written.
    """
    if load is not None and load.ttft_per_token_s and load.tpot_s:
        return min(1.0, load.ttft_per_token_s / (load.tpot_s + (load.tpot_per_answer_s or 0.0)))
    prefill, decode = deployment.prefill_tokens_per_s, deployment.decode_tokens_per_s
    return min(1.0, decode / prefill) if prefill and decode else _UNKNOWN_COST


def _shared(alone: float, batch: float) -> float:
    """Return a drafted token's cost among ``batch`` answers, of that of one answer alone.

    With steps of ``(1 - c) + c n`` for ``n`` tokens the share that grows is ``c B`` of the whole.
    """
    if alone >= 1.0:
        return alone
    return alone * batch / (1.0 - alone + alone * batch)


def _growth(load: Load | None, batch: float, drafted: float) -> float:
    """Return what the fitted roofline says a drafted token costs at this batch.

    It counts a drafted token as another answer, cache and all, and so errs on the safe side.
    """
    if load is None or not load.tpot_s or not load.tpot_per_answer_s or drafted <= 0.0:
        return 0.0
    now = load.tpot_s + load.tpot_per_answer_s * spread(batch)
    more = load.tpot_s + load.tpot_per_answer_s * spread(batch * (1.0 + drafted))
    return (more / now - 1.0) / drafted if batch > 1.0 else 0.0


def regime(state: MetabolicState, load: Load | None, slots: int) -> Regime:
    """Return how busy the device is: that decides what drafting is judged by."""
    used_up = (state.budget_used_ratio or 0.0) >= 1.0
    if state.level == "critical" or state.power_level == "critical" or used_up:
        return "capped"
    if load is None or not (load.running or load.waiting):
        return "idle"
    room = max(1, slots if load.limit is None else min(slots, load.limit))
    if load.waiting and load.running >= room and _beyond_knee(load, room):
        return "saturated"
    return "busy"


def _beyond_knee(load: Load, room: int) -> bool:
    """Say whether most of a step's time grows with the batch; unknown is yes: others do wait."""
    if not load.tpot_s or load.tpot_per_answer_s is None:
        return True
    growing = load.tpot_per_answer_s * spread(room)
    return growing / (load.tpot_s + growing) >= _KNEE


def gate(found: Gain, *, where: Regime, profile: Profile, is_complex: bool) -> tuple[bool, str]:
    """Say whether drafting pays, and why, in words that hold the figures.

    It must be likely to gain, and unlikely to lose more than ``_MOST_LOST``; where the profile
    speculates by itself, a complex query need only be likely to gain.
    """
    if profile.speculation == "off":
        return False, "the profile does without"
    if where in NEVER:
        return False, NEVER[where]
    generous = profile.speculation == "on" and is_complex
    safe = generous or found.low >= 1.0 - _MOST_LOST
    if where == "idle":
        pays = safe and found.energy_ratio * _MARGIN <= 1.0
        return pays, f"{found.energy_ratio:.2f} of the joules a token" + _not(pays, safe)
    pays = safe and found.speedup >= _MARGIN
    return pays, f"{found.speedup:.2f} times as fast" + _not(pays, safe)


def _not(pays: bool, safe: bool) -> str:  # noqa: FBT001 - two facts
    """Return what is said of a gain that will not do."""
    return "" if pays else ": too little" if safe else ": not sure enough"


def is_twin(one: Deployment) -> bool:
    """Say whether it is another with speculation on: it takes its place, and no other."""
    return one.drafting is not None and one.drafting.twin_of is not None


def twins_of(deployments: Iterable[Deployment]) -> dict[str, tuple[Deployment, ...]]:
    """Return by name who drafts in a deployment's place: its twins, or itself."""
    found: dict[str, list[Deployment]] = {}
    for one in deployments:
        if one.drafting is not None:
            found.setdefault(one.drafting.twin_of or one.name, []).append(one)
    return {name: tuple(sorted(ones, key=lambda one: one.name)) for name, ones in found.items()}
