"""What an answer from a deployment would take now, and how good it would probably be.

Theory. Every option gets one figure to be compared by, ``net_usd``: tokens paid, plus the
electricity of the *marginal* joules (what the meter would not read without this request, by the
power curve its device has shown, scaled by what its meter has read of late), plus
their carbon where it has a price. Local energy costs more when its device is hot:
``x (1 + heat_weight x throttle risk)``, or when a battery or a power budget asks for thrift
(``decide.impacts``); an unknown risk moves nothing. A prompt cache that
would be lost is in the figure, since only the tokens a deployment really has cached are cheap.

Quality is ``decide.quality``'s.
What depends on fleet and policy alone is computed once, by ``prepare``.
"""

__all__ = [
    "Known",
    "Prepared",
    "Rates",
    "View",
    "estimate",
    "output_of",
    "prepare",
    "view",
    "with_lane",
]

from msgspec.structs import replace

from metabolic.account.carbon import carbon_g
from metabolic.account.energy import marginal_energy_j
from metabolic.account.money import electricity_usd, lost_cache_usd, tokens_usd
from metabolic.account.work import parameters_of, remote_energy_j, service_s
from metabolic.core.decision import Belief, Estimate, Policy
from metabolic.core.fleet import Deployment, FleetSpec, Load, Price
from metabolic.core.metabolic import MetabolicState
from metabolic.core.request import Ask
from metabolic.core.signals import Signals
from metabolic.decide.assurance import hold
from metabolic.decide.drafting import twins_of
from metabolic.decide.evidence_table import Lane, indexed
from metabolic.decide.impacts import extra_price, strain_of
from metabolic.decide.prepared import Known, Prepared, Rates, View
from metabolic.decide.quality import judged, size_prior
from metabolic.decide.replicas import siblings
from metabolic.decide.roofline import shown
from metabolic.decide.variants import foreseen, key_of, keys_of

_COLD = frozenset({"stopped", "asleep", "starting"})
_DOWN = frozenset({"stopped", "asleep"})

_SIZES = ("tiny", "small", "medium", "large")
"""In the order of ``Signals.odds_ratio``."""


def prepare(fleet: FleetSpec, policy: Policy) -> Prepared:
    """Return fleet and policy indexed for ``decide``; do it once for each pair."""
    beliefs: dict[str, dict[str, Belief]] = {}
    for one in policy.beliefs:
        beliefs.setdefault(one.deployment, {})[one.lane] = one
    carbon_kg = carbon_g(1.0, g_per_kwh=policy.g_per_kwh) / 1000
    return Prepared(
        fleet_id=fleet.id,
        policy=policy,
        known=_all_known(fleet, beliefs),
        variants=keys_of(fleet.deployments),
        usd_per_j=electricity_usd(1.0, usd_per_kwh=policy.usd_per_kwh)
        + carbon_kg * policy.usd_per_kg_co2e,
        devices=frozenset([one.device for one in fleet.deployments if one.device is not None]),
        smallest=_smallest(fleet),
        replicas=siblings(fleet.deployments),
        drafters=twins_of(fleet.deployments),
        held=hold(
            policy.certificates,
            score=policy.score,
            models={one.name: one.model.id for one in fleet.deployments},
            alarms=policy.alarms,
        ),
        lanes=None if policy.lanes is None else indexed(policy.lanes, policy.beliefs),
    )


def _all_known(fleet: FleetSpec, beliefs: dict[str, dict[str, Belief]]) -> tuple[Known, ...]:
    """Return what is known of every deployment and variant, by name."""
    found = [_known(one, beliefs.get(one.name, {})) for one in fleet.deployments]
    for base in [one for one in found if one.deployment.variants]:
        for each in base.deployment.variants:
            name = key_of(base.name, each.name)
            own = beliefs.get(name, {})
            found.append(replace(base, name=name, variant=each, base=base, beliefs=own))
    return tuple(sorted(found, key=lambda one: one.name))


def _smallest(fleet: FleetSpec) -> str | None:
    """Return the local deployment that takes the least memory; ``None`` without any."""
    local = [one for one in fleet.deployments if one.device is not None]

    def size(one: Deployment) -> tuple[float, str]:
        return one.memory_bytes or one.model.file_bytes or parameters_of(one.model), one.name

    found = min(local, key=size, default=None)
    return None if found is None else found.name


def _known(deployment: Deployment, beliefs: dict[str, Belief]) -> Known:
    """Return what is known of a deployment, with its rates."""
    local, price = deployment.device is not None, deployment.price
    seconds = _seconds(deployment)
    energy_j: Rates | None = None
    modelled_j = Rates(
        remote_energy_j(deployment.model, input_tokens=1, output_tokens=0),
        0.0,
        remote_energy_j(deployment.model, input_tokens=0, output_tokens=1),
    )
    if local and seconds is not None and deployment.active_w is not None:
        watts = deployment.active_w
        energy_j = Rates(seconds.fresh * watts, seconds.cached * watts, seconds.output * watts)
    return Known(
        deployment=deployment,
        name=deployment.name,
        local=local,
        priors=size_prior(deployment.model),
        size=_SIZES.index(deployment.model.tier),
        capabilities=frozenset(deployment.capabilities),
        beliefs=beliefs,
        usd=_usd(price) if price is not None else Rates(0.0, 0.0, 0.0) if local else None,
        seconds=seconds,
        energy_j=energy_j,
        modelled_j=modelled_j,
    )


def _usd(price: Price) -> Rates:
    """Return dollars per token of each kind."""
    return Rates(
        tokens_usd(price, input_tokens=1, output_tokens=0),
        tokens_usd(price, input_tokens=1, output_tokens=0, cached_tokens=1),
        tokens_usd(price, input_tokens=0, output_tokens=1),
    )


def _seconds(deployment: Deployment) -> Rates | None:
    """Return seconds of work per token of each kind."""
    speeds = {
        "prefill_tokens_per_s": deployment.prefill_tokens_per_s,
        "decode_tokens_per_s": deployment.decode_tokens_per_s,
    }
    fresh = service_s(input_tokens=1, output_tokens=0, cached_tokens=0, **speeds)
    output = service_s(input_tokens=0, output_tokens=1, cached_tokens=0, **speeds)
    return None if fresh is None or output is None else Rates(fresh, 0.0, output)


def view(
    ask: Ask,
    signals: Signals,
    metabolic: MetabolicState,
    prepared: Prepared,
    load: tuple[Load, ...] = (),
) -> View:
    """Return what every deployment's estimate for this request starts from."""
    output = signals.expected_output_tokens
    if ask.max_output_tokens is not None:
        output = min(output, ask.max_output_tokens)
    return View(
        ask=ask,
        signals=signals,
        policy=prepared.policy,
        metabolic=metabolic,
        output_tokens=output * ask.n,
        prefix_tokens=max([one.prefix_tokens for one in ask.warm], default=0) if ask.warm else 0,
        usd_per_j=prepared.usd_per_j,
        prepared=prepared,
        strain=strain_of(metabolic, prepared.policy.profile),
        warm={one.deployment: one.prefix_tokens for one in ask.warm} if ask.warm else {},
        learned=_learned(signals) if signals.p_correct else {},
        load=load,
        leaving=_leaving(load) if prepared.replicas else frozenset(),
    )


def with_lane(seen: View, lane: Lane) -> View:
    """Return the view with what answers of the lane have shown to be written."""
    return replace(seen, writes=lane.writes) if lane.writes else seen


def _leaving(load: tuple[Load, ...]) -> frozenset[str]:
    """Return who is to sleep soon."""
    return frozenset([one.deployment for one in load if one.leaving])


def _learned(signals: Signals) -> dict[str, tuple[float, int]]:
    """Return what learned heads say, with their evidence less the novelty of the query."""
    share = 1.0 - (signals.novelty_ratio or 0.0)
    return {
        one.deployment: (one.p_correct, round(share * one.evidence)) for one in signals.p_correct
    }


def estimate(seen: View, known: Known, load: Load | None) -> Estimate:
    """Return what this deployment would take now; unknown figures are ``None``."""
    tokens, output = seen.ask.input_tokens, output_of(seen, known)
    cached = min(seen.warm.get(known.deployment.name, 0), tokens) if seen.warm else 0
    fresh = tokens - cached
    cost = None if known.usd is None else known.usd.of(fresh, cached, output)
    energy = None if known.energy_j is None else known.energy_j.of(fresh, cached, output)
    net, carbon, lost, usd_per_j = cost or 0.0, None, 0.0, seen.usd_per_j
    if seen.strain is not None and known.local:
        usd_per_j *= 1 + extra_price(seen.strain, known.deployment.device, seen.prepared.devices)
    marginal = 0.0
    if energy is not None:
        energy, marginal = _joules(energy, load)
        marginal += _wake_j(load)
        net += marginal * usd_per_j
        carbon = carbon_g(energy, g_per_kwh=seen.policy.g_per_kwh)
    elif cost is None or known.local:
        net += known.modelled_j.of(fresh, cached, output) * usd_per_j
    if seen.prefix_tokens > cached and known.deployment.price is not None:
        lost = lost_cache_usd(known.deployment.price, prefix_tokens=seen.prefix_tokens - cached)
    p_correct, p_accept, p_kept, rows = judged(seen, known)
    ttft_s, tpot_s = _latency(known, load, fresh, output)
    return Estimate(
        input_tokens=tokens,
        output_tokens=output,
        ttft_s=ttft_s,
        tpot_s=tpot_s,
        energy_j=energy,
        marginal_energy_j=None if energy is None else marginal,
        limiting_device_w=known.deployment.active_w if known.local else None,
        cost_usd=cost,
        carbon_g=carbon,
        lost_cache_usd=lost,
        p_correct=p_correct,
        p_accept=p_accept,
        p_correct_accepted=p_kept,
        evidence=rows,
        net_usd=net,
    )


def output_of(seen: View, known: Known) -> int:
    """Return the output tokens to expect: as its answers have shown, else as they are foreseen."""
    tokens = seen.output_tokens
    if known.variant is None and not seen.writes:
        return tokens
    ratio = seen.writes.get(known.name)
    if known.variant is not None:
        tokens = foreseen(known.variant, tokens, ratio)
    elif ratio is not None:
        tokens = max(1, round(tokens * ratio))
    most = seen.ask.max_output_tokens
    return tokens if most is None else min(tokens, most * seen.ask.n)


def _joules(alone_j: float, load: Load | None) -> tuple[float, float]:
    """Return an answer's average share and what the meter would not read without it.

    Both as metered of late (``load.energy_ratio``); they differ where answers share a batch.
    """
    if load is None:
        return alone_j, alone_j
    if load.energy_ratio is not None:
        alone_j *= load.energy_ratio
    exponent, running = load.batch_exponent, load.running
    if exponent is None or exponent == 1.0 or not running:
        return alone_j, alone_j
    more_j = marginal_energy_j(alone_j, running=running, batch_exponent=exponent)
    return alone_j * float((running + 1) ** (exponent - 1.0)), more_j


def _latency(
    known: Known, load: Load | None, fresh: int, output: int
) -> tuple[float | None, float | None]:
    """Return TTFT (waking and queueing included) and TPOT in seconds; unknown is ``None``.

    What the deployment's own answers have shown comes before its configured speeds.
    """
    if load is not None and load.tpot_s is not None:
        wake_s = _wake_s(known, load)
        ttft_s, tpot_s = shown(load, fresh=fresh, output=output, slots=known.deployment.slots)
        return wake_s + ttft_s, tpot_s
    seconds = known.seconds
    if seconds is None:
        return None, None
    prefill_s, tpot_s = fresh * seconds.fresh, seconds.output
    if load is None:
        return prefill_s, tpot_s
    deployment = known.deployment
    wake_s = _wake_s(known, load)
    ahead = load.waiting / max(1, deployment.slots)
    return prefill_s * (1 + ahead) + wake_s, tpot_s * max(1.0, load.running / deployment.slots)


def _wake_s(known: Known, load: Load) -> float:
    """Return the seconds until it is warm: as its last starts took, else as foreseen."""
    if load.state not in _COLD:
        return 0.0
    return load.wake_s if load.wake_s is not None else known.deployment.load_s or 0.0


def _wake_j(load: Load | None) -> float:
    """Return the joules this answer would wake it with, as measured; 0 while it is up."""
    if load is None or load.wake_j is None or load.state not in _DOWN:
        return 0.0
    return load.wake_j
