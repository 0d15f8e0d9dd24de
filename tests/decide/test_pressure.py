"""Memory, power budget, battery, stale and several thermometers in the machine's state."""

from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from metabolic.core.hardware import Battery, DeviceState, HardwareState, Reading
from metabolic.core.metabolic import MetabolicState, Profile
from metabolic.decide.metabolism import assess
from metabolic.decide.pressure import machine_w
from metabolic.decide.profiles import profile
from metabolic.decide.risk import FLOOR_RATIO

EDGE = profile("edge")
BUDGET = replace(EDGE, power_budget_w=100.0)


def _reading(value: float, age_s: float = 0.0) -> Reading:
    return Reading(value=value, origin="measured", source="s", age_s=age_s)


def _device(name: str = "cpu", **fields: object) -> DeviceState:
    return DeviceState(name=name, kind="gpu" if name.startswith("gpu") else "cpu", **fields)  # type: ignore[arg-type]


def _fold(states: Iterable[HardwareState], spending: Profile = EDGE) -> list[MetabolicState]:
    found: list[MetabolicState] = []
    for state in states:
        found.append(assess(state, found[-1] if found else None, spending))
    return found


def _memory(at_s: float, *, stall: float | None, free: float | None) -> HardwareState:
    return HardwareState(
        taken_at_s=at_s,
        memory_total_bytes=_reading(16e9),
        memory_available_bytes=None if free is None else _reading(free),
        memory_pressure_ratio=None if stall is None else _reading(stall),
    )


@pytest.mark.parametrize(
    ("stall", "free", "level"),
    [
        (None, None, "unknown"),
        (0.0, 8e9, "nominal"),
        (0.15, 8e9, "elevated"),
        (0.5, 8e9, "critical"),
        (None, 1e9, "elevated"),
        (0.0, 0.4e9, "critical"),
    ],
)
def test_memory_is_short_when_tasks_wait_for_it_or_hardly_any_is_left(
    stall: float | None, free: float | None, level: str
) -> None:
    state = assess(_memory(1.0, stall=stall, free=free), None, EDGE)
    assert state.memory_level == level
    assert ("memory is short" in state.reasons) is (level in {"elevated", "critical"})


def test_memory_recovers_one_step_a_dwell() -> None:
    states = [_memory(0.0, stall=0.5, free=8e9)]
    states += [_memory(1.0 + i, stall=0.0, free=8e9) for i in range(70)]
    levels = [one.memory_level for one in _fold(states)]
    assert (levels[0], levels[30], levels[31]) == ("critical", "critical", "elevated")
    assert (levels[60], levels[61]) == ("elevated", "nominal")


def _power(at_s: float, watts: float) -> HardwareState:
    return HardwareState(
        taken_at_s=at_s,
        devices=(_device(power_w=_reading(watts), power_limit_w=_reading(200.0)),),
    )


def test_the_power_budget_is_of_a_mean_and_is_left_after_a_dwell() -> None:
    states = [_power(0.0, 50.0), *(_power(1.0 + i, 130.0) for i in range(30))]
    states += [_power(31.0 + i, 50.0) for i in range(120)]
    found = _fold(states, BUDGET)
    levels = [one.power_level for one in found]
    assert levels[0] == "nominal"
    assert levels[2] == "nominal"
    assert levels[30] == "critical"
    assert found[30].reasons[-1] == "power budget used up"
    assert levels[-1] == "nominal"
    assert found[30].budget_used_ratio == pytest.approx(1.26, abs=0.02)


def test_a_device_at_its_own_limit_is_not_over_budget() -> None:
    state = _fold([_power(0.0, 200.0)])[0]
    assert (state.budget_used_ratio, state.power_level) == (1.0, "unknown")


def test_what_holds_other_devices_is_not_added_to_them() -> None:
    parts = (
        _device("cpu", power_w=_reading(60.0)),
        _device("gpu0", power_w=_reading(200.0)),
        _device("gpu1", power_w=_reading(9.0), integrated=True),
        DeviceState(name="board", kind="board", power_w=_reading(300.0)),
    )
    assert machine_w(parts) == 260.0
    node = DeviceState(name="node", kind="node", power_w=_reading(400.0))
    assert machine_w((*parts, node)) == 400.0
    assert machine_w(parts[3:]) == 300.0
    assert machine_w(()) is None


def test_the_battery_s_time_to_its_reserve_follows_from_how_its_charge_falls() -> None:
    def drained(at_s: float, charge: float, *, mains: bool = False) -> HardwareState:
        battery = Battery(charge_ratio=_reading(charge), on_battery=not mains)
        return HardwareState(taken_at_s=at_s, battery=battery)

    states = [drained(60.0 * i, round(0.80 - 0.01 * i, 2)) for i in range(20)]
    found = _fold([*states, drained(1200.0, 0.61, mains=True)])
    assert found[0].time_to_reserve_s is None
    assert found[19].time_to_reserve_s == pytest.approx((0.61 - 0.2) * 6000, rel=0.01)
    assert found[19].reasons[-1] == "on battery"
    assert found[20].time_to_reserve_s is None


def test_a_stale_thermometer_decays_to_the_floor_and_not_to_cool() -> None:
    hot = _device(temperature_c=_reading(96.0), limit_c=_reading(100.0))
    cold = _device(temperature_c=_reading(40.0, age_s=10.0), limit_c=_reading(100.0))
    states = [HardwareState(taken_at_s=0.1 * i, devices=(hot,)) for i in range(200)]
    states += [HardwareState(taken_at_s=20.0 + i, devices=(cold,)) for i in range(300)]
    risks = [one.throttle_risk_ratio or 0.0 for one in _fold(states)]
    assert risks[199] > 0.5
    assert risks[200:] == sorted(risks[200:], reverse=True)
    assert risks[-1] == pytest.approx(FLOOR_RATIO, abs=0.01)


def test_one_lost_gpu_of_two_goes_to_the_floor_while_the_other_is_judged() -> None:
    def state(at_s: float, *, both: bool) -> HardwareState:
        one = _device("gpu0", temperature_c=_reading(40.0), limit_c=_reading(90.0))
        gone = () if both else ("gpu1.temperature_c",)
        devices = (one, replace(one, name="gpu1")) if both else (one,)
        return HardwareState(taken_at_s=at_s, devices=devices, failed=gone)

    states = [state(0.0, both=True), *(state(1.0 + i, both=False) for i in range(200))]
    last = _fold(states)[-1]
    assert {one.device: round(one.risk_ratio, 2) for one in last.risks} == {
        "gpu0": 0.0,
        "gpu1": FLOOR_RATIO,
    }
    assert last.level == "elevated"


def test_a_gpu_that_was_put_to_sleep_is_not_lost() -> None:
    one = _device("gpu0", temperature_c=_reading(40.0), limit_c=_reading(90.0))
    states = [HardwareState(taken_at_s=0.0, devices=(one,))]
    states += [
        HardwareState(taken_at_s=1.0 + i, devices=(_device("gpu0", asleep=True),)) for i in range(9)
    ]
    assert _fold(states)[-1].risks == ()


@pytest.mark.parametrize(
    ("told", "level"),
    [("nominal", "nominal"), ("moderate", "elevated"), ("heavy", "critical")],
)
def test_headroom_told_only_as_a_level_is_taken_as_told(told: str, level: str) -> None:
    device = _device(thermal_level=told)
    state = assess(HardwareState(taken_at_s=1.0, devices=(device,)), None, EDGE)
    assert state.level == level
    assert (state.headroom_c, state.time_to_throttle_s) == (None, None)


def test_a_fitted_device_has_forecasts_and_its_headroom_says_of_what() -> None:
    def state(i: int) -> HardwareState:
        watts = 100.0 if i % 100 < 50 else 200.0
        device = _device(
            temperature_c=_reading(50.0 + watts / 20),
            limit_c=_reading(100.0),
            power_w=_reading(watts),
            power_limit_w=_reading(220.0),
        )
        return HardwareState(taken_at_s=float(i), devices=(device,))

    last = _fold([state(i) for i in range(300)])[-1]
    assert [one.horizon_s for one in last.forecasts] == [10.0, 30.0, 60.0]
    assert last.headroom_w_kind == "power_limit"
    assert last.headroom_w == pytest.approx(20.0)
    assert last.fold is not None
    assert [one.device for one in last.fold.thermal] == ["cpu"]
