"""How to choose: profile, prices and beliefs of the configuration as a sealed ``Policy``."""

__all__ = ["Chooser", "hedges_of", "home_of", "policy_of", "watched"]

import os
from typing import get_args

from msgspec.structs import replace

from metabolic.account.carbon import embodied_g_per_h
from metabolic.config import Config, EnergyTable
from metabolic.core.certificate import Certificate
from metabolic.core.decision import Belief, Policy
from metabolic.core.fleet import FleetSpec, Tier
from metabolic.core.hardware import HardwareState
from metabolic.core.lanes import LaneTable
from metabolic.core.metabolic import MetabolicState, Profile
from metabolic.decide.digest import sealed
from metabolic.decide.estimate import Prepared, prepare
from metabolic.decide.profiles import detect, profile, transition
from metabolic.execute.hedges import Hedges
from metabolic.wiring.certificates import certificates_of, score_of
from metabolic.wiring.checking import checking_of
from metabolic.wiring.defaults import BELIEFS

_TIERS: tuple[str, ...] = get_args(Tier)
"""From the smallest."""


def policy_of(
    config: Config,
    in_force: Profile,
    *,
    certificates: tuple[Certificate, ...] = (),
    alarms: tuple[str, ...] = (),
    lanes: LaneTable | None = None,
) -> Policy:
    """Return the sealed policy of a configuration with this profile in force.

    ``alarms`` are lanes that have drifted: their certificates are not in force.
    """
    energy = config.energy
    return sealed(
        Policy(
            id="",
            profile=in_force,
            preference=config.profile.preference,
            kind=config.routing.kind,
            usd_per_kwh=energy.usd_per_kwh * energy.pue,
            g_per_kwh=energy.intensity_g_per_kwh() * energy.pue,
            usd_per_kg_co2e=config.energy.usd_per_kg_co2e,
            cpu_w_per_core=config.energy.cpu_w_per_core,
            beliefs=_beliefs(config),
            reference=config.routing.reference,
            max_stages=config.routing.max_stages,
            max_strong_share_ratio=config.routing.max_strong_share,
            stage_timeout_s=config.routing.stage_timeout_s,
            score=score_of(config),
            certificates=certificates,
            alarms=alarms,
            checkpoints=tuple(one.checkpoint() for one in config.checkpoints),
            delivery=config.delivery.rules(),
            lanes=lanes,
            market_g_per_kwh=_times(energy.market_g_per_kwh, energy.pue),
            embodied_g_per_h=_embodied(energy),
            water_l_per_kwh=_times(energy.water_l_per_kwh, energy.pue),
            checking=checking_of(config),
            wait_usd_per_h=config.routing.wait_usd_per_hour,
            speculation_rule=config.speculation.rule,
            speculation_explore_ratio=config.speculation.explore_ratio,
        )
    )


def _beliefs(config: Config) -> tuple[Belief, ...]:
    """Return the configuration's beliefs, and those that ship of what it says nothing about."""
    own = tuple(one.belief() for one in config.beliefs)
    named = {(one.deployment, one.lane) for one in own}
    return (*own, *(one for one in BELIEFS if (one.deployment, one.lane) not in named))


def _embodied(energy: EnergyTable) -> float | None:
    """Return the grams an hour of this machine's making; ``None`` where nobody says."""
    if energy.embodied_kg_co2e is None:
        return None
    return embodied_g_per_h(kg_co2e=energy.embodied_kg_co2e, lifetime_years=energy.lifetime_years)


def watched(config: Config, fleet: FleetSpec) -> frozenset[str]:
    """Return the deployments of the largest size, if a tenant's share of them has a cap."""
    if config.routing.max_strong_share is None:
        return frozenset()
    sizes = {one.name: _TIERS.index(one.model.tier) for one in fleet.deployments}
    most = max(sizes.values(), default=0)
    return frozenset(name for name, size in sizes.items() if size == most)


def hedges_of(config: Config) -> Hedges | None:
    """Return the budget of hedges; ``None``: there are none."""
    table = config.delivery
    if not table.hedge_max_share:
        return None
    return Hedges(most=table.hedge_max_share, always=table.late_ratio is not None)


def home_of(config: Config, detected: str) -> Profile:
    """Return the configured profile, or the detected one, with the operator's own figures."""
    table = config.profile
    own = {
        name: value
        for name in ("power_budget_w", "battery_reserve_ratio", "warm_loss_ratio", "hot_loss_ratio")
        if (value := getattr(table, name)) is not None
    }
    return replace(profile(detected if table.name == "auto" else table.name), **own)


def _times(figure: float | None, factor: float) -> float | None:
    """Return the figure times the factor; unknown stays unknown."""
    return None if figure is None else figure * factor


class Chooser:
    """Holds the policy in force; the machine's state may move the profile, and so the policy."""

    def __init__(self, config: Config, fleet: FleetSpec, hardware: HardwareState) -> None:
        """Take the configured profile, or the one that suits the machine."""
        self._config = config
        self._fleet = fleet
        name = config.profile.name
        self._override = None if name == "auto" else name
        self.home = home_of(config, detect(hardware, cores=os.cpu_count()))
        self._made: dict[str, Prepared] = {}
        self.certificates = certificates_of(config)
        self._alarms: tuple[str, ...] = ()
        self._lanes: LaneTable | None = None
        self.prepared = self._of(self.home)

    @property
    def policy(self) -> Policy:
        """Return the policy in force."""
        return self.prepared.policy

    def follow(self, state: MetabolicState) -> None:
        """Put the profile in force that this state asks for."""
        in_force = transition(self.home, state, override=self._override)
        if in_force is not self.policy.profile:
            self.prepared = self._of(in_force)

    def alarm(self, lanes: tuple[str, ...]) -> None:
        """Take these lanes' certificates out of force, and only these."""
        if lanes != self._alarms:
            self._alarms = lanes
            self._made.clear()
            self.prepared = self._of(self.policy.profile)

    def learn(self, lanes: LaneTable | None) -> None:
        """Put this table of lanes in force."""
        if lanes != self._lanes:
            self._lanes = lanes
            self._made.clear()
            self.prepared = self._of(self.policy.profile)

    def _of(self, in_force: Profile) -> Prepared:
        """Return the prepared policy of a profile, made once."""
        made = self._made.get(in_force.name)
        if made is None:
            policy = policy_of(
                self._config,
                in_force,
                certificates=self.certificates,
                alarms=self._alarms,
                lanes=self._lanes,
            )
            made = prepare(self._fleet, policy)
            self._made[in_force.name] = made
        return made
