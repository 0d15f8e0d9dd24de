"""Merging: the first source wins, and any source beats a model."""

from metabolic.core.hardware import GridState, HardwareState, Reading
from metabolic.sense.merge import signals, with_battery, with_device, with_signals

EMPTY = HardwareState(taken_at_s=1.0)


def _measured(value: float) -> Reading:
    return Reading(value=value, origin="measured", source="m")


def _modelled(value: float) -> Reading:
    return Reading(value=value, origin="modelled", source="g")


def test_the_first_source_of_a_figure_wins() -> None:
    state = with_device(EMPTY, "cpu", kind="cpu", temperature_c=_measured(1.0))
    state = with_device(state, "cpu", kind="cpu", temperature_c=_measured(2.0))
    assert state.devices[0].temperature_c == _measured(1.0)


def test_a_measurement_replaces_a_model_but_not_the_other_way() -> None:
    state = with_device(EMPTY, "cpu", kind="cpu", power_w=_modelled(1.0))
    state = with_device(state, "cpu", kind="cpu", power_w=_measured(2.0))
    state = with_device(state, "cpu", kind="cpu", power_w=_modelled(3.0))
    assert state.devices[0].power_w == _measured(2.0)


def test_nothing_known_makes_no_device() -> None:
    assert with_device(EMPTY, "cpu", kind="cpu", temperature_c=None) is EMPTY
    assert with_battery(EMPTY, charge_ratio=None) is EMPTY
    assert with_signals(EMPTY, load_ratio=None) is EMPTY


def test_devices_are_kept_apart() -> None:
    state = with_device(EMPTY, "cpu", kind="cpu", throttled=False)
    state = with_device(state, "board", kind="board", temperature_c=_measured(30.0))
    state = with_device(state, "cpu", kind="cpu", temperature_c=_measured(50.0))
    assert [device.name for device in state.devices] == ["cpu", "board"]
    assert state.devices[0].throttled is False
    assert state.devices[0].temperature_c == _measured(50.0)


def test_signals_name_everything_that_is_known() -> None:
    state = with_device(EMPTY, "cpu", kind="cpu", throttled=False, power_w=_measured(5.0))
    state = with_signals(state, load_ratio=_measured(0.5))
    state = with_battery(state, on_battery=True)
    grid = GridState(intensity_g_per_kwh=_measured(300.0))
    state = HardwareState(
        taken_at_s=1.0,
        devices=state.devices,
        load_ratio=state.load_ratio,
        battery=state.battery,
        grid=grid,
    )
    assert dict(signals(state)) == {
        "cpu.throttled": False,
        "cpu.power_w": _measured(5.0),
        "load_ratio": _measured(0.5),
        "battery.on_battery": True,
        "grid.intensity_g_per_kwh": _measured(300.0),
    }
