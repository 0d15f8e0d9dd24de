"""Which local models wake and which sleep."""

from hypothesis import given
from hypothesis import strategies as st

from metabolic.core.fleet import FleetSpec, Load, Situation, State
from metabolic.core.metabolic import Level, MetabolicState
from metabolic.decide.provision import (
    Demand,
    Inventory,
    Item,
    Rules,
    Sleep,
    Start,
    Stop,
    Use,
    obstacle,
    provision,
)

RULES = Rules(idle_s=900.0, dwell_s=10.0, retry_s=30.0, reserve_bytes=100)
NOW_S = 10_000.0


def situation(
    *loads: Load, level: Level = "nominal", free: float | None = None, at_s: float = NOW_S
) -> Situation:
    metabolic = MetabolicState(level=level, memory_available_bytes=free)
    fleet = FleetSpec(id="f", deployments=())
    return Situation(at_s=at_s, metabolic=metabolic, fleet=fleet, load=loads)


def item(name: str, state: State, *, need: int | None = 100, since_s: float = 0.0) -> Item:
    order = {"small": 0, "medium": 1, "large": 2}.get(name, 3)
    return Item(deployment=name, state=state, since_s=since_s, memory_bytes=need, order=order)


def brief(actions: tuple[Start | Sleep | Stop, ...]) -> list[tuple[str, str]]:
    return [(type(action).__name__, action.deployment) for action in actions]


def plan(
    *items: Item,
    free: int | None = 10_000,
    uses: tuple[Use, ...] = (),
    now: Situation | None = None,
    rules: Rules = RULES,
) -> list[tuple[str, str]]:
    inventory = Inventory(items=items, free_bytes=free)
    return brief(provision(inventory, Demand(uses=uses), now or situation(), rules))


def used(name: str, ago_s: float) -> Use:
    return Use(deployment=name, last_used_s=NOW_S - ago_s)


def wanted(name: str, since_s: float = NOW_S) -> Use:
    return Use(deployment=name, wanted_since_s=since_s)


def test_the_smallest_model_is_warmed_up_first_and_alone() -> None:
    assert plan(item("large", "stopped"), item("small", "stopped")) == [("Start", "small")]
    assert plan(item("large", "stopped"), item("small", "starting")) == []
    assert plan(item("large", "stopped"), item("small", "warm")) == [("Start", "large")]


def test_warm_up_takes_only_what_fits_and_pushes_nobody_out() -> None:
    small, large = item("small", "warm"), item("large", "stopped", need=500)
    assert plan(small, large, free=599) == []
    assert plan(small, large, free=600) == [("Start", "large")]


def test_memory_that_a_starting_model_will_take_is_not_given_twice() -> None:
    small = item("small", "starting", need=300)
    assert plan(small, item("large", "stopped", need=300), free=600, uses=(wanted("large"),)) == []
    assert plan(small, item("large", "stopped", need=300), free=700, uses=(wanted("large"),)) == [
        ("Start", "large")
    ]


def test_what_somebody_waits_for_starts_before_any_warm_up() -> None:
    items = item("small", "stopped"), item("large", "asleep")
    assert plan(*items, uses=(wanted("large"),)) == [("Start", "large")]


def test_who_waited_longer_gets_the_memory() -> None:
    items = item("small", "asleep", need=300), item("large", "asleep", need=300)
    uses = wanted("small", NOW_S - 1), wanted("large", NOW_S - 2)
    assert plan(*items, free=450, uses=uses) == [("Start", "large")]


def test_the_longest_idle_model_makes_room_for_a_wanted_one() -> None:
    items = item("small", "warm", need=200), item("medium", "warm", need=200)
    uses = used("small", 60), used("medium", 50), wanted("large")
    large = item("large", "asleep", need=250)
    assert plan(*items, large, free=200, uses=uses) == [("Sleep", "small"), ("Start", "large")]


def test_nobody_sleeps_in_vain() -> None:
    small, medium = item("small", "warm", need=50), item("medium", "warm", need=200)
    large = item("large", "asleep", need=250)
    uses = used("small", 60), used("medium", 50), wanted("large")
    assert plan(small, medium, large, free=150, uses=uses) == [
        ("Sleep", "medium"),
        ("Start", "large"),
    ]
    assert plan(small, medium, large, free=60, uses=uses) == []


def test_a_model_just_used_is_not_pushed_out() -> None:
    items = item("small", "warm", need=200), item("large", "asleep", need=250)
    assert plan(*items, free=200, uses=(used("small", 9.0), wanted("large"))) == []
    assert plan(*items, free=200, uses=(used("small", 10.0), wanted("large"))) == [
        ("Sleep", "small"),
        ("Start", "large"),
    ]


def test_an_idle_model_sleeps_but_the_last_warm_one_stays() -> None:
    items = item("small", "warm"), item("large", "warm")
    assert plan(*items, uses=(used("small", 1000), used("large", 899))) == [("Sleep", "small")]
    assert plan(*items, uses=(used("small", 1000), used("large", 2000))) == [("Sleep", "large")]
    assert plan(item("small", "warm")) == []


def test_a_model_with_calls_in_flight_never_sleeps() -> None:
    items = item("small", "warm"), item("large", "warm")
    busy = Use(deployment="large", in_flight=1)
    uses = used("small", 5), busy
    assert plan(*items, uses=uses) == []
    load = Load(deployment="large", running=1)
    assert plan(*items, uses=(used("small", 5),), now=situation(load)) == []


def test_a_sleeping_model_wakes_only_on_demand() -> None:
    items = item("small", "warm"), item("large", "asleep")
    assert plan(*items) == []
    assert plan(*items, uses=(wanted("large"),)) == [("Start", "large")]


def test_when_nothing_is_warm_the_smallest_that_fits_starts_even_in_heat() -> None:
    items = item("small", "asleep", need=5_000), item("large", "asleep", need=300)
    assert plan(*items, free=500, now=situation(level="critical")) == [("Start", "large")]


def test_nothing_is_warmed_up_while_heat_is_critical() -> None:
    items = item("small", "warm"), item("large", "stopped")
    assert plan(*items, now=situation(level="critical")) == []


def test_warm_up_can_be_switched_off() -> None:
    rules = Rules(warm_up=False)
    assert plan(item("small", "stopped", need=1), free=10**12, rules=rules) == []


def test_a_failed_start_is_tried_again_only_after_a_while() -> None:
    def failed(ago_s: float) -> Item:
        return Item(deployment="small", state="failed", since_s=0.0, failed_start_s=NOW_S - ago_s)

    assert plan(failed(29.0), uses=(wanted("small"),)) == []
    assert plan(failed(30.0), uses=(wanted("small"),)) == [("Start", "small")]
    assert plan(failed(29.0), item("large", "stopped")) == [("Start", "large")]


def test_a_model_that_died_is_started_at_once() -> None:
    assert plan(item("small", "failed", since_s=NOW_S)) == [("Start", "small")]


def test_a_model_without_a_file_is_never_started() -> None:
    assert plan(item("small", "absent"), uses=(wanted("small"),)) == []


def test_memory_comes_from_the_situation_when_nobody_else_knows() -> None:
    large = item("large", "asleep", need=500)
    assert plan(large, free=None, now=situation(free=599.0)) == []
    assert plan(large, free=None, now=situation(free=600.0)) == [("Start", "large")]
    assert plan(large, free=None, uses=(wanted("large"),)) == [("Start", "large")]


def test_a_model_of_unknown_size_may_start_and_one_that_takes_nothing_never_sleeps() -> None:
    assert plan(item("small", "stopped", need=None)) == [("Start", "small")]
    assert (
        plan(item("small", "warm"), item("large", "warm", need=0), uses=(used("small", 1),)) == []
    )


def test_when_memory_runs_short_the_longest_idle_sleeps_early() -> None:
    items = item("small", "warm"), item("large", "warm")
    uses = used("small", 20), used("large", 30)
    assert plan(*items, free=60, uses=uses) == []
    assert plan(*items, free=40, uses=uses) == [("Sleep", "large")]


def test_a_retired_model_stops_once_its_calls_are_done() -> None:
    gone = Item(deployment="old", state="warm", since_s=0.0, retired=True)
    assert plan(gone, item("small", "warm")) == [("Stop", "old")]
    busy = Use(deployment="old", in_flight=1)
    assert plan(gone, item("small", "warm"), uses=(busy,)) == []
    stopped = Item(deployment="old", state="stopped", since_s=0.0, retired=True)
    assert plan(stopped, item("small", "warm")) == []


def test_an_obstacle_says_why_and_whether_waiting_helps() -> None:
    small = item("small", "warm", need=300)
    large = item("large", "asleep", need=500)
    inventory = Inventory(items=(small, large), free_bytes=400)
    block = obstacle(inventory, "large", situation(), RULES)
    assert block is not None
    assert not block.final
    assert "needs 0 MB" in block.why
    never = obstacle(Inventory(items=(large,), free_bytes=400), "large", situation(), RULES)
    assert never is not None
    assert never.final
    assert obstacle(inventory, "small", situation(), RULES) is None


def test_an_obstacle_is_final_for_the_unknown_the_absent_and_the_just_failed() -> None:
    failed = Item(deployment="bad", state="failed", since_s=0.0, failed_start_s=NOW_S - 1)
    gone = Item(deployment="old", state="warm", since_s=0.0, retired=True)
    inventory = Inventory(items=(item("small", "absent"), failed, gone, item("large", "asleep")))
    for name in ("small", "bad", "old", "nobody"):
        block = obstacle(inventory, name, situation(), RULES)
        assert block is not None
        assert block.final
    assert obstacle(inventory, "large", situation(), RULES) is None


NAMES = ("a", "b", "c", "d", "e")
STATES: tuple[State, ...] = ("absent", "stopped", "starting", "warm", "asleep", "failed")
times = st.floats(min_value=0.0, max_value=NOW_S)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Inventory, Demand, Situation, Rules]:
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=5))
    items = tuple(
        Item(
            deployment=name,
            state=draw(st.sampled_from(STATES)),
            since_s=draw(times),
            failed_start_s=draw(st.none() | times),
            memory_bytes=draw(st.none() | st.integers(0, 1000)),
            order=draw(st.integers(0, 3)),
            retired=draw(st.integers(0, 9)) == 0,
        )
        for name in names
    )
    uses = tuple(
        Use(
            deployment=name,
            last_used_s=draw(st.none() | times),
            in_flight=draw(st.sampled_from((0, 0, 1))),
            wanted_since_s=draw(st.none() | times),
        )
        for name in names
    )
    loads = tuple(Load(deployment=name, running=draw(st.sampled_from((0, 0, 2)))) for name in names)
    level: Level = draw(st.sampled_from(("unknown", "nominal", "elevated", "critical")))
    inventory = Inventory(items=items, free_bytes=draw(st.none() | st.integers(0, 3000)))
    rules = Rules(
        idle_s=draw(st.sampled_from((0.0, 60.0, 900.0))),
        reserve_bytes=draw(st.integers(0, 500)),
        warm_up=draw(st.booleans()),
    )
    return inventory, Demand(uses=uses), situation(*loads, level=level), rules


World = tuple[Inventory, Demand, Situation, Rules]


@given(worlds())
def test_every_model_gets_at_most_one_action_that_fits_its_state(world: World) -> None:
    actions = provision(*world)
    states = {one.deployment: one.state for one in world[0].items}
    assert len({action.deployment for action in actions}) == len(actions)
    for action in actions:
        match action:
            case Start():
                assert states[action.deployment] in {"stopped", "asleep", "failed"}
            case Sleep():
                assert states[action.deployment] == "warm"
            case Stop():
                assert states[action.deployment] not in {"stopped", "absent"}


@given(worlds())
def test_nothing_starts_that_does_not_fit_above_the_reserve(world: World) -> None:
    inventory, _, _, rules = world
    if inventory.free_bytes is None:
        return
    needs = {one.deployment: one.memory_bytes or 0 for one in inventory.items}
    pending = sum(needs[one.deployment] for one in inventory.items if one.state == "starting")
    actions = provision(*world)
    freed = sum(needs[one.deployment] for one in actions if isinstance(one, Sleep))
    taken = sum(needs[one.deployment] for one in actions if isinstance(one, Start))
    if any(needs[one.deployment] for one in actions if isinstance(one, Start)):
        assert taken + pending + rules.reserve_bytes <= inventory.free_bytes + freed


@given(worlds())
def test_nothing_with_calls_in_flight_or_waiters_is_put_to_sleep_or_stopped(world: World) -> None:
    _, demand, now, _ = world
    busy = {use.deployment for use in demand.uses if use.in_flight}
    busy |= {load.deployment for load in now.load if load.running}
    awaited = {use.deployment for use in demand.uses if use.wanted_since_s is not None}
    for action in provision(*world):
        if not isinstance(action, Start):
            assert action.deployment not in busy
        if isinstance(action, Sleep):
            assert action.deployment not in awaited


@given(worlds())
def test_the_last_warm_model_sleeps_only_for_one_that_starts(world: World) -> None:
    warm = {one.deployment for one in world[0].items if one.state == "warm" and not one.retired}
    actions = provision(*world)
    asleep = {action.deployment for action in actions if isinstance(action, Sleep)}
    if warm and warm <= asleep:
        assert any(isinstance(action, Start) for action in actions)


@given(worlds(), st.randoms(use_true_random=False))
def test_the_order_of_inventory_and_demand_does_not_matter(world: World, random: object) -> None:
    inventory, demand, now, rules = world
    items, uses = list(inventory.items), list(demand.uses)
    random.shuffle(items)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    random.shuffle(uses)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    shuffled = Inventory(items=tuple(items), free_bytes=inventory.free_bytes)
    assert provision(shuffled, Demand(uses=tuple(uses)), now, rules) == provision(*world)


@given(worlds())
def test_what_starts_had_no_obstacle_but_room_that_others_make(world: World) -> None:
    inventory, _, now, rules = world
    actions = provision(*world)
    for action in actions:
        if isinstance(action, Start):
            block = obstacle(inventory, action.deployment, now, rules)
            assert block is None or not block.final


@given(st.integers(0, 2000), st.lists(st.sampled_from(("", "a", "b", "c")), max_size=40))
def test_a_day_of_demand_never_flaps_an_idle_fleet(free: int, demands: list[str]) -> None:
    """What slept for idleness stays asleep until somebody asks; nobody starts twice in a row."""
    need = 300
    states: dict[str, State] = dict.fromkeys(("a", "b", "c"), "stopped")
    last: dict[str, float] = dict.fromkeys(states, 0.0)
    at_s = 0.0
    for asked in demands:
        at_s += 400.0
        up = sum(state == "warm" for state in states.values()) * need
        items = tuple(
            Item(deployment=name, state=state, since_s=last[name], memory_bytes=need)
            for name, state in states.items()
        )
        inventory = Inventory(items=items, free_bytes=max(0, free - up))
        uses = (wanted(asked, at_s),) if asked else ()
        for action in provision(inventory, Demand(uses=uses), situation(at_s=at_s), RULES):
            was = states[action.deployment]
            if isinstance(action, Start):
                assert (
                    was != "asleep" or action.deployment == asked or "warm" not in states.values()
                )
            states[action.deployment] = "warm" if isinstance(action, Start) else "asleep"
            last[action.deployment] = at_s
        if asked and states[asked] == "warm":
            last[asked] = at_s
        assert sum(state == "warm" for state in states.values()) * need <= max(0, free - 100)
