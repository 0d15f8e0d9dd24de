"""Thermal zones, trip points and throttling."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from metabolic.core.hardware import DeviceState, HardwareState
from metabolic.sense.thermal import Options, create
from metabolic.testing.sensors import check_sensor

ZONE = "sys/class/thermal/thermal_zone0"
CPU = "sys/devices/system/cpu"
Write = Callable[[Mapping[str, str]], Path]


def _zone(
    kind: str, temp: str, *trips: tuple[str, int], policy: str = "step_wise"
) -> dict[str, str]:
    files = {f"{ZONE}/type": kind, f"{ZONE}/temp": temp, f"{ZONE}/policy": policy}
    for index, (what, millidegrees) in enumerate(trips):
        files[f"{ZONE}/trip_point_{index}_type"] = what
        files[f"{ZONE}/trip_point_{index}_temp"] = str(millidegrees)
    return files


def _devices(root: Path, at_s: float = 100.0) -> dict[str, DeviceState]:
    sensor = create(Options(root=str(root)))
    return {one.name: one for one in sensor.read(HardwareState(taken_at_s=at_s)).devices}


def _limit(device: DeviceState) -> tuple[float, str] | None:
    return None if device.limit_c is None else (device.limit_c.value, device.limit_c.origin)


@pytest.mark.parametrize(
    ("trips", "policy", "limit"),
    [
        ((("passive", 85000), ("critical", 105000)), "step_wise", (85.0, "measured")),
        ((("passive", 70000), ("passive", 85000)), "step_wise", (70.0, "measured")),
        ((("passive", 70000), ("passive", 85000)), "power_allocator", (85.0, "measured")),
        ((("active", 50000), ("hot", 95000), ("critical", 99000)), "step_wise", (95.0, "measured")),
        ((("critical", 110000),), "step_wise", (110.0, "measured")),
        ((("passive", 0), ("passive", -274000)), "step_wise", (90.0, "modelled")),
        ((), "step_wise", (90.0, "modelled")),
    ],
)
def test_the_limit_is_where_the_kernel_begins_to_slow_down(
    write: Write, trips: tuple[tuple[str, int], ...], policy: str, limit: tuple[float, str]
) -> None:
    device = _devices(write(_zone("cpu-thermal", "55000", *trips, policy=policy)))["cpu"]
    assert _limit(device) == limit
    assert device.temperature_c is not None
    assert device.temperature_c.value == 55.0


def test_a_zone_outside_the_processor_is_the_board(write: Write) -> None:
    devices = _devices(write(_zone("skin-therm", "41000", ("passive", 50000))))
    assert set(devices) == {"board"}
    assert devices["board"].kind == "board"
    assert _limit(devices["board"]) == (50.0, "measured")


def test_a_zone_without_a_trip_point_outside_the_processor_says_nothing(write: Write) -> None:
    assert _devices(write(_zone("iwlwifi_1", "41000"))) == {}


def test_a_bogus_trip_point_is_no_limit(write: Write) -> None:
    assert _devices(write(_zone("acpitz", "16800", ("critical", 20800)))) == {}


def test_a_disabled_zone_is_not_read(write: Write) -> None:
    files = {**_zone("cpu-thermal", "55000"), f"{ZONE}/mode": "disabled"}
    assert _devices(write(files)) == {}


def test_a_sensor_that_is_off_reads_nothing(write: Write) -> None:
    assert _devices(write(_zone("cpu-thermal", "-256000", ("passive", 85000)))) == {}


def test_a_cooling_device_that_slows_the_processor_is_throttling(write: Write) -> None:
    cooler = "sys/class/thermal/cooling_device0"
    root = write({f"{cooler}/type": "Processor", f"{cooler}/cur_state": "0"})
    assert _devices(root)["cpu"].throttled is False
    write({f"{cooler}/cur_state": "3"})
    assert _devices(root)["cpu"].throttled is True
    write({f"{cooler}/type": "Fan"})
    assert _devices(root) == {}


def test_a_throttle_counter_that_grows_is_throttling_for_a_while(write: Write) -> None:
    counter = f"{CPU}/cpu0/thermal_throttle/package_throttle_count"
    root = write({counter: "7", f"{CPU}/cpu0/topology/physical_package_id": "0"})
    sensor = create(Options(root=str(root), throttle_every_s=0.1))

    def throttled(at_s: float) -> bool | None:
        return sensor.read(HardwareState(taken_at_s=at_s)).devices[0].throttled

    assert throttled(1.0) is False
    write({counter: "8"})
    assert throttled(1.05) is False
    assert throttled(1.2) is True
    assert throttled(3.0) is True
    assert throttled(3.5) is False
    sensor.close()


def test_it_keeps_the_contract(write: Write, tmp_path: Path) -> None:
    check_sensor(create(Options(root=str(tmp_path / "nothing"))))
    check_sensor(create(Options(root=str(write(_zone("x86_pkg_temp", "50000"))))))


def test_a_recorded_machine_is_read(recorded: Callable[[str], Path]) -> None:
    root = recorded("sysfs/procfs/fixtures")
    devices = _devices(root)
    assert set(devices) == {"cpu"}
    temperature = devices["cpu"].temperature_c
    assert temperature is not None
    assert temperature.value == pytest.approx(49.925)
    assert temperature.source == "thermal:bcm2835_thermal"
    assert devices["cpu"].throttled is False
    check_sensor(create(Options(root=str(root))))


def test_a_thermometer_that_always_says_100_is_none(write: Write) -> None:
    root = write({**_zone("PMIC-Die", "100000"), "sys/class/thermal/thermal_zone0/x": ""})
    assert _devices(root) == {}


def test_a_jetson_that_slows_its_processor_throttles(write: Write) -> None:
    cooler = "sys/class/thermal/cooling_device4"
    root = write({f"{cooler}/type": "cpu-throttle-alert", f"{cooler}/cur_state": "1"})
    assert _devices(root)["cpu"].throttled is True


def test_it_says_that_nothing_here_can_tell(write: Write, tmp_path: Path) -> None:
    sensor = create(Options(root=str(tmp_path / "nothing")))
    assert sensor.obstacles() == ()
    sensor.read(HardwareState(taken_at_s=1.0))
    assert [one.kind for one in sensor.obstacles()] == ["platform"]
    found = create(Options(root=str(write(_zone("x86_pkg_temp", "50000")))))
    found.read(HardwareState(taken_at_s=1.0))
    assert found.obstacles() == ()
