"""Battery and mains."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
import pytest

from metabolic.core.hardware import Battery, HardwareState, Reading
from metabolic.sense.battery import Options, create
from metabolic.testing.sensors import check_sensor

BAT = "sys/class/power_supply/BAT0"
FULL = {
    f"{BAT}/type": "Battery\n",
    f"{BAT}/status": "Discharging\n",
    f"{BAT}/energy_now": "30000000\n",
    f"{BAT}/energy_full": "40000000\n",
    f"{BAT}/power_now": "12500000\n",
    "sys/class/power_supply/AC/type": "Mains\n",
    "sys/class/power_supply/AC/online": "0\n",
}
Write = Callable[[Mapping[str, str]], Path]
Value = Callable[[Reading | None], float | None]


def _battery(root: Path) -> Battery | None:
    return create(Options(root=str(root))).read(HardwareState(taken_at_s=1.0)).battery


def test_charge_mains_and_discharge_are_read(write: Write, value: Value) -> None:
    battery = _battery(write(FULL))
    assert battery is not None
    assert value(battery.charge_ratio) == pytest.approx(0.75)
    assert battery.on_battery is True
    assert value(battery.discharge_w) == pytest.approx(12.5)


def test_while_it_fills_the_discharge_is_negative(write: Write, value: Value) -> None:
    battery = _battery(
        write({**FULL, f"{BAT}/status": "Charging", "sys/class/power_supply/AC/online": "1"})
    )
    assert battery is not None
    assert battery.on_battery is False
    assert value(battery.discharge_w) == pytest.approx(-12.5)


def test_power_may_come_from_current_and_voltage(write: Write, value: Value) -> None:
    files = {
        f"{BAT}/type": "Battery",
        f"{BAT}/status": "Discharging",
        f"{BAT}/capacity": "50",
        f"{BAT}/current_now": "-1500000",
        f"{BAT}/voltage_now": "12000000",
    }
    battery = _battery(write(files))
    assert battery is not None
    assert value(battery.charge_ratio) == 0.5
    assert value(battery.discharge_w) == pytest.approx(18.0)
    assert battery.on_battery is True


def test_two_batteries_are_one(write: Write, value: Value) -> None:
    second = {name.replace("BAT0", "BAT1"): text for name, text in FULL.items()}
    second["sys/class/power_supply/BAT1/energy_now"] = "0"
    battery = _battery(write({**FULL, **second}))
    assert battery is not None
    assert value(battery.charge_ratio) == pytest.approx(0.375)
    assert value(battery.discharge_w) == pytest.approx(25.0)


@pytest.mark.parametrize(
    "change",
    [{f"{BAT}/scope": "Device"}, {f"{BAT}/type": "UPS"}, {f"{BAT}/present": "0"}],
)
def test_what_is_no_battery_of_this_machine_is_left_out(
    write: Write, change: Mapping[str, str]
) -> None:
    assert _battery(write({**FULL, **change})) is None


def test_what_cannot_be_read_is_none(write: Write) -> None:
    root = write({f"{BAT}/type": "Battery", f"{BAT}/capacity": "N/A", f"{BAT}/status": ""})
    assert _battery(root) is None
    root = write({f"{BAT}/capacity": "431", f"{BAT}/status": "Discharging"})
    battery = _battery(root)
    assert battery is not None
    assert (battery.charge_ratio, battery.discharge_w, battery.on_battery) == (None, None, True)
    root = write({f"{BAT}/energy_now": "99", f"{BAT}/energy_full": "10"})
    assert _battery(root) is not None


def test_without_mains_the_battery_s_status_decides(write: Write) -> None:
    battery = _battery(write({f"{BAT}/type": "Battery", f"{BAT}/status": "Full"}))
    assert battery is not None
    assert battery.on_battery is False


def test_mains_that_are_off_mean_battery(write: Write) -> None:
    files = {**FULL, f"{BAT}/status": "Not charging"}
    battery = _battery(write(files))
    assert battery is not None
    assert battery.on_battery is True


def test_between_looks_the_charge_grows_older(write: Write) -> None:
    sensor = create(Options(root=str(write(FULL))))
    sensor.read(HardwareState(taken_at_s=1.0))
    battery = sensor.read(HardwareState(taken_at_s=1.5)).battery
    assert battery is not None
    assert battery.charge_ratio is not None
    assert battery.charge_ratio.age_s == 0.5


def test_it_keeps_the_contract(write: Write, tmp_path: Path) -> None:
    check_sensor(create(Options(root=str(tmp_path / "nothing"))))
    check_sensor(create(Options(root=str(write(FULL)))))
    check_sensor(create(Options()))


def test_a_recorded_laptop_is_read(recorded: Callable[[str], Path], value: Value) -> None:
    battery = _battery(recorded("sysfs/node_exporter"))
    assert battery is not None
    assert 0.7 < (value(battery.charge_ratio) or 0) < 0.9
    assert battery.on_battery is True
    assert (value(battery.discharge_w) or 0) > 0


class _Psutil:
    percent = 40
    power_plugged: bool | None = False


@pytest.mark.parametrize(("plugged", "on_battery"), [(False, True), (True, False), (None, None)])
def test_off_linux_psutil_reads_the_battery(
    monkeypatch: pytest.MonkeyPatch,
    value: Value,
    plugged: bool | None,  # noqa: FBT001 - a column of the table
    on_battery: bool | None,  # noqa: FBT001 - a column of the table
) -> None:
    found = _Psutil()
    found.power_plugged = plugged
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(psutil, "sensors_battery", lambda: found, raising=False)
    battery = create(Options()).read(HardwareState(taken_at_s=1.0)).battery
    assert battery is not None
    assert value(battery.charge_ratio) == 0.4
    assert battery.on_battery is on_battery


def test_off_linux_a_machine_may_have_no_battery(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(psutil, "sensors_battery", lambda: None, raising=False)
    assert create(Options()).read(HardwareState(taken_at_s=1.0)).battery is None
    monkeypatch.delattr(psutil, "sensors_battery")
    assert create(Options()).read(HardwareState(taken_at_s=1.0)).battery is None


def test_batteries_that_tell_in_different_words_are_one(
    write: Write, value: Callable[[Reading | None], float | None]
) -> None:
    second = BAT.replace("BAT0", "BAT1")
    root = write(
        {
            f"{BAT}/type": "Battery",
            f"{BAT}/energy_now": "10000000",
            f"{BAT}/energy_full": "40000000",
            f"{second}/type": "Battery",
            f"{second}/charge_now": "2000000",
            f"{second}/charge_full": "2000000",
            f"{second}/voltage_min_design": "10000000",
            f"{second}/voltage_now": "12000000",
        }
    )
    battery = _battery(root)
    assert battery is not None
    assert value(battery.charge_ratio) == pytest.approx((10 + 20) / (40 + 20))


def test_two_charges_of_unknown_voltage_are_averaged_by_percent(
    write: Write, value: Callable[[Reading | None], float | None]
) -> None:
    files: dict[str, str] = {}
    for name, percent in ((BAT, "20"), (BAT.replace("BAT0", "BAT1"), "60")):
        files |= {f"{name}/type": "Battery", f"{name}/capacity": percent}
        files |= {f"{name}/charge_now": "1", f"{name}/charge_full": "9"}
    battery = _battery(write(files))
    assert battery is not None
    assert value(battery.charge_ratio) == pytest.approx(0.4)


def test_it_says_that_there_is_no_battery(write: Write, tmp_path: Path) -> None:
    sensor = create(Options(root=str(tmp_path / "nothing")))
    assert sensor.obstacles() == ()
    sensor.read(HardwareState(taken_at_s=1.0))
    assert [one.kind for one in sensor.obstacles()] == ["absent"]
    found = create(Options(root=str(write(FULL))))
    found.read(HardwareState(taken_at_s=1.0))
    assert found.obstacles() == ()
