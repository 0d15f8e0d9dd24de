"""CPU temperature from hwmon."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from metabolic.core.hardware import DeviceState, HardwareState
from metabolic.sense.hwmon import Options, create
from metabolic.testing.sensors import check_sensor

HWMON = "sys/class/hwmon/hwmon0"
CORETEMP = {
    f"{HWMON}/name": "coretemp\n",
    f"{HWMON}/temp1_label": "Package id 0\n",
    f"{HWMON}/temp1_input": "61000\n",
    f"{HWMON}/temp1_crit": "100000\n",
    f"{HWMON}/temp1_max": "84000\n",
    f"{HWMON}/temp2_label": "Core 0\n",
    f"{HWMON}/temp2_input": "70000\n",
    f"{HWMON}/temp2_crit": "100000\n",
}
Write = Callable[[Mapping[str, str]], Path]


def _read(root: Path, at_s: float = 100.0, **options: object) -> HardwareState:
    sensor = create(Options(root=str(root), **options))  # type: ignore[arg-type]
    return sensor.read(HardwareState(taken_at_s=at_s))


def test_the_package_speaks_for_its_cores(write: Write) -> None:
    (cpu,) = _read(write(CORETEMP)).devices
    assert cpu.temperature_c is not None
    assert (cpu.temperature_c.value, cpu.temperature_c.origin) == (61.0, "measured")
    assert cpu.temperature_c.source == "hwmon:coretemp/Package id 0"
    assert cpu.limit_c is not None
    assert (cpu.limit_c.value, cpu.limit_c.origin) == (100.0, "measured")


def test_of_two_packages_the_one_nearest_to_its_limit_speaks(write: Write) -> None:
    second = {
        name.replace("hwmon0", "hwmon1").replace("temp1", "temp1"): content
        for name, content in CORETEMP.items()
    }
    second["sys/class/hwmon/hwmon1/temp1_input"] = "60000\n"
    second["sys/class/hwmon/hwmon1/temp1_crit"] = "80000\n"
    (cpu,) = _read(write({**CORETEMP, **second})).devices
    assert cpu.temperature_c is not None
    assert cpu.limit_c is not None
    assert (cpu.temperature_c.value, cpu.limit_c.value) == (60.0, 80.0)


def test_a_limit_that_no_file_gives_is_assumed_and_says_so(write: Write) -> None:
    root = write(
        {
            f"{HWMON}/name": "k10temp",
            f"{HWMON}/temp1_label": "Tctl",
            f"{HWMON}/temp1_input": "55125",
            f"{HWMON}/temp1_max": "-273150",
        }
    )
    (cpu,) = _read(root).devices
    assert cpu.limit_c is not None
    assert (cpu.limit_c.value, cpu.limit_c.origin) == (90.0, "modelled")
    (cpu,) = _read(root, assumed_limit_c=None).devices
    assert cpu.limit_c is None
    assert cpu.temperature_c is not None


@pytest.mark.parametrize("content", ["-256000", "N/A", "", "\0\0\0", "255000", "999999999"])
def test_a_sentinel_is_no_temperature(write: Write, content: str) -> None:
    root = write({f"{HWMON}/name": "coretemp", f"{HWMON}/temp1_input": content})
    assert _read(root).devices == ()


def test_a_broken_label_leaves_the_working_thermometer(write: Write) -> None:
    files = {**CORETEMP, f"{HWMON}/temp3_label": "Package id 1", f"{HWMON}/temp3_input": "N/A"}
    (cpu,) = _read(write(files)).devices
    assert cpu.temperature_c is not None
    assert cpu.temperature_c.value == 61.0


def test_other_chips_say_nothing_about_the_processor(write: Write) -> None:
    root = write({f"{HWMON}/name": "nvme", f"{HWMON}/temp1_input": "40000"})
    assert _read(root).devices == ()


def test_a_chip_of_an_old_kernel_lies_in_device(write: Write) -> None:
    files = {name.replace("hwmon0/", "hwmon0/device/"): text for name, text in CORETEMP.items()}
    (cpu,) = _read(write(files)).devices
    assert cpu.temperature_c is not None
    assert cpu.temperature_c.value == 61.0


def test_a_thermometer_that_vanishes_reads_nothing_and_is_found_again(write: Write) -> None:
    root = write(CORETEMP)
    sensor = create(Options(root=str(root)))
    assert sensor.read(HardwareState(taken_at_s=1.0)).devices
    for path in (root / HWMON).iterdir():
        path.unlink()
    assert sensor.read(HardwareState(taken_at_s=1.1)).devices == ()
    assert sensor.read(HardwareState(taken_at_s=1.2)).devices == ()
    write(CORETEMP)
    assert sensor.read(HardwareState(taken_at_s=1.3)).devices == ()
    assert sensor.read(HardwareState(taken_at_s=40.0)).devices
    sensor.close()


def test_it_keeps_the_contract(write: Write, tmp_path: Path) -> None:
    check_sensor(create(Options(root=str(tmp_path / "nothing"))))
    check_sensor(create(Options(root=str(write(CORETEMP)))))


def test_a_recorded_server_reads_its_hotter_package(
    recorded: Callable[[str], Path], cpu: Callable[[HardwareState], DeviceState]
) -> None:
    root = recorded("sysfs/node_exporter")
    device = cpu(_read(root))
    assert device.temperature_c is not None
    assert device.temperature_c.source.startswith("hwmon:coretemp/Physical id")
    assert 20 < device.temperature_c.value < 100
    assert device.limit_c is not None
    assert device.limit_c.origin == "measured"
    assert device.limit_c.value > device.temperature_c.value
    check_sensor(create(Options(root=str(root))))


def test_the_fans_offset_of_a_ryzen_is_left_out(write: Write) -> None:
    root = write(
        {
            f"{HWMON}/name": "k10temp",
            f"{HWMON}/temp1_label": "Tctl",
            f"{HWMON}/temp1_input": "95000",
            f"{HWMON}/temp2_label": "Tdie",
            f"{HWMON}/temp2_input": "68000",
        }
    )
    (cpu,) = _read(root).devices
    assert cpu.temperature_c is not None
    assert (cpu.temperature_c.value, cpu.temperature_c.source) == (68.0, "hwmon:k10temp/Tdie")


def test_it_says_that_there_is_no_thermometer(write: Write, tmp_path: Path) -> None:
    sensor = create(Options(root=str(tmp_path / "nothing")))
    assert sensor.obstacles() == ()
    sensor.read(HardwareState(taken_at_s=1.0))
    assert [one.kind for one in sensor.obstacles()] == ["platform"]
    found = create(Options(root=str(write(CORETEMP))))
    found.read(HardwareState(taken_at_s=1.0))
    assert found.obstacles() == ()
