"""Small fleets, policies and situations to test decisions with."""

__all__ = ["deployment", "edge", "fleet_of", "policy_of", "situation_of"]

from metabolic.core.decision import Belief, Policy
from metabolic.core.fleet import Capability, Deployment, FleetSpec, Load, Model, Price, Situation
from metabolic.core.metabolic import MetabolicState, Profile, Threshold
from metabolic.decide.digest import sealed

_SMALL_PARAMETERS = 1_000_000_000
_CAPABILITIES: tuple[Capability, ...] = ("chat", "completions", "json", "logprobs", "tools")


def deployment(
    name: str,
    *,
    parameters: int = 1_000_000_000,
    decode_tokens_per_s: float = 20.0,
    price: Price | None = None,
    capabilities: tuple[Capability, ...] = _CAPABILITIES,
    tasks: tuple[str, ...] = (),
) -> Deployment:
    """Return a local deployment, or a remote one when it has a price."""
    local = price is None
    tier = "tiny" if parameters < _SMALL_PARAMETERS else "small"
    return Deployment(
        name=name,
        model=Model(id=name, tier=tier, active_parameters=parameters, context_tokens=4096),
        kind="local" if local else "remote",
        device="cpu" if local else None,
        capabilities=capabilities,
        price=price,
        prefill_tokens_per_s=decode_tokens_per_s * 3,
        decode_tokens_per_s=decode_tokens_per_s,
        speed_origin="modelled",
        active_w=4.0 if local else None,
        active_w_origin="modelled" if local else None,
        memory_bytes=500_000_000 if local else None,
        load_s=2.0 if local else None,
        tasks=tasks,
    )


def fleet_of(*deployments: Deployment) -> FleetSpec:
    """Return a sealed fleet."""
    return sealed(FleetSpec(id="", deployments=deployments))


def edge(
    *, max_loss_ratio: float = 0.05, heat_weight: float = 1.0, tiers: tuple[str, ...] = ()
) -> Profile:
    """Return a balanced profile."""
    return Profile(
        name="edge",
        preference=0.5,
        max_loss_ratio=max_loss_ratio,
        min_gain_ratio=0.02,
        tiers=tiers,
        heat_weight=heat_weight,
        thresholds=(Threshold(level="nominal", min_confidence=0.82),),
    )


def policy_of(*beliefs: Belief, profile: Profile | None = None) -> Policy:
    """Return a sealed policy with these beliefs."""
    return sealed(Policy(id="", profile=profile or edge(), beliefs=beliefs))


def situation_of(
    *deployments: Deployment,
    load: tuple[Load, ...] = (),
    metabolic: MetabolicState | None = None,
) -> Situation:
    """Return a situation with this fleet."""
    return Situation(
        at_s=1_790_000_000.0,
        metabolic=metabolic or MetabolicState(),
        fleet=fleet_of(*deployments),
        load=load,
    )
