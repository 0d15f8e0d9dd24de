"""As many replicas stay up as are needed; the others leave, and sleep when that pays."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from metabolic.core.fleet import FleetSpec, Situation, State
from metabolic.core.metabolic import MetabolicState
from metabolic.decide.consolidate import Rate, Replica, follow, moves
from metabolic.decide.herds import herds, leaving
from metabolic.decide.inventory import rows_of
from metabolic.decide.provision import (
    Demand,
    Inventory,
    Item,
    Rules,
    Traits,
    Use,
    provision,
)

NOW_S = 10_000.0
RULES = Rules(idle_s=900.0, dwell_s=10.0, retry_s=30.0, reserve_bytes=0)
NOW = Situation(at_s=NOW_S, metabolic=MetabolicState(), fleet=FleetSpec(id="f", deployments=()))
PAYS = Traits(group="g", rate_per_s=10.0, idle_w=110.0, asleep_w=10.0, wake_s=5.0, wake_j=6000.0)
"""Sleep pays after a minute."""


def replica(name: str, state: State = "warm", traits: Traits = PAYS, **more: Any) -> Item:
    return Item(deployment=name, state=state, since_s=0.0, traits=traits, warm_up=False, **more)


def use(name: str, per_s: float, ago_s: float = 5.0, in_flight: int = 0) -> Use:
    return Use(deployment=name, last_used_s=NOW_S - ago_s, per_s=per_s, in_flight=in_flight)


def told(items, uses, rooms=()):
    inventory, demand = Inventory(items=tuple(items), rooms=rooms), Demand(uses=tuple(uses))
    actions = provision(inventory, demand, NOW, RULES)
    return (
        [(type(one).__name__, one.deployment) for one in actions],
        leaving(inventory, demand, NOW),
    )


def test_a_rate_that_one_can_do_lets_the_other_leave_and_sleep_once_that_pays():
    both = [replica("a"), replica("b")]
    assert told(both, [use("a", 2.0), use("b", 2.0, ago_s=30.0)]) == ([], {"b"})
    assert told(both, [use("a", 4.0), use("b", 0.0, ago_s=61.0)]) == ([("Sleep", "b")], {"b"})


def test_one_with_work_leaves_last_and_does_not_sleep():
    both = [replica("a"), replica("b")]
    busy = use("b", 0.0, ago_s=99.0, in_flight=1)
    assert told(both, [use("a", 4.0), busy]) == ([], {"a"})


def test_a_rate_that_one_cannot_do_wakes_the_other_before_anybody_waits():
    items = [replica("a"), replica("b", "asleep")]
    assert told(items, [use("a", 9.0), use("b", 0.0)]) == ([("Start", "b")], frozenset())


def test_the_last_of_a_herd_is_left_up_for_the_longer_idle_time():
    items = [replica("a"), replica("z", traits=Traits())]
    recent = use("z", 0.0)
    assert told(items, [use("a", 0.0, ago_s=600.0), recent])[0] == []
    assert told(items, [use("a", 0.0, ago_s=901.0), recent])[0] == [("Sleep", "a")]


def test_without_any_calls_one_of_a_herd_still_gets_work():
    both = [replica("a"), replica("b")]
    assert told(both, [use("a", 0.0), use("b", 0.0, ago_s=30.0)]) == ([], {"b"})
    down = [replica("a", "asleep"), replica("b", "asleep")]
    assert told(down, [use("a", 0.0), use("b", 0.0)]) == ([], frozenset())


def test_so_many_stay_awake_whatever_the_rate():
    both = [replica(name, traits=Traits(group="g", least=2)) for name in "ab"]
    assert told(both, [use("a", 0.0, 5000.0), use("b", 0.0, 5000.0)]) == ([], frozenset())
    fallen = [both[0], replica("b", "asleep", traits=Traits(group="g", least=2))]
    assert told(fallen, [use("a", 0.0), use("b", 0.0)])[0] == [("Start", "b")]


def test_nobody_leaves_where_sleep_saves_nothing_or_nothing_is_known():
    for traits in (
        Traits(group="g", rate_per_s=10.0),
        Traits(group="g", rate_per_s=10.0, idle_w=10.0, asleep_w=10.0, wake_j=1.0),
        Traits(group="g", idle_w=110.0, asleep_w=10.0, wake_j=60.0),
    ):
        both = [replica(name, traits=traits) for name in "ab"]
        assert told(both, [use("a", 0.1), use("b", 0.0, ago_s=90.0)]) == ([], frozenset())


def test_sleep_that_does_not_pay_yet_waits_longer_than_idleness_alone():
    dear = Traits(idle_w=20.0, asleep_w=10.0, wake_j=20_000.0)
    items = [replica("a", traits=dear), replica("b", traits=Traits())]
    assert told(items, [use("a", 0.0, ago_s=1500.0), use("b", 0.0)])[0] == []
    assert told(items, [use("a", 0.0, ago_s=2001.0), use("b", 0.0)])[0] == [("Sleep", "a")]


def test_one_that_could_not_be_put_to_sleep_is_left_alone_for_a_while():
    stubborn = replica("b", failed_sleep_s=NOW_S - 100.0)
    assert told([replica("a"), stubborn], [use("a", 1.0), use("b", 0.0, ago_s=99.0)])[0] == []
    again = replica("b", failed_sleep_s=NOW_S - 301.0)
    found = told([replica("a"), again], [use("a", 1.0), use("b", 0.0, ago_s=99.0)])[0]
    assert found == [("Sleep", "b")]


def test_memory_is_counted_by_room():
    up = replica("a", traits=Traits(), room="nvidia0", memory_bytes=80)
    cold = replica("b", "asleep", traits=Traits(), room="nvidia0", memory_bytes=80)
    else_where = replica("c", traits=Traits(), room="nvidia1", memory_bytes=80)
    idle = [use("a", 0.0, 20.0), use("c", 0.0, 500.0)]
    wanted = Use(deployment="b", wanted_since_s=NOW_S)
    rooms = (("nvidia0", 10), ("nvidia1", 10))
    actions, _ = told([up, cold, else_where], [*idle, wanted], rooms)
    assert actions == [("Sleep", "a"), ("Start", "b")]


def test_a_hand_is_not_warmed_up():
    assert told([replica("a", "stopped", traits=Traits())], [])[0] == []


def test_a_rise_of_the_rate_is_seen_soon_and_a_fall_late():
    rate = Rate()
    for _ in range(30):
        rate = follow(rate, 5, 1.0)
    assert rate.per_s > 3.5
    for _ in range(30):
        rate = follow(rate, 0, 1.0)
    assert 0.8 < rate.per_s < 3.5


@given(
    st.lists(st.tuples(st.booleans(), st.booleans(), st.floats(0, 1e4)), min_size=1, max_size=8),
    st.integers(0, 8),
)
def test_moves_bring_a_pool_to_what_is_wanted_and_never_put_work_to_sleep(parts, wanted):
    replicas = [
        Replica(name=str(n), up=up, busy=busy and up, idle_s=idle_s)
        for n, (up, busy, idle_s) in enumerate(parts)
    ]
    found = moves(replicas, wanted, idle_s=60.0)
    up = sum(one.up for one in replicas)
    assert up + len(found.wake) - len(found.leave) == min(max(wanted, 0), len(replicas)) or (
        wanted > len(replicas) and not found.leave
    )
    assert set(found.sleep) <= set(found.leave)
    assert not any(one.busy for one in replicas if one.name in found.sleep)
    assert not (found.wake and found.leave)


def test_herds_say_what_they_are():
    items = (replica("a"), replica("b"))
    rows = rows_of(Inventory(items=items), Demand(uses=(use("a", 9.0), use("b", 3.0))), NOW)
    (found,) = herds(rows)
    assert (found.members, found.awake, found.wanted, found.pays_after_s) == (
        ("a", "b"),
        2,
        2,
        60.0,
    )
