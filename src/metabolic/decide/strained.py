"""Which stages on a machine that is not calm: never more power on the limiting device.

Theory. Let ``C`` be a plan's expected net cost without the heat of the limiting device, ``E`` the
joules it is expected to draw there (escalations and discarded drafts included) and ``w`` the price
of heat, which rises with the risk. At a given rate of requests the device's power is that rate
times ``E``, so ``E`` must not rise with ``w``.

1. *Calm*: the plan that would be chosen at ``w = 0``. No plan with a larger ``E`` is considered.
2. *Cool*: the least ``C + w E`` among plans of the normal quality. The set does not depend on
   ``w``, so by exchange ``E`` cannot rise with it: if p is best at w and q at w' > w, then
   ``(w' - w)(E(q) - E(p)) <= 0``.
3. *Warm*, *hot*: more quality may be given up, so the set grows, and cheaper plans that draw more
   could come in. They are kept out: each band only considers plans that draw no more than the
   choice of the band below at the same ``w``. So ``E`` falls, or stays, from band to band too.

What a plan must gain to be preferred to the reference is a constant surcharge on all others, not a
ratio: a ratio would break the exchange. Every request has a lot, drawn from its id: a factor on
``w``, and the risk from which it is decided in a warmer band than is in force. So the points at
which requests change over are spread, and shares move smoothly and do not flip.

A calm machine may also stay with a session's deployment, try a rival or use a replica; then that is
what no plan may draw more than. Replicas only stand in for each other off the limiting device.
Source: the exchange argument is that of parametric optimisation; ours here.
"""

__all__ = [
    "Row",
    "Strained",
    "choose_for",
    "choose_strained",
    "heat_of",
    "interchangeable",
    "rows_of",
]

from collections.abc import Callable, Iterator
from itertools import combinations
from zlib import crc32

from msgspec import Struct
from msgspec.structs import replace

from metabolic.core.decision import Candidate, Estimate, Plan, Stage
from metabolic.decide.assurance import Heat
from metabolic.decide.cascade import Fit, choose, is_late, lifted
from metabolic.decide.estimate import Known, View
from metabolic.decide.explore import arms_for, drawn, lot_of
from metabolic.decide.impacts import Band, Strain, band_of, loss_bound
from metabolic.decide.replicas import at_replicas
from metabolic.decide.sessions import whole
from metabolic.decide.staging import ends_by

_KEPT_PLANS = 3
_MOST = 8
_SLACK = 1e-9


class Row(Struct, frozen=True, kw_only=True):
    """A fit deployment: with its price at ``w = 0`` in ``fit``, and its joules on the device."""

    fit: Fit
    hot_j: float


class Strained(Struct, frozen=True, kw_only=True):
    """The choice, and what it is compared with."""

    plan: Plan
    reference: Plan
    plans: tuple[Plan, ...]
    abstained: str | None


class _Scored(Struct, frozen=True, kw_only=True):
    """A chain with its expected cost at ``w = 0``, joules on the device, quality."""

    chain: tuple[Fit, ...]
    cost: float
    hot_j: float
    quality: float

    @property
    def names(self) -> tuple[str, ...]:
        return tuple([one[0] for one in self.chain])


def choose_strained(  # noqa: PLR0913 - what a state and a profile say of the choice
    rows: list[Row],
    *,
    bounds: tuple[float, ...],
    usd_per_hot_j: float,
    min_gain_ratio: float,
    max_stages: int,
    calmly: tuple[str, ...] | None = None,
    deadline_s: float | None = None,
) -> Strained:
    """Return the plan for this state.

    ``bounds`` are the quality that may be given up, band by band from cool to the one in force;
    they must not fall. ``usd_per_hot_j`` is ``w``. ``calmly`` are the stages of a calm machine
    where they are not those of the least cost; they must not depend on ``w``. No cascade counts
    that would miss the deadline.
    """
    fit = [row.fit for row in rows]
    calm, reference, _, abstained = choose(
        fit,
        max_loss=bounds[0],
        min_gain_ratio=min_gain_ratio,
        max_stages=max_stages,
        deadline_s=deadline_s,
    )
    stages = calmly or calm.stages
    scored = _scored(rows, (stages, reference.stages), max_stages, deadline_s)
    gain = min_gain_ratio * abs(reference.expected_net_usd)

    def objective(one: _Scored) -> tuple[float, float, tuple[str, ...]]:
        surcharge = 0.0 if one.names == reference.stages else gain
        return one.cost + usd_per_hot_j * one.hot_j + surcharge, one.hot_j, one.names

    floors = [reference.p_correct - bound for bound in bounds]
    chosen, allowed = _cooled(scored, scored[stages], floors, objective)
    kept = sorted(allowed, key=objective)[:_KEPT_PLANS]
    return Strained(
        plan=_plan(chosen, usd_per_hot_j),
        reference=_plan(scored[reference.stages], usd_per_hot_j),
        plans=tuple([_plan(one, usd_per_hot_j) for one in kept]),
        abstained=abstained if chosen.names == reference.stages else None,
    )


def _cooled(
    scored: dict[tuple[str, ...], _Scored],
    chosen: _Scored,
    floors: list[float],
    objective: Callable[[_Scored], tuple[float, float, tuple[str, ...]]],
) -> tuple[_Scored, list[_Scored]]:
    """Return the choice at the last of these floors, and all it was chosen from.

    From one floor to the next nothing may draw more on the device than what was chosen before.
    """
    allowed = [chosen]
    for floor in floors:
        allowed = [
            one
            for one in scored.values()
            if one is chosen or (one.quality >= floor and one.hot_j <= chosen.hot_j * (1 + _SLACK))
        ]
        chosen = min(allowed, key=objective)
    return chosen, allowed


def _scored(
    rows: list[Row],
    more: tuple[tuple[str, ...], ...],
    max_stages: int,
    deadline_s: float | None,
) -> dict[tuple[str, ...], _Scored]:
    """Return every chain worth a look, scored, and those of ``more`` whatever they are worth."""
    joules = {row.fit[0]: row.hot_j for row in rows}
    by_name = {row.fit[0]: row.fit for row in rows}
    useful = _chains(_useful(rows), max_stages)
    chains = [one for one in useful if not is_late(one, deadline_s)]
    chains += [tuple([by_name[name] for name in stages]) for stages in more]
    return {one.names: one for one in (_score(chain, joules) for chain in chains)}


def _useful(rows: list[Row]) -> list[Fit]:
    """Return the deployments worth a plan, by rising quality: none beats them in cost or joules.

    It must not depend on the price of heat.
    """
    kept: dict[str, Row] = {}
    for key in (_by_cost, _by_joules):
        best = -1.0
        for row in sorted(rows, key=key):
            if row.fit[1].p_correct > best:
                best = row.fit[1].p_correct
                kept[row.fit[0]] = row
    ordered = sorted(kept.values(), key=lambda row: (row.fit[1].p_correct, row.fit[0]))
    return [row.fit for row in ordered[-_MOST:]]


def _by_cost(row: Row) -> tuple[float, float, str]:
    return row.fit[1].net_usd, -row.fit[1].p_correct, row.fit[0]


def _by_joules(row: Row) -> tuple[float, float, float, str]:
    return row.hot_j, row.fit[1].net_usd, -row.fit[1].p_correct, row.fit[0]


def _chains(fit: list[Fit], max_stages: int) -> Iterator[tuple[Fit, ...]]:
    """Yield every chain of rising quality whose gates can be judged."""
    for size in range(1, min(max_stages, len(fit)) + 1):
        for chain in combinations(fit, size):
            if all(one[2] for one in chain[:-1]):
                yield chain


def _score(chain: tuple[Fit, ...], joules: dict[str, float]) -> _Scored:
    """Return a chain's expected cost, joules and quality, from the last stage to the first."""
    name, last, _ = chain[-1]
    cost, hot_j, quality = last.net_usd, joules[name], last.p_correct
    for name, gate, _ in chain[-2::-1]:
        accept = gate.p_accept or 0.0
        kept = gate.p_correct if gate.p_correct_accepted is None else gate.p_correct_accepted
        cost = gate.net_usd + gate.gate_usd + (1 - accept) * cost
        hot_j = joules[name] + (1 - accept) * hot_j
        rest = lifted(quality, before=gate.p_correct, after=kept)
        quality -= accept * max(0.0, rest - kept)
    return _Scored(chain=chain, cost=cost, hot_j=hot_j, quality=quality)


def _plan(one: _Scored, usd_per_hot_j: float) -> Plan:
    """Return a scored chain as a plan, its cost with the price of heat."""
    energy = one.chain[-1][1].marginal_energy_j
    for _, gate, _ in one.chain[-2::-1]:
        if energy is None or gate.marginal_energy_j is None:
            energy = None
            break
        energy = gate.marginal_energy_j + (1 - (gate.p_accept or 0.0)) * energy
    first = one.chain[0][1]
    return Plan(
        stages=one.names,
        expected_net_usd=one.cost + usd_per_hot_j * one.hot_j,
        expected_energy_j=energy,
        p_correct=one.quality,
        p_escalate=0.0 if len(one.chain) == 1 else 1 - (first.p_accept or 0.0),
    )


def rows_of(seen: View, fit: list[Fit]) -> tuple[list[Row], float]:
    """Return the fit deployments without the price of the limiting device's heat, and that price.

    A device that no deployment is on (a board, a node) is everybody's: all local joules count.
    """
    strain, prepared = seen.strain, seen.prepared
    limiting = None if strain is None else strain.limiting
    everyone = limiting not in prepared.devices
    heat = 0.0 if strain is None else dict(strain.heat).get(limiting or "*", 0.0)
    usd_per_hot_j = heat * seen.usd_per_j
    known = {one.name: one for one in prepared.known}
    rows: list[Row] = []
    for name, estimate, gated in fit:
        hot_j = 0.0
        if known[name].local and (everyone or known[name].deployment.device == limiting):
            hot_j = _joules(known[name], estimate, seen)
        cool = replace(estimate, net_usd=estimate.net_usd - usd_per_hot_j * hot_j)
        rows.append(Row(fit=(name, cool, gated), hot_j=hot_j))
    return rows, usd_per_hot_j


def _joules(known: Known, estimate: Estimate, seen: View) -> float:
    """Return what an answer draws here: as estimated, or as the size of the model has it."""
    if estimate.energy_j is not None:
        return estimate.energy_j
    cached = min(seen.warm.get(known.deployment.name, 0), estimate.input_tokens)
    return known.modelled_j.of(estimate.input_tokens - cached, cached, estimate.output_tokens)


def choose_for(
    seen: View, strain: Strain, fit: list[Fit], *, dial: float, max_stages: int
) -> Strained:
    """Return the plan for a request on a machine under strain."""
    profile = seen.policy.profile
    rows, usd_per_hot_j = rows_of(seen, fit)
    lot = crc32(seen.ask.id.encode()) / 2**32
    bands: tuple[Band, ...] = ("cool", "warm", "hot")
    in_force = band_of(strain, lot)
    return choose_strained(
        rows,
        bounds=tuple(
            [loss_bound(profile, dial, at=one) for one in bands[: bands.index(in_force) + 1]]
        ),
        usd_per_hot_j=usd_per_hot_j * (0.5 + lot),
        min_gain_ratio=profile.min_gain_ratio,
        max_stages=max_stages,
        calmly=_calmly(seen, [row.fit for row in rows], dial=dial, max_stages=max_stages),
        deadline_s=ends_by(seen.ask),
    )


def _calmly(seen: View, fit: list[Fit], *, dial: float, max_stages: int) -> tuple[str, ...] | None:
    """Return the stages of a calm machine; ``None``: those of the least cost, as always.

    ``fit`` is without the price of the limiting device's heat.
    """
    prepared, ask, profile = seen.prepared, seen.ask, seen.policy.profile
    ratio = 0.0 if prepared.lanes is None or ask.turns else prepared.lanes.explore_ratio
    if ask.turns is None and not ratio and not prepared.replicas:
        return None
    max_loss = dial * profile.max_loss_ratio
    chosen, reference, _, _ = choose(
        fit,
        max_loss=max_loss,
        min_gain_ratio=profile.min_gain_ratio,
        max_stages=max_stages,
        deadline_s=ends_by(ask),
    )
    if ask.turns is not None:
        found = whole(seen, fit, chosen, reference, max_loss=max_loss)
        chosen = chosen if found is None else found[0]
    names = chosen.stages
    if prepared.replicas:
        stages = tuple([Stage(deployment=name) for name in names])
        able = [Candidate(deployment=name, estimate=one) for name, one, _ in fit]
        moved, _ = at_replicas(stages, (), tuple(able), prepared.replicas, ask)
        names = tuple([one.deployment for one in moved])
    if ratio > 0 and max_loss > 0 and len(names) == 1:
        arms = arms_for(names[0], fit, ratio=ratio, floor=max_loss)
        names = (drawn(arms, lot_of(seen.policy.id, ask.id)).deployment,)
    return names


def interchangeable(seen: View) -> dict[str, tuple[str, ...]]:
    """Return the replicas that may stand in for each other now.

    Where one device limits, those off it: who is on it was chosen for what it draws.
    """
    replicas, strain = seen.prepared.replicas, seen.strain
    if strain is None or strain.limiting not in seen.prepared.devices or not replicas:
        return replicas
    on = {one.name for one in seen.prepared.known if one.deployment.device == strain.limiting}
    return {
        name: tuple([each for each in names if each not in on])
        for name, names in replicas.items()
        if name not in on
    }


def heat_of(seen: View, fit: list[Fit]) -> Heat | None:
    """Return what each draws on the limiting device and what that costs; ``None``: all is calm."""
    if seen.strain is None:
        return None
    rows, usd_per_hot_j = rows_of(seen, fit)
    return Heat(
        fit=tuple([row.fit for row in rows]),
        hot_j={row.fit[0]: row.hot_j for row in rows},
        usd_per_hot_j=usd_per_hot_j,
    )
