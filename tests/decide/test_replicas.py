"""Which of several replicas answers."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from metabolic.core.decision import Candidate, Estimate, Stage
from metabolic.core.fleet import Load, Model
from metabolic.core.request import Ask
from metabolic.core.signals import Signals
from metabolic.decide.decide import decide
from metabolic.decide.replicas import placed, siblings
from metabolic.testing.fleets import deployment, policy_of, situation_of

BOTH = {"a": ("a", "b"), "b": ("a", "b")}


def candidate(name, ttft_s, energy_j, rejected=None):
    estimate = Estimate(
        input_tokens=10,
        output_tokens=100,
        ttft_s=ttft_s,
        tpot_s=0.01,
        marginal_energy_j=energy_j,
    )
    return Candidate(deployment=name, estimate=estimate, rejected=rejected)


def where(*candidates, deadline_s=None):
    return placed((Stage(deployment="a"),), candidates, BOTH, deadline_s=deadline_s)[0].deployment


def test_in_time_the_fewest_joules_win():
    assert where(candidate("a", 1.0, 9.0), candidate("b", 2.5, 5.0), deadline_s=10.0) == "b"


def test_who_would_be_late_does_not_win_by_joules():
    assert where(candidate("a", 1.0, 9.0), candidate("b", 8.0, 5.0), deadline_s=10.0) == "a"


def test_without_a_deadline_only_those_nearly_as_soon_count():
    assert where(candidate("a", 1.0, 9.0), candidate("b", 1.2, 5.0)) == "b"
    assert where(candidate("a", 1.0, 9.0), candidate("b", 5.0, 5.0)) == "a"


def test_equal_joules_leave_it_to_time():
    assert where(candidate("a", 2.0, 5.1), candidate("b", 1.0, 5.0), deadline_s=60.0) == "b"


def test_nobody_in_time_leaves_the_soonest():
    assert where(candidate("a", 90.0, 1.0), candidate("b", 50.0, 9.0), deadline_s=10.0) == "b"


def test_one_that_is_rejected_is_not_taken():
    assert where(candidate("a", 5.0, 9.0), candidate("b", 0.1, 1.0, "not answering")) == "a"


def test_two_stages_never_meet_at_one_replica():
    stages = (Stage(deployment="a"), Stage(deployment="b"))
    found = placed(stages, (candidate("a", 1.0, 5.0), candidate("b", 1.0, 5.0)), BOTH)
    assert sorted(one.deployment for one in found) == ["a", "b"]


def test_one_that_is_leaving_gets_nothing_while_another_can():
    both = (candidate("a", 0.1, 1.0), candidate("b", 5.0, 9.0))
    moved = placed((Stage(deployment="a"),), both, BOTH, leaving=frozenset("a"))
    assert moved[0].deployment == "b"
    alone = (candidate("a", 0.1, 1.0), candidate("b", 0.1, 1.0, "not answering"))
    stays = placed((Stage(deployment="a"),), alone, BOTH, leaving=frozenset("ab"))
    assert stays[0].deployment == "a"


def test_a_decision_goes_around_a_replica_that_is_to_sleep_and_keeps_it_to_fall_back_on():
    twins = [replace(deployment(name), model=Model(id="m", tier="tiny")) for name in "ab"]
    loads = tuple(Load(deployment=name, leaving=name == "a") for name in "ab")
    found = decide(
        Ask(id="q", at_s=0.0, input_tokens=10),
        Signals(),
        replace(situation_of(*twins), load=loads),
        policy_of(),
    )
    assert [one.deployment for one in found.stages] == ["b"]
    assert [one.deployment for one in found.fallbacks] == ["a"]


def test_two_pools_of_one_model_are_no_replicas():
    pools = [
        replace(deployment(name), kind="pool", model=Model(id="m", tier="tiny")) for name in "ab"
    ]
    assert siblings(pools) == {}
    assert siblings([replace(one, kind="server") for one in pools]) == BOTH


def test_siblings_are_of_one_model_and_can_do_the_same():
    twins = [replace(deployment(name), model=Model(id="m", tier="tiny")) for name in "ab"]
    other = replace(twins[0], name="c", capabilities=("chat",))
    assert siblings([*twins, other, deployment("d")]) == BOTH


def test_a_decision_goes_to_the_replica_that_is_free():
    twins = [
        replace(deployment(name), model=Model(id="m", tier="tiny", active_parameters=500_000_000))
        for name in "ab"
    ]
    busy: dict[str, Any] = {"tpot_s": 0.02, "ttft_s": 0.1, "ttft_per_token_s": 0.001}
    loads = (
        Load(deployment="a", running=1, waiting=3, **busy),
        Load(deployment="b", running=0, **busy),
    )
    situation = situation_of(*twins, load=loads)
    found = decide(Ask(id="r", at_s=0.0, input_tokens=50), Signals(), situation, policy_of())
    assert found.stages[0].deployment == "b"


@given(
    st.lists(
        st.tuples(st.none() | st.floats(0, 100), st.none() | st.floats(0, 100)),
        min_size=2,
        max_size=2,
    ),
    st.none() | st.floats(0.1, 100),
)
def test_the_place_is_always_a_replica_whatever_is_unknown(figures, deadline_s):
    made = [candidate(name, *pair) for name, pair in zip("ab", figures, strict=True)]
    assert where(*made, deadline_s=deadline_s) in {"a", "b"}
