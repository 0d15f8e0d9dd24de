"""AMD GPUs through sysfs, and their meters."""

import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from metabolic.core.hardware import DeviceState, HardwareState, Reading
from metabolic.sense import amd, amd_meter
from metabolic.sense.cards import CardSensor
from metabolic.testing.sensors import check_meter, check_sensor

CARD = "sys/class/drm/card1/device"
CHIP = f"{CARD}/hwmon/hwmon3"
Write = Callable[[Mapping[str, str]], Path]
Value = Callable[[Reading | None], float | None]
RADEON = {
    f"{CARD}/vendor": "0x1002\n",
    f"{CARD}/uevent": "DRIVER=amdgpu\nPCI_SLOT_NAME=0000:03:00.0\n",
    f"{CARD}/gpu_busy_percent": "97",
    f"{CARD}/mem_info_vram_used": "8000000000",
    f"{CARD}/mem_info_vram_total": "24000000000",
    f"{CHIP}/name": "amdgpu",
    f"{CHIP}/power1_average": "288000000",
    f"{CHIP}/power1_cap": "290000000",
    f"{CHIP}/temp1_label": "edge",
    f"{CHIP}/temp1_input": "70000",
    f"{CHIP}/temp1_crit": "100000",
    f"{CHIP}/temp1_crit_hyst": "-273150",
    f"{CHIP}/temp2_label": "junction",
    f"{CHIP}/temp2_input": "99000",
    f"{CHIP}/temp2_crit": "110000",
    f"{CHIP}/temp2_emergency": "115000",
}


def _sensor(root: Path) -> CardSensor:
    return amd.create(amd.Options(root=str(root)))


def _devices(root: Path, at_s: float = 1.0) -> dict[str, DeviceState]:
    state = _sensor(root).read(HardwareState(taken_at_s=at_s))
    return {device.name: device for device in state.devices}


def _mi300(*, energy: int, heat: int = 0, watts: int = 700) -> bytes:
    data = bytearray(b"\xff" * 1664)
    struct.pack_into("<HBB", data, 0, 1664, 1, 6)
    struct.pack_into("<4H", data, 4, 60, 55, 50, watts)
    struct.pack_into("<H", data, 12, 90)
    struct.pack_into("<Q", data, 16, energy)
    struct.pack_into("<5I", data, 36, 0, 5, heat, 0, 0)
    return bytes(data)


def test_a_card_is_read_and_the_thermometer_nearest_to_its_limit_speaks(
    write: Write, value: Value
) -> None:
    card = _devices(write(RADEON))["amd0"]
    assert card.kind == "gpu"
    assert (value(card.temperature_c), value(card.limit_c)) == (99.0, 110.0)
    assert (value(card.power_w), value(card.power_limit_w)) == (288.0, 290.0)
    assert value(card.utilization_ratio) == 0.97
    assert (value(card.memory_used_bytes), value(card.memory_total_bytes)) == (8e9, 24e9)
    assert (card.throttled, card.energy_j, card.integrated) == (None, None, None)
    assert card.temperature_c is not None
    assert card.temperature_c.source == "hwmon:amdgpu/junction"


def test_power_that_is_told_now_only_is_taken_too(write: Write, value: Value) -> None:
    files = {k: v for k, v in RADEON.items() if "power1_average" not in k}
    card = _devices(write({**files, f"{CHIP}/power1_input": "512000000"}))["amd0"]
    assert value(card.power_w) == 512.0


def test_the_second_die_that_says_0_w_of_0_w_is_unknown(write: Write) -> None:
    zero = {f"{CHIP}/power1_average": "0", f"{CHIP}/power1_cap": "0"}
    card = _devices(write({**RADEON, **zero}))["amd0"]
    assert (card.power_w, card.power_limit_w) == (None, None)


@pytest.mark.parametrize("content", ["N/A", "", "\0\0", "-273150", "999999999999999"])
def test_nonsense_is_unknown(write: Write, content: str) -> None:
    names = ("temp1_input", "temp2_input", "power1_average", "power1_cap")
    files = {f"{CHIP}/{name}": content for name in names}
    files |= {f"{CARD}/gpu_busy_percent": content, f"{CARD}/mem_info_vram_used": content}
    assert "amd0" not in _devices(write({**RADEON, **files}))


def test_an_apu_s_power_is_the_package_s(write: Write, value: Value) -> None:
    apu = {f"{CHIP}/in1_label": "vddnb", f"{CHIP}/power1_cap": "15000000"}
    files = {k: v for k, v in RADEON.items() if "_crit" not in k}
    devices = _devices(write({**files, **apu}))
    assert (value(devices["cpu"].power_w), value(devices["cpu"].power_limit_w)) == (288.0, 15.0)
    assert (devices["amd0"].power_w, devices["amd0"].integrated) == (None, True)
    assert devices["amd0"].limit_c is None


def test_a_sleeping_card_is_not_touched(write: Write) -> None:
    root = write({**RADEON, f"{CARD}/power/runtime_status": "suspended"})
    for path in (root / CHIP).iterdir():
        path.unlink()
        path.mkdir()
    sensor = _sensor(root)
    (card,) = sensor.read(HardwareState(taken_at_s=1.0)).devices
    assert card == DeviceState(name="amd0", kind="gpu", asleep=True)
    meter = amd_meter.create(amd_meter.Options(root=str(root)))
    reading = meter.read(())
    assert reading is not None
    assert reading.energy_j == 0.0


def test_a_card_that_may_doze_and_idles_is_looked_at_seldom(write: Write, value: Value) -> None:
    doze = {f"{CARD}/power/control": "auto", f"{CARD}/power/runtime_status": "active"}
    root = write({**RADEON, **doze, f"{CARD}/gpu_busy_percent": "0"})
    sensor = _sensor(root)
    sensor.read(HardwareState(taken_at_s=1.0))
    write({f"{CHIP}/temp2_input": "85000"})
    (card,) = sensor.read(HardwareState(taken_at_s=4.0)).devices
    assert card.temperature_c is not None
    assert (card.temperature_c.value, card.temperature_c.age_s) == (99.0, 3.0)
    (card,) = sensor.read(HardwareState(taken_at_s=12.0)).devices
    assert value(card.temperature_c) == 85.0
    assert card.asleep is False


def test_cards_are_named_in_the_order_of_the_bus(write: Write, value: Value) -> None:
    second = {
        k.replace("card1", "card0").replace("hwmon3", "hwmon9"): v.replace(":03:", ":83:")
        for k, v in RADEON.items()
    }
    second["sys/class/drm/card0/device/hwmon/hwmon9/power1_average"] = "1000000"
    other = {"sys/class/drm/card2/device/vendor": "0x10de", "sys/class/drm/card0-DP-1/status": ""}
    devices = _devices(write({**RADEON, **second, **other}))
    assert {n: value(d.power_w) for n, d in devices.items()} == {"amd0": 288.0, "amd1": 1.0}


def test_throttling_is_told_by_the_table(write: Write, value: Value) -> None:
    root = write(RADEON)
    table = root / CARD / "gpu_metrics"
    table.write_bytes(_mi300(energy=65_536, heat=7))
    sensor = _sensor(root)
    (first,) = sensor.read(HardwareState(taken_at_s=1.0)).devices
    assert (first.throttled, first.clocks_held_by) == (False, "none")
    table.write_bytes(_mi300(energy=65_536 * 701, heat=8))
    (second,) = sensor.read(HardwareState(taken_at_s=2.0)).devices
    assert (second.throttled, second.clocks_held_by) == (True, "thermal")
    assert value(second.energy_j) == pytest.approx(700.0)
    assert sensor.obstacles() == ()
    sensor.close()


def test_a_table_that_is_not_known_is_refused_and_said(write: Write) -> None:
    root = write(RADEON)
    (root / CARD / "gpu_metrics").write_bytes(struct.pack("<HBB", 64, 9, 1) + b"\1" * 60)
    sensor = _sensor(root)
    (card,) = sensor.read(HardwareState(taken_at_s=1.0)).devices
    assert (card.throttled, card.power_w is None) == (None, False)
    (obstacle,) = sensor.obstacles()
    assert "v9.1" in obstacle.what


def test_a_machine_without_says_so(tmp_path: Path) -> None:
    sensor = _sensor(tmp_path)
    assert sensor.obstacles() == ()
    assert sensor.read(HardwareState(taken_at_s=1.0)).devices == ()
    assert [one.kind for one in sensor.obstacles()] == ["absent"]
    meter = amd_meter.create(amd_meter.Options(root=str(tmp_path)))
    assert meter.read(()) is None
    assert [one.kind for one in meter.obstacles()] == ["absent"]
    check_sensor(_sensor(tmp_path))


class _Clock:
    def __init__(self) -> None:
        self.at_s = 100.0

    def __call__(self) -> float:
        return self.at_s


def _step(clock: _Clock, seconds: float = 1.0) -> None:
    clock.at_s += seconds


def test_an_accelerator_s_joules_are_counted(write: Write) -> None:
    root, clock = write(RADEON), _Clock()
    table = root / CARD / "gpu_metrics"
    table.write_bytes(_mi300(energy=0))
    meter = amd_meter.create(amd_meter.Options(root=str(root), idle_w=140.0), clock=clock)
    meter.read(())
    _step(clock)
    table.write_bytes(_mi300(energy=65_536 * 690))
    reading = meter.read(())
    assert (meter.name, meter.domain) == ("amd0", "gpu")
    assert reading is not None
    assert (reading.origin, reading.energy_j, reading.idle_j) == ("measured", 690.0, 140.0)
    assert (reading.low_ratio, reading.high_ratio, reading.epoch_id) == (1.0, 1.0, 0)


def test_an_accumulator_that_goes_back_is_a_gap(write: Write) -> None:
    root, clock = write(RADEON), _Clock()
    table = root / CARD / "gpu_metrics"
    meter = amd_meter.create(amd_meter.Options(root=str(root)), clock=clock)
    epochs: list[int] = []
    for joules in (900, 1_600, 20, 700):
        table.write_bytes(_mi300(energy=65_536 * joules))
        reading = meter.read(())
        assert reading is not None
        epochs.append(reading.epoch_id)
        _step(clock)
    assert epochs == [0, 0, 1, 1]


def test_an_accumulator_that_stands_still_under_load_gives_way_to_power(write: Write) -> None:
    root, clock = write(RADEON), _Clock()
    (root / CARD / "gpu_metrics").write_bytes(_mi300(energy=65_536))
    meter = amd_meter.create(amd_meter.Options(root=str(root)), clock=clock)
    readings = []
    for _ in range(8):
        readings.append(meter.read(()))
        _step(clock)
    origins = [one.origin for one in readings if one is not None]
    assert origins == ["measured"] * 5 + ["derived"] * 3
    before, after = readings[-2:]
    assert before is not None
    assert after is not None
    assert before.epoch_id == after.epoch_id
    assert after.energy_j - before.energy_j == pytest.approx(288.0)


def test_without_a_counter_power_is_summed_and_bounded(write: Write) -> None:
    root, clock = write({**RADEON, f"{CARD}/gpu_busy_percent": "0"}), _Clock()
    meter = amd_meter.create(amd_meter.Options(root=str(root)), clock=clock)
    first = meter.read(())
    _step(clock)
    second = meter.read(())
    assert first is not None
    assert second is not None
    assert second.origin == "derived"
    assert second.energy_j - first.energy_j == pytest.approx(288.0)
    assert (second.low_ratio, second.high_ratio) == (0.7, 1.3)
    assert second.idle_j == pytest.approx(288.0)


def test_an_apu_s_meter_is_the_package(write: Write) -> None:
    root = write({**RADEON, f"{CHIP}/in1_label": "vddnb"})
    meter = amd_meter.create(amd_meter.Options(root=str(root)))
    assert meter.domain == "package"
    check_meter(meter)


def test_a_card_whose_files_vanish_reads_nothing(write: Write) -> None:
    root = write(RADEON)
    sensor, meter = _sensor(root), amd_meter.create(amd_meter.Options(root=str(root)))
    sensor.read(HardwareState(taken_at_s=1.0))
    for path in root.rglob("*"):
        if path.is_file():
            path.unlink()
    assert sensor.read(HardwareState(taken_at_s=3.0)).devices == ()
    assert meter.read(()) is None


@pytest.mark.parametrize(
    ("name", "watts", "celsius", "limit_c"),
    [
        ("phoenix", 3.103, 25.0, None),
        ("rx7900xtx", 68.0, 68.0, 108.0),
        ("rx9070xt", 55.0, 68.0, 108.0),
        ("strixpoint", 9.087, 38.0, None),
        ("vangogh", 3.218, 56.0, None),
        ("vega56", 8.0, 38.0, 85.0),
    ],
)
def test_a_recorded_card_is_read(
    lact: Callable[[str], Path],
    value: Value,
    name: str,
    watts: float,
    celsius: float,
    limit_c: float | None,
) -> None:
    root = lact(f"amd/{name}")
    devices = _devices(root)
    card = devices["amd0"]
    assert (value(card.temperature_c), value(card.limit_c)) == (celsius, limit_c)
    supplied = devices["cpu"] if card.integrated else card
    assert value(supplied.power_w) == pytest.approx(watts)
    assert card.integrated is (None if limit_c else True)
    check_sensor(_sensor(root))
    check_meter(amd_meter.create(amd_meter.Options(root=str(root))))
