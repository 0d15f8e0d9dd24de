"""The sensor that reads tegrastats."""

from collections.abc import Callable
from pathlib import Path

from metabolic.core.hardware import DeviceState, HardwareState, Reading
from metabolic.sense import tegrastats
from metabolic.testing.sensors import check_sensor

Value = Callable[[Reading | None], float | None]
THOR = (
    "04-21-2026 15:50:52 RAM 105265/125772MB GR3D_FREQ @[314,314,314] cpu@37.343C tj@38.875C"
    " gpu@38C VDD_GPU 1962mW/1962mW VDD_CPU_SOC_MSS 5887mW/5887mW VIN 19780mW/19780mW\n"
)


def _sensor(tmp_path: Path, text: str) -> tegrastats.TegrastatsSensor:
    (tmp_path / "lines.txt").write_text(text)
    return tegrastats.create(tegrastats.Options(file=str(tmp_path / "lines.txt")))


def test_the_last_line_is_read(tmp_path: Path, value: Value) -> None:
    sensor = _sensor(tmp_path, THOR.replace("19780", "1") + THOR + "\n")
    devices = {d.name: d for d in sensor.read(HardwareState(taken_at_s=1.0)).devices}
    assert value(devices["board"].power_w) == 19.78
    assert value(devices["cpu"].temperature_c) == 38.875
    assert value(devices["tegra0"].temperature_c) == 38.0
    assert devices["tegra0"].utilization_ratio is None
    assert sensor.obstacles() == ()
    check_sensor(sensor)


def test_what_sysfs_shows_is_left_to_it(tmp_path: Path) -> None:
    power = Reading(value=7.0, origin="measured", source="rails:VDD_IN")
    board = DeviceState(name="board", kind="board", power_w=power)
    state = HardwareState(taken_at_s=1.0, devices=(board,))
    assert _sensor(tmp_path, THOR).read(state) == state


def test_another_machine_is_no_jetson(tmp_path: Path) -> None:
    sensor = tegrastats.create(tegrastats.Options(root=str(tmp_path)))
    assert sensor.read(HardwareState(taken_at_s=1.0)).devices == ()
    assert [one.kind for one in sensor.obstacles()] == ["absent"]
    nothing = _sensor(tmp_path, "words\n")
    assert nothing.read(HardwareState(taken_at_s=1.0)).devices == ()
    assert [one.kind for one in nothing.obstacles()] == ["configuration"]
    sensor.close()
