"""From readings to a level, a risk and a time."""

import itertools
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from metabolic.core.hardware import Battery, DeviceState, HardwareState, Reading
from metabolic.core.metabolic import MetabolicState
from metabolic.decide.metabolism import assess
from metabolic.decide.profiles import PROFILES, profile

EDGE = profile("edge")
RANK = {"unknown": 0, "nominal": 0, "elevated": 1, "critical": 2}


def _reading(value: float | None) -> Reading | None:
    return None if value is None else Reading(value=value, origin="measured", source="s")


def _state(
    at_s: float,
    celsius: float | None,
    *,
    limit_c: float | None = 100.0,
    throttled: bool | None = None,
    failed: tuple[str, ...] = (),
) -> HardwareState:
    device = DeviceState(
        name="cpu",
        kind="cpu",
        temperature_c=_reading(celsius),
        limit_c=_reading(limit_c),
        throttled=throttled,
    )
    return HardwareState(taken_at_s=at_s, devices=(device,), failed=failed)


def _fold(states: list[HardwareState]) -> list[MetabolicState]:
    found: list[MetabolicState] = []
    for state in states:
        found.append(assess(state, found[-1] if found else None, EDGE))
    return found


def _levels(temperatures: list[float], *, step_s: float = 1.0) -> list[str]:
    states = [_state(1_000.0 + i * step_s, celsius) for i, celsius in enumerate(temperatures)]
    return [state.level for state in _fold(states)]


@pytest.mark.parametrize(
    ("celsius", "level"),
    [
        (50.0, "nominal"),
        (90.0, "nominal"),
        (90.5, "elevated"),
        (95.5, "critical"),
        (120.0, "critical"),
    ],
)
def test_the_level_follows_the_headroom(celsius: float, level: str) -> None:
    state = assess(_state(1.0, celsius), None, EDGE)
    assert state.level == level
    assert state.headroom_c == 100.0 - celsius
    assert state.limiting == "cpu"
    assert state.since_s == 1.0


def test_a_machine_without_a_thermometer_is_unknown_and_heat_moves_nothing() -> None:
    first = assess(HardwareState(taken_at_s=1.0), None, EDGE)
    second = assess(HardwareState(taken_at_s=100.0), first, EDGE)
    for state in (first, second):
        assert state.level == "unknown"
        assert state.throttle_risk_ratio is None
        assert state.headroom_c is None
        assert state.time_to_throttle_s is None
        assert state.limiting is None
        assert state.reasons == ("no thermometer",)
    assert second.since_s == 1.0


def test_a_thermometer_without_a_limit_says_nothing() -> None:
    state = assess(_state(1.0, 60.0, limit_c=None), None, EDGE)
    assert (state.level, state.reasons) == ("unknown", ("no limit known",))


def test_a_thermometer_that_fails_is_elevated_until_it_reads_again_and_then_calms() -> None:
    failed = ("cpu.temperature_c",)
    states = [
        _state(0.0, 50.0),
        _state(1.0, None, failed=failed),
        _state(100.0, None, failed=failed),
    ]
    states += [_state(101.0 + i, 50.0) for i in range(32)]
    found = _fold(states)
    assert [one.level for one in found[:4]] == ["nominal", "elevated", "elevated", "elevated"]
    assert found[1].reasons == ("failed: cpu.temperature_c", "thermometer lost")
    assert found[3].reasons == ("dwell",)
    assert found[-1].level == "nominal"


def test_a_thermometer_that_is_gone_without_a_word_is_lost_too() -> None:
    found = _fold([_state(0.0, 50.0), *(HardwareState(taken_at_s=1.0 + i) for i in range(100))])
    assert {one.level for one in found[1:]} == {"elevated"}


def test_any_failed_signal_is_at_least_elevated() -> None:
    state = assess(_state(1.0, 50.0, failed=("memory_available_bytes",)), None, EDGE)
    assert state.level == "elevated"
    assert state.headroom_c == 50.0


def test_a_device_that_throttles_is_critical_whatever_its_temperature() -> None:
    state = assess(_state(1.0, 40.0, throttled=True), None, EDGE)
    assert (state.level, state.throttle_risk_ratio) == ("critical", 1.0)
    assert "throttled" in state.reasons


def test_throttling_without_a_thermometer_calms_down_to_unknown() -> None:
    found = _fold(
        [
            _state(0.0, None, throttled=True),
            *(_state(1.0 + i, None, throttled=False) for i in range(70)),
        ]
    )
    assert found[0].level == "critical"
    assert found[0].limiting == "cpu"
    assert found[10].level == "critical"
    assert found[40].level == "elevated"
    assert found[-1].level == "unknown"


def test_a_device_s_own_margin_goes_before_limit_and_temperature() -> None:
    device = DeviceState(
        name="gpu0",
        kind="gpu",
        temperature_c=_reading(60.0),
        limit_c=_reading(90.0),
        headroom_c=_reading(7.0),
    )
    state = assess(HardwareState(taken_at_s=1.0, devices=(device,)), None, EDGE)
    assert (state.headroom_c, state.level) == (7.0, "elevated")


def test_the_device_nearest_to_its_limit_speaks() -> None:
    cool, hot = _state(1.0, 50.0).devices[0], _state(1.0, 92.0).devices[0]
    devices = (replace(cool, name="a"), replace(hot, name="b"))
    state = assess(HardwareState(taken_at_s=1.0, devices=devices), None, EDGE)
    assert (state.limiting, state.headroom_c) == ("b", 8.0)


def test_the_level_rises_at_once_and_falls_by_one_step_a_dwell() -> None:
    temperatures = [97.0, *[50.0] * 70]
    levels = _levels(temperatures)
    assert levels[0] == "critical"
    assert levels[30] == "critical"
    assert levels[31] == "elevated"
    assert levels[60] == "elevated"
    assert levels[61] == "nominal"


def test_one_hot_reading_begins_the_dwell_anew() -> None:
    levels = _levels([92.0, *[50.0] * 25, 92.0, *[50.0] * 31])
    assert levels[:-1] == ["elevated"] * (len(levels) - 1)
    assert levels[-1] == "nominal"


def test_within_the_hysteresis_a_level_is_kept_for_ever() -> None:
    assert set(_levels([92.0, *[87.0] * 200])) == {"elevated"}


def test_the_trend_and_the_time_to_throttle_follow_a_steady_rise() -> None:
    states = [_state(1_000.0 + i * 0.1, 40.0 + 0.05 * i) for i in range(600)]
    last = _fold(states)[-1]
    assert last.trend_c_per_s == pytest.approx(0.5, rel=0.01)
    assert last.headroom_c is not None
    assert last.time_to_throttle_s == pytest.approx(last.headroom_c / 0.5, rel=0.02)


def test_a_rise_in_whole_degrees_gives_the_same_trend() -> None:
    states = [_state(1_000.0 + i * 0.1, float(int(40 + 0.05 * i))) for i in range(600)]
    assert _fold(states)[-1].trend_c_per_s == pytest.approx(0.5, rel=0.15)


def test_a_cooling_machine_has_no_time_to_throttle() -> None:
    last = _fold([_state(float(i), 90.0 - i) for i in range(20)])[-1]
    assert last.trend_c_per_s is not None
    assert last.trend_c_per_s < 0
    assert last.time_to_throttle_s is None


def test_at_the_limit_the_time_to_throttle_is_none_left() -> None:
    assert assess(_state(1.0, 101.0), None, EDGE).time_to_throttle_s == 0.0


def test_the_risk_is_one_half_and_one_tenth_at_the_edges_of_the_bands() -> None:
    risks = [
        assess(_state(1.0, celsius), None, EDGE).throttle_risk_ratio for celsius in (95, 90, 40)
    ]
    assert risks[0] == pytest.approx(0.5)
    assert risks[1] == pytest.approx(0.1)
    assert risks[2] == pytest.approx(0.0, abs=1e-6)


def test_the_risk_is_smoothed_by_time_and_not_by_the_number_of_readings() -> None:
    def risk(step_s: float) -> float | None:
        count = round(2.4 / step_s)
        hot = [_state(1_000.0 + i * step_s, 40.0, throttled=i > 0) for i in range(count + 1)]
        return _fold(hot)[-1].throttle_risk_ratio

    assert risk(0.1) == pytest.approx(risk(0.8), rel=1e-6)
    assert risk(0.1) == pytest.approx(1 - 2.718281828 ** (-2.4 / 3.0), rel=1e-3)


def test_memory_battery_and_power_pass_through() -> None:
    hardware = HardwareState(
        taken_at_s=1.0,
        devices=(
            DeviceState(
                name="cpu", kind="cpu", power_w=_reading(60.0), power_limit_w=_reading(95.0)
            ),
        ),
        memory_available_bytes=_reading(5e9),
        battery=Battery(charge_ratio=_reading(0.4), on_battery=True),
    )
    state = assess(hardware, None, EDGE)
    assert state.headroom_w == 35.0
    assert state.memory_available_bytes == 5e9
    assert (state.battery_ratio, state.on_battery) == (0.4, True)
    assert state.profile == "edge"
    assert state.at_s == 1.0


def test_a_clock_that_goes_back_counts_as_no_time() -> None:
    found = _fold(
        [_state(1_000.0, 92.0), _state(1_040.0, 50.0), _state(500.0, 50.0), _state(535.0, 50.0)]
    )
    assert [one.level for one in found] == ["elevated", "elevated", "elevated", "nominal"]
    assert found[2].trend_c_per_s == found[1].trend_c_per_s


temperature = st.floats(-20.0, 130.0)
reading = st.tuples(
    st.floats(0.01, 40.0),
    st.none() | temperature,
    st.none() | st.booleans(),
    st.sampled_from([(), ("cpu.temperature_c",)]),
)


def _history(
    readings: list[tuple[float, float | None, bool | None, tuple[str, ...]]],
) -> list[HardwareState]:
    at_s, states = 1_000.0, list[HardwareState]()
    for step_s, celsius, throttled, failed in readings:
        at_s += step_s
        states.append(_state(at_s, celsius, throttled=throttled, failed=failed))
    return states


@given(st.lists(reading, max_size=12), temperature, temperature, st.sampled_from(PROFILES))
def test_hotter_is_never_better(
    history: list[tuple[float, float | None, bool | None, tuple[str, ...]]],
    one: float,
    other: float,
    spending: object,
) -> None:
    states = _history(history)
    before = reduce(lambda old, new: assess(new, old, EDGE), states, None)
    at_s = (states[-1].taken_at_s if states else 1_000.0) + 0.1
    cool = assess(_state(at_s, min(one, other)), before, spending)  # type: ignore[arg-type]
    hot = assess(_state(at_s, max(one, other)), before, spending)  # type: ignore[arg-type]
    assert RANK[hot.level] >= RANK[cool.level]
    assert (hot.throttle_risk_ratio or 0.0) >= (cool.throttle_risk_ratio or 0.0) - 1e-12
    assert (hot.headroom_c or 0.0) <= (cool.headroom_c or 0.0)
    assert (hot.trend_c_per_s or 0.0) >= (cool.trend_c_per_s or 0.0) - 1e-12


@given(st.lists(reading, min_size=1, max_size=40))
def test_a_level_falls_at_most_once_a_dwell_and_by_one_step(
    history: list[tuple[float, float | None, bool | None, tuple[str, ...]]],
) -> None:
    states = _history(history)
    found = _fold(states)
    falls = [
        new.at_s for old, new in itertools.pairwise(found) if RANK[new.level] < RANK[old.level]
    ]
    assert all(later - earlier >= EDGE.dwell_s for earlier, later in itertools.pairwise(falls))
    steps = [RANK[old.level] - RANK[new.level] for old, new in itertools.pairwise(found)]
    assert all(step <= 1 for step in steps)


@given(st.lists(reading, min_size=1, max_size=40))
def test_what_is_not_known_is_never_nominal(
    history: list[tuple[float, float | None, bool | None, tuple[str, ...]]],
) -> None:
    states = _history(history)
    for state, found in zip(states, _fold(states), strict=True):
        if state.failed:
            assert found.level in {"elevated", "critical"}
        if state.devices[0].temperature_c is None:
            assert found.level != "nominal"


@given(st.lists(reading, min_size=1, max_size=20))
def test_the_same_readings_give_the_same_states_and_the_risk_is_a_probability(
    history: list[tuple[float, float | None, bool | None, tuple[str, ...]]],
) -> None:
    states = _history(history)
    found = _fold(states)
    assert found == _fold(states)
    for one in found:
        assert one.throttle_risk_ratio is None or 0.0 <= one.throttle_risk_ratio <= 1.0
        assert one.time_to_throttle_s is None or one.time_to_throttle_s >= 0.0


def test_a_gpu_that_falls_asleep_has_not_lost_its_thermometer() -> None:
    gpu = DeviceState(
        name="nvidia0", kind="gpu", temperature_c=_reading(40.0), limit_c=_reading(90.0)
    )
    slept = DeviceState(name="nvidia0", kind="gpu", asleep=True)
    awake, first, later = _fold(
        [
            HardwareState(taken_at_s=1_000.0 + at_s, devices=(device,))
            for at_s, device in ((0.0, gpu), (1.0, slept), (100.0, slept))
        ]
    )
    assert awake.level == "nominal"
    assert "thermometer lost" not in (*first.reasons, *later.reasons)
    assert "elevated" not in {first.level, later.level}
