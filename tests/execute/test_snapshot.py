"""The latest state of everything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from metabolic.core.metabolic import MetabolicState
from metabolic.core.request import Ask
from metabolic.core.signals import Signals
from metabolic.decide.estimate import estimate, prepare, view
from metabolic.execute.clock import ManualClock
from metabolic.execute.health import Health
from metabolic.execute.snapshot import Snapshot, coarse
from metabolic.execute.waking import Wake
from metabolic.testing.fleets import deployment, fleet_of, policy_of


def test_running_and_waiting_are_told_apart_by_slots():
    clock = ManualClock()
    fleet = fleet_of(deployment("a"))
    snapshot = Snapshot(fleet, clock=clock, health=Health(clock), states=lambda: (("a", "warm"),))
    for _ in range(3):
        snapshot.began("a")
    load = snapshot.situation().load[0]
    assert (load.state, load.running, load.waiting) == ("warm", 1, 2)


def test_a_state_a_decision_cannot_tell_from_the_last_is_not_taken_over():
    clock = ManualClock()
    snapshot = Snapshot(fleet_of(), clock=clock, health=Health(clock), states=lambda: ())
    snapshot.see(MetabolicState(headroom_c=20.1))
    first = snapshot.metabolic
    snapshot.see(MetabolicState(headroom_c=20.2))
    assert snapshot.metabolic is first
    snapshot.see(MetabolicState(headroom_c=22.0))
    assert snapshot.metabolic.headroom_c == pytest.approx(22.0)


@given(st.none() | st.floats(-50, 150), st.none() | st.floats(0, 1))
def test_coarse_keeps_unknown_unknown_and_is_stable(headroom_c, risk):
    state = MetabolicState(headroom_c=headroom_c, throttle_risk_ratio=risk)
    once = coarse(state)
    assert coarse(once) == once
    assert (once.headroom_c is None) == (headroom_c is None)
    assert (once.throttle_risk_ratio is None) == (risk is None)


def test_what_meters_learn_is_in_the_load_to_two_digits():
    seen = Snapshot(
        fleet_of(deployment("a"), deployment("b")),
        clock=ManualClock(),
        health=Health(ManualClock()),
        states=lambda: (),
    )
    seen.learn({"a": 2.3456}, {"a": 1.0, "b": 0.1234})
    loads = {one.deployment: one for one in seen.loads()}
    assert (loads["a"].energy_ratio, loads["a"].batch_exponent) == (2.3, None)
    assert (loads["b"].energy_ratio, loads["b"].batch_exponent) == (None, 0.12)


def test_measured_wakes_are_in_the_load_and_come_before_what_was_foreseen():
    seen = Snapshot(
        fleet_of(deployment("a")),
        clock=ManualClock(),
        health=Health(ManualClock()),
        states=lambda: (("a", "asleep"),),
    )
    woke = Wake(deployment="a", seconds=7.123, joules=123.4, origin="measured")
    seen.pace({}, {}, {"a": woke}, frozenset({"a"}))
    load = seen.loads()[0]
    assert (load.wake_s, load.limit, load.tpot_s) == (7.1, None, None)
    assert (load.wake_j, load.wake_j_origin, load.leaving) == (120.0, "measured", True)
    known = prepare(fleet_of(deployment("a")), policy_of()).known[0]
    asked = view(
        Ask(id="r", at_s=0.0), Signals(), MetabolicState(), prepare(seen.fleet, policy_of())
    )
    cold = estimate(asked, known, load)
    assert cold.ttft_s == pytest.approx(7.1)
    warm = estimate(asked, known, replace(load, state="warm"))
    assert cold.marginal_energy_j == pytest.approx((warm.marginal_energy_j or 0.0) + 120.0)
    assert cold.net_usd > warm.net_usd
