"""One dial: thrift never costs more, whatever the fleet, its variants and the evidence."""

import itertools

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from metabolic.core.decision import Belief
from metabolic.core.fleet import Price, Variant
from metabolic.core.lanes import LaneTable, Tally
from metabolic.core.request import Ask
from metabolic.core.signals import Signals
from metabolic.decide.decide import decide
from metabolic.decide.digest import sealed
from metabolic.decide.variants import key_of
from metabolic.testing.fleets import deployment, policy_of, situation_of

replace = msgspec.structs.replace

LANE = "open_qa/plain/medium"
SIGNALS = Signals(task="open_qa", lane="open_qa", expected_output_tokens=150)
EFFORTS = (
    Variant(name="low", reasoning_effort="low"),
    Variant(name="high", reasoning_effort="high"),
    Variant(name="short", max_output_tokens=60),
)


@st.composite
def worlds(draw):
    """Return a fleet and a policy: sizes, prices, variants, beliefs and lanes at random."""
    fleet, beliefs, tallies = [], [], []
    for number in range(draw(st.integers(1, 4))):
        name = f"m{number}"
        usd = draw(st.floats(1e-8, 1e-5))
        price = Price(input_usd_per_token=usd, output_usd_per_token=4 * usd)
        size = draw(st.sampled_from([500_000_000, 3_000_000_000, 70_000_000_000]))
        variants = tuple(draw(st.lists(st.sampled_from(EFFORTS), unique=True, max_size=2)))
        here = deployment(name, parameters=size, price=draw(st.sampled_from([None, price])))
        fleet.append(replace(here, variants=variants))
        if draw(st.booleans()):
            beliefs.append(
                Belief(
                    deployment=name,
                    lane="*",
                    p_correct=draw(st.floats(0.2, 0.99)),
                    p_accept=draw(st.floats(0.05, 0.95)),
                    p_correct_accepted=draw(st.floats(0.2, 0.999)),
                    evidence=draw(st.integers(0, 1000)),
                )
            )
        tallies += [
            Tally(
                lane=LANE,
                deployment=name,
                variant=variant,
                labels=labels,
                correct=labels * draw(st.floats(0, 1)),
            )
            for variant in (None, *(one.name for one in variants))
            if (labels := float(draw(st.integers(0, 300))))
        ]
    lanes = LaneTable(tallies=tuple(tallies)) if tallies and draw(st.booleans()) else None
    profile = replace(
        policy_of().profile,
        max_loss_ratio=draw(st.floats(0, 0.3)),
        min_gain_ratio=draw(st.floats(0, 0.2)),
    )
    policy = replace(policy_of(), profile=profile, beliefs=tuple(beliefs), lanes=lanes)
    return fleet, sealed(policy)


def cost_usd(made) -> float:
    """Return the expected net cost of what was chosen."""
    names = tuple(key_of(one.deployment, one.variant) for one in made.stages)
    for plan in made.plans:
        if plan.stages == names:
            return plan.expected_net_usd
    (name,) = names
    return next(
        one.estimate.net_usd
        for one in made.candidates
        if one.estimate is not None and key_of(one.deployment, one.variant) == name
    )


@settings(max_examples=150, deadline=None)
@given(worlds(), st.lists(st.floats(0, 1), min_size=2, max_size=5))
def test_a_thriftier_dial_never_costs_more(world, dials):
    fleet, policy = world
    costs = [
        cost_usd(
            decide(
                Ask(id="r", at_s=1.0, input_tokens=200, preference=dial),
                SIGNALS,
                situation_of(*fleet),
                policy,
            )
        )
        for dial in sorted(dials)
    ]
    for before, after in itertools.pairwise(costs):
        assert after <= before * (1 + 1e-9)
