"""What the machine's state does to decisions: one named function for each impact.

| signal | impact | here |
|---|---|---|
| temperature near throttling | smaller models: local joules cost more, more quality may go | heat |
| headroom high | speculation is allowed | speculation |
| on battery | efficiency over quality: the dial and the price of joules move | thrift |
| power budget used up | the least that will do | band |
| memory short | smaller batches, no large models | slots, too_large |

Soft weights come first: they move with every hundredth of risk, and with it the share of requests
that is decided as if the machine were warmer than it is. The bands *warm* and *hot* come second,
for all: they let a plan give up more quality, and never let it draw more (``decide.strained``).
A calm or unknown machine has no strain at all, and costs a decision a handful of comparisons.
"""

__all__ = [
    "Band",
    "Keeping",
    "Strain",
    "band",
    "band_of",
    "extra_price",
    "heat",
    "keeping",
    "loss_bound",
    "slots",
    "speculation",
    "strain_of",
    "thrift",
    "too_large",
]

from typing import Literal

from msgspec import Struct

from metabolic.core.decision import Speculation
from metabolic.core.fleet import Deployment
from metabolic.core.metabolic import MetabolicState, Profile
from metabolic.decide.levels import RANK

Band = Literal["cool", "warm", "hot"]

_BANDS: tuple[Band, ...] = ("cool", "warm", "hot")
_NO_RISK = 0.005
_WARM_FROM, _HOT_FROM, _HOT_TO = 0.01, 0.1, 0.5
_NEARLY_USED = 0.9
_AMPLE_C = 20.0
"""Headroom from which speculation is allowed where the profile makes it conditional."""

_IDLE_SHARE = 0.25
"""On battery, or over budget, models sleep after this share of the idle time."""

_ON = Speculation(wanted=True, why="the profile wants it, and there is headroom")
_AMPLE = Speculation(wanted=True, why="headroom is ample")
_SCARCE = Speculation(wanted=False, why="headroom is not ample")
_WARM = Speculation(wanted=False, why="the machine is warm")
_SPARING = Speculation(wanted=False, why="power is scarce")
_OFF = Speculation(wanted=False, why="the profile does without")


class Strain(Struct, frozen=True, kw_only=True):
    """What a machine that is not calm asks of decisions.

    ``heat`` are the extra prices of joules by device (0.5: half as much again), ``local`` that of
    all local joules; ``limiting`` names the device that limits. ``thrift_ratio`` moves the dial
    from where it stands (0) to thrift (1).
    """

    band: Band
    risk_ratio: float = 0.0
    heat: tuple[tuple[str, float], ...] = ()
    local: float = 0.0
    limiting: str | None = None
    thrift_ratio: float = 0.0
    memory_short: bool = False
    free_bytes: float | None = None
    reasons: tuple[str, ...] = ()


def strain_of(state: MetabolicState, profile: Profile) -> Strain | None:
    """Return what the state asks of decisions; ``None``: nothing, all is calm or unknown."""
    if (state.throttle_risk_ratio or 0.0) < _NO_RISK and _is_calm(state):
        return None
    in_force = band(state)
    spare = thrift(state, profile)
    power = _power_price(state, profile)
    short = RANK[state.memory_level] > 0
    found = Strain(
        band=in_force,
        risk_ratio=state.throttle_risk_ratio or 0.0,
        heat=heat(state, profile),
        local=profile.battery_weight * spare + power,
        limiting=state.limiting,
        thrift_ratio=spare,
        memory_short=short,
        free_bytes=state.memory_available_bytes,
        reasons=_reasons(state, in_force, spare),
    )
    idle = in_force == "cool" and not (found.heat or found.local or spare or short)
    return None if idle else found


def _is_calm(state: MetabolicState) -> bool:
    """Say whether no level is raised and no battery feeds the machine."""
    return (
        not RANK[state.level]
        and not RANK[state.memory_level]
        and not RANK[state.power_level]
        and not state.on_battery
    )


def band(state: MetabolicState) -> Band:
    """Return how far a decision may go for the machine: by heat, or by a used-up power budget."""
    used_up = 2 if state.power_level == "critical" else 0
    return _BANDS[max(RANK[state.level], used_up)]


def band_of(strain: Strain, lot: float) -> Band:
    """Return the band of one request: at least that in force, and by the risk already before.

    ``lot`` in [0, 1) is the request's own. As the risk rises from 0.01 (5 C above the edge of
    *elevated*) to 0.1 (at that edge) ever more requests are decided as warm, and from there to 0.5
    (the edge of *critical*) as hot, so that the heat finds a mixture at which it stands still
    instead of switching to and fro.
    """
    risk = strain.risk_ratio
    early = 2 if risk >= _HOT_FROM + (_HOT_TO - _HOT_FROM) * lot else 0
    early = early or int(risk >= _WARM_FROM + (_HOT_FROM - _WARM_FROM) * lot)
    return _BANDS[max(early, _BANDS.index(strain.band))]


def heat(state: MetabolicState, profile: Profile) -> tuple[tuple[str, float], ...]:
    """Return by how much dearer each hot device's joules are: ``heat_weight x risk``.

    A state that knows no devices speaks for all of them, under the name ``*``.
    """
    weight, risk = profile.heat_weight, state.throttle_risk_ratio or 0.0
    if risk < _NO_RISK or not weight:
        return ()
    if not state.risks:
        return (("*" if state.limiting is None else state.limiting, weight * risk),)
    return tuple([(one.device, weight * one.risk_ratio) for one in state.risks if one.risk_ratio])


def _power_price(state: MetabolicState, profile: Profile) -> float:
    """Return by how much dearer local joules are as the power budget fills up."""
    if profile.power_budget_w is None or state.budget_used_ratio is None:
        return 0.0
    beyond = (state.budget_used_ratio - _NEARLY_USED) / (1 - _NEARLY_USED)
    return profile.heat_weight * min(1.0, max(0.0, beyond))


def thrift(state: MetabolicState, profile: Profile) -> float:
    """Return how far the battery moves the dial towards thrift: 0 when full, 1 at its reserve."""
    if not state.on_battery or state.battery_ratio is None:
        return 0.0
    reserve = min(profile.battery_reserve_ratio, 0.99)
    return min(1.0, max(0.0, (1 - state.battery_ratio) / (1 - reserve)))


def extra_price(strain: Strain, device: str | None, known: frozenset[str]) -> float:
    """Return by how much dearer a joule of this device is (``None``: a remote API, by nothing).

    ``known`` are the devices of the fleet. Heat of a part that no deployment names (a board, a
    node, ``*``) is everyone's, and added to the device's own.
    """
    if device is None:
        return 0.0
    return strain.local + sum(
        [price for name, price in strain.heat if name == device or name not in known]
    )


def loss_bound(profile: Profile, dial: float, *, at: Band) -> float:
    """Return the quality a plan may give up in a band; a dial at 0 gives up nothing.

    ``dial`` is the one in force, thrift included. Bounds never fall from band to band.
    """
    bound = dial * profile.max_loss_ratio
    if dial <= 0 or at == "cool":
        return bound
    bound = max(bound, profile.warm_loss_ratio)
    return bound if at == "warm" else max(bound, profile.hot_loss_ratio)


def speculation(state: MetabolicState, profile: Profile) -> Speculation | None:
    """Return whether drafting may be switched on; ``None`` when the machine says nothing of heat.

    The paper's rule, by headroom. Whether it pays as well is for those who know the engine.
    """
    if state.level == "unknown":
        return None
    if profile.speculation == "off":
        return _OFF
    if RANK[state.level]:
        return _WARM
    if state.on_battery or RANK[state.power_level]:
        return _SPARING
    if profile.speculation == "on":
        return _ON
    ample = state.headroom_c is not None and state.headroom_c >= _AMPLE_C
    return _AMPLE if ample else _SCARCE


def too_large(strain: Strain, deployment: Deployment, smallest: str | None) -> str | None:
    """Return why a local model is too large while memory is short; ``None``: it is not.

    Large is what would not fit a second time, or is of the largest tier. The ``smallest`` of the
    fleet's local models always may answer.
    """
    if not strain.memory_short or deployment.device is None or deployment.name == smallest:
        return None
    if deployment.model.tier == "large":
        return "memory is short: no large models"
    needed, free = deployment.memory_bytes, strain.free_bytes
    if needed is None or free is None or needed <= free:
        return None
    return f"memory is short: {needed / 1e6:.0f} MB is much, {free / 1e6:.0f} MB are free"


def slots(state: MetabolicState, most: int) -> int:
    """Return how many answers a local engine should work on at once: half while memory is short.

    One while it is critical.
    """
    rank = RANK[state.memory_level]
    return most if not rank else max(1, most // 2) if rank == 1 else 1


class Keeping(Struct, frozen=True, kw_only=True):
    """How generously models are kept warm: ``why`` says what holds back."""

    warm_up: bool = True
    idle_share: float = 1.0
    why: str = ""


_GENEROUS = Keeping()


def keeping(state: MetabolicState) -> Keeping:
    """Return how models are kept: nothing is warmed up, and idle ones sleep sooner, when scarce."""
    if state.power_level == "critical":
        return Keeping(warm_up=False, idle_share=_IDLE_SHARE, why="the power budget is used up")
    if RANK[state.memory_level]:
        return Keeping(warm_up=False, idle_share=_IDLE_SHARE, why="memory is short")
    if state.on_battery:
        return Keeping(warm_up=False, idle_share=_IDLE_SHARE, why="on battery")
    return _GENEROUS if state.level != "critical" else Keeping(warm_up=False, why="hot")


def _reasons(state: MetabolicState, in_force: Band, spare: float) -> tuple[str, ...]:
    """Return in stable words what moved this decision."""
    found: list[str] = []
    if in_force != "cool":
        found.append(f"{in_force}: " + ", ".join(state.reasons[:3]))
    elif state.throttle_risk_ratio:
        found.append(f"throttle risk {state.throttle_risk_ratio:.2f}")
    if spare:
        found.append(f"on battery: dial moved by {spare:.2f}")
    if RANK[state.memory_level]:
        found.append("memory is short")
    return tuple(found)
