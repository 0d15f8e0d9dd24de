"""The whole decision on tables of outcomes: ``decide`` itself chooses, with the table in force.

Prices a token are set so that each model's expected costs average to what its calls cost on the
training questions; what is then paid is what the call did cost.
"""

__all__ = ["Decided", "decided"]

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from metabolic.bench.router_lanes import Placed, listed, said_by_heads, table_of
from metabolic.bench.router_lanewise import worst
from metabolic.core.decision import Policy
from metabolic.core.fleet import Deployment, FleetSpec, Model, Price, Situation
from metabolic.core.metabolic import MetabolicState
from metabolic.decide.decide import decide
from metabolic.decide.estimate import prepare
from metabolic.decide.profiles import profile
from metabolic.train.families import active_parameters, tier_of
from metabolic.train.outcomes import Outcomes

Matrix = NDArray[np.float64]
Index = NDArray[np.int64]

_OUTPUT_WEIGHT = 4.0
"""An output token's price in input tokens, where only the cost of the whole call is known."""


class Decided(Struct, frozen=True, kw_only=True):
    """What the decisions gave, against the best single model of the training questions."""

    cost_ratio: float
    loss: float
    worst_lane_loss: float
    strong: float


def decided(  # noqa: PLR0913 - a split, and how it is decided
    where: Placed,
    outcomes: Outcomes,
    costs: Matrix,
    train: Index,
    test: Index,
    *,
    profile_name: str,
    heads: Matrix | None = None,
) -> Decided:
    """Decide every question of ``test`` by the table made of ``train``, at the profile's dial."""
    policy = Policy(
        id="bench",
        profile=profile(profile_name),
        lanes=table_of(where, outcomes, train),
        max_stages=1,
    )
    fleet = _fleet(where, outcomes.models, costs, train)
    situation = Situation(at_s=0.0, metabolic=MetabolicState(), fleet=fleet)
    prepared = prepare(fleet, policy)
    place = {name: j for j, name in enumerate(outcomes.models)}
    best = int(np.argmax(outcomes.scores[train].mean(axis=0)))
    picks: list[int] = []
    for row, i in enumerate(listed(test)):
        signals = where.signals[i]
        if heads is not None:
            said = said_by_heads(heads[row], outcomes.models, len(train))
            signals = replace(signals, p_correct=said)
        made = decide(where.asks[i], signals, situation, policy, prepared=prepared)
        name = made.stages[0].deployment if made.stages else None
        picks.append(best if name is None else place[name])
    every = np.asarray(picks)
    lost = outcomes.scores[test, best] - outcomes.scores[test, every]
    usual = float(costs[test, best].mean()) or 1.0
    return Decided(
        cost_ratio=float(costs[test, every].mean()) / usual,
        loss=float(lost.mean()),
        worst_lane_loss=worst(lost, [where.paths[i][0] for i in listed(test)]),
        strong=float((every == best).mean()),
    )


def _fleet(where: Placed, models: tuple[str, ...], costs: Matrix, train: Index) -> FleetSpec:
    """Return the models as remote deployments whose prices give their mean costs."""
    rows = listed(train)
    tokens = [
        where.asks[i].input_tokens + _OUTPUT_WEIGHT * where.signals[i].expected_output_tokens
        for i in rows
    ]
    usd = costs[train].mean(axis=0) / (sum(tokens) / len(rows))
    return FleetSpec(
        id="bench",
        deployments=tuple(
            Deployment(
                name=name,
                model=Model(
                    id=name,
                    tier=tier_of(name) or "medium",
                    active_parameters=int(active_parameters(name) or 0) or None,
                ),
                price=Price(
                    input_usd_per_token=float(usd[j]),
                    output_usd_per_token=_OUTPUT_WEIGHT * float(usd[j]),
                ),
                capabilities=("chat",),
            )
            for j, name in sorted(enumerate(models), key=lambda pair: pair[1])
        ),
    )
