"""Each impact of the machine's state on decisions, by its name."""

import pytest
from msgspec.structs import replace

from metabolic.core.decision import Belief, Decision
from metabolic.core.fleet import Deployment, Price
from metabolic.core.metabolic import DeviceRisk, Level, MetabolicState, Profile
from metabolic.core.request import Ask
from metabolic.core.signals import Signals
from metabolic.decide.decide import decide
from metabolic.decide.impacts import keeping, slots, speculation, strain_of, thrift
from metabolic.decide.profiles import PROFILES, profile
from metabolic.decide.provision import Demand, Inventory, Item, Rules, Sleep, Use, provision
from metabolic.testing.fleets import deployment, policy_of, situation_of

EDGE = profile("edge")
TINY = deployment("tiny", parameters=500_000_000, decode_tokens_per_s=60.0)
SMALL = replace(
    deployment("small", parameters=2_000_000_000, decode_tokens_per_s=20.0),
    memory_bytes=2_000_000_000,
)
LARGE = replace(
    deployment("large", parameters=30_000_000_000, decode_tokens_per_s=4.0),
    memory_bytes=20_000_000_000,
)
FLEET = (TINY, SMALL, LARGE)
BELIEFS = tuple(
    Belief(deployment=name, lane="*", p_correct=p, evidence=10_000)
    for name, p in (("tiny", 0.66), ("small", 0.83), ("large", 0.90))
)


def _risky(level: Level, risk: float) -> MetabolicState:
    return MetabolicState(
        level=level,
        throttle_risk_ratio=risk,
        limiting="cpu",
        risks=(DeviceRisk(device="cpu", risk_ratio=risk),),
    )


def _decide(
    state: MetabolicState,
    *fleet: Deployment,
    profile: Profile = EDGE,
    preference: float | None = None,
    p_complex: float = 0.2,
) -> Decision:
    return decide(
        Ask(id="a", at_s=1.0, input_tokens=200, preference=preference),
        Signals(p_simple=0.8 - p_complex, p_medium=0.2, p_complex=p_complex),
        situation_of(*(fleet or FLEET), metabolic=state),
        policy_of(*BELIEFS, profile=profile),
    )


def _stages(decision: Decision) -> list[str]:
    return [one.deployment for one in decision.stages]


def test_a_calm_or_unknown_machine_has_no_strain() -> None:
    for state in (
        MetabolicState(),
        MetabolicState(level="nominal", throttle_risk_ratio=0.0, headroom_c=40.0),
        MetabolicState(level="nominal", memory_level="nominal", power_level="nominal"),
        MetabolicState(battery_ratio=0.5, on_battery=False),
    ):
        assert strain_of(state, EDGE) is None


def test_temperature_near_throttling_takes_smaller_models() -> None:
    steps: tuple[tuple[Level, float], ...] = (
        ("nominal", 0.0),
        ("elevated", 0.2),
        ("critical", 0.8),
    )
    chosen = [_stages(_decide(_risky(level, risk))) for level, risk in steps]
    assert chosen == [["large"], ["small"], ["tiny"]]
    hot = _decide(_risky("critical", 0.8))
    assert hot.reasons[0].startswith("hot: ")


def test_a_client_that_asks_for_quality_gets_it_whatever_the_heat() -> None:
    assert _stages(_decide(_risky("critical", 0.9), preference=0.0)) == ["large"]


@pytest.mark.parametrize(
    ("name", "state", "wanted"),
    [
        ("edge", MetabolicState(), None),
        ("edge", MetabolicState(level="nominal", headroom_c=30.0), True),
        ("edge", MetabolicState(level="nominal", headroom_c=15.0), False),
        ("edge", MetabolicState(level="elevated", headroom_c=8.0), False),
        ("datacenter", MetabolicState(level="nominal", headroom_c=12.0), True),
        ("datacenter", MetabolicState(level="critical", headroom_c=2.0), False),
        ("datacenter", MetabolicState(level="nominal", power_level="critical"), False),
        ("mcu", MetabolicState(level="nominal", headroom_c=60.0), False),
    ],
)
def test_high_headroom_allows_speculation(
    name: str,
    state: MetabolicState,
    wanted: bool | None,  # noqa: FBT001 - a column of the table
) -> None:
    found = speculation(state, profile(name))
    assert (None if found is None else found.wanted) is wanted
    assert _decide(state, profile=profile(name)).speculation == found


def test_on_battery_efficiency_goes_before_quality() -> None:
    full = MetabolicState(on_battery=True, battery_ratio=1.0)
    low = MetabolicState(on_battery=True, battery_ratio=0.21)
    middle = replace(low, battery_ratio=0.6)
    assert [thrift(one, EDGE) for one in (full, middle, low)] == pytest.approx([0.0, 0.5, 0.9875])
    close = replace(BELIEFS[2], p_correct=0.87)
    policy = policy_of(*BELIEFS[:2], close, profile=EDGE)
    ask = Ask(id="a", at_s=1.0, input_tokens=200)
    signals = Signals(p_simple=0.6, p_medium=0.2, p_complex=0.2)
    chosen = [
        _stages(decide(ask, signals, situation_of(*FLEET, metabolic=one), policy))
        for one in (full, low)
    ]
    assert chosen == [["large"], ["small"]]
    assert thrift(replace(low, on_battery=False), EDGE) == 0.0


def test_a_used_up_power_budget_leaves_the_least_that_will_do() -> None:
    budget = replace(EDGE, power_budget_w=50.0)
    ratios: tuple[tuple[float, Level], ...] = (
        (0.5, "nominal"),
        (0.95, "elevated"),
        (1.1, "critical"),
    )
    chosen = [
        _decide(MetabolicState(budget_used_ratio=used, power_level=level), profile=budget)
        for used, level in ratios
    ]
    assert [_stages(one) for one in chosen] == [["large"], ["large"], ["tiny"]]
    prices = [
        next(c for c in one.candidates if c.deployment == "large").estimate for one in chosen[:2]
    ]
    assert prices[0] is not None
    assert prices[1] is not None
    assert prices[1].net_usd == pytest.approx(prices[0].net_usd * 2.0)


def test_short_memory_means_no_large_models_but_always_the_smallest() -> None:
    short = MetabolicState(memory_level="elevated", memory_available_bytes=4e9)
    found = _decide(short)
    assert _stages(found) == ["small"]
    why = {one.deployment: one.rejected for one in found.candidates}
    assert why == {
        "tiny": None,
        "small": None,
        "large": "memory is short: 20000 MB is much, 4000 MB are free",
    }
    nothing = _decide(replace(short, memory_level="critical", memory_available_bytes=1e6))
    assert _stages(nothing) == ["tiny"]
    assert _stages(_decide(replace(short, memory_level="nominal"))) == ["large"]


def test_short_memory_means_smaller_batches() -> None:
    levels: tuple[Level, ...] = ("unknown", "nominal", "elevated", "critical")
    found = [slots(MetabolicState(memory_level=level), 8) for level in levels]
    assert found == [8, 8, 4, 1]
    assert slots(MetabolicState(memory_level="elevated"), 1) == 1


@pytest.mark.parametrize(
    ("state", "warms", "sleeps"),
    [
        (MetabolicState(), True, False),
        (MetabolicState(level="critical"), False, False),
        (MetabolicState(on_battery=True), False, True),
        (MetabolicState(power_level="critical"), False, True),
        (MetabolicState(memory_level="elevated"), False, True),
    ],
)
def test_scarcity_warms_nothing_up_and_lets_idle_models_sleep_sooner(
    state: MetabolicState,
    warms: bool,  # noqa: FBT001 - a column of the table
    sleeps: bool,  # noqa: FBT001 - a column of the table
) -> None:
    now_s = 1_790_000_000.0
    items = tuple(
        Item(deployment=name, state="warm", since_s=now_s - 300, memory_bytes=10**8)
        for name in ("a", "b")
    )
    fresh = Item(deployment="c", state="stopped", since_s=now_s - 300, memory_bytes=10**8, order=1)
    actions = provision(
        Inventory(items=(*items, fresh), free_bytes=10**10),
        Demand(uses=(Use(deployment="a", last_used_s=now_s - 1),)),
        situation_of(TINY, metabolic=state),
        Rules(idle_s=900.0),
    )
    assert any(one.deployment == "c" for one in actions) is warms
    assert any(isinstance(one, Sleep) for one in actions) is sleeps
    assert keeping(state).warm_up is warms


REMOTE = deployment(
    "cloud",
    parameters=70_000_000_000,
    price=Price(input_usd_per_token=1e-6, output_usd_per_token=3e-6),
)


def test_an_mcu_leaves_complex_queries_to_a_remote_deployment() -> None:
    mcu = profile("mcu")
    assert _stages(_decide(MetabolicState(), *FLEET, REMOTE, profile=mcu, p_complex=0.7)) == [
        "cloud"
    ]
    simple = _decide(MetabolicState(), *FLEET, REMOTE, profile=mcu, p_complex=0.1)
    assert set(_stages(simple)) <= {"tiny", "small"}


def test_an_mcu_without_a_remote_answers_complex_queries_small_and_marks_them() -> None:
    large = replace(LARGE, model=replace(LARGE.model, tier="large"))
    found = _decide(MetabolicState(), TINY, SMALL, large, profile=profile("mcu"), p_complex=0.7)
    assert found.stages == ()
    assert [one.deployment for one in found.fallbacks] == ["small", "tiny", "large"]
    assert found.reasons == ("only deployments that are not proven for this can answer",)


def test_heat_of_a_part_without_deployments_is_everyone_s_and_of_another_device_nobody_s() -> None:
    two = replace(SMALL, name="other", device="gpu0")

    def net(device: str) -> dict[str, float]:
        state = MetabolicState(
            level="nominal",
            throttle_risk_ratio=0.5,
            limiting=device,
            risks=(DeviceRisk(device=device, risk_ratio=0.5),),
        )
        found = _decide(state, SMALL, two)
        return {c.deployment: c.estimate.net_usd for c in found.candidates if c.estimate}

    calm = _decide(MetabolicState(level="nominal"), SMALL, two).candidates[0].estimate
    assert calm is not None
    assert net("gpu0") == pytest.approx({"small": calm.net_usd, "other": 2 * calm.net_usd})
    assert net("board") == pytest.approx({"small": 2 * calm.net_usd, "other": 2 * calm.net_usd})


@pytest.mark.parametrize("one", PROFILES, ids=lambda one: one.name)
def test_no_band_gives_up_less_than_the_one_below(one: Profile) -> None:
    assert one.max_loss_ratio <= one.warm_loss_ratio <= one.hot_loss_ratio
