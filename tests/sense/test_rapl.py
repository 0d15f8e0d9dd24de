"""RAPL: the packages' counters, unwrapped, and the power that follows."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from metabolic.core.hardware import DeviceState, HardwareState
from metabolic.sense.rapl import Options, Packages, create
from metabolic.testing.sensors import check_sensor

CAP = "sys/class/powercap"
RANGE_UJ = 262_143_328_850
Write = Callable[[Mapping[str, str]], Path]


def _package(number: int, energy_uj: int, *, name: str | None = None) -> dict[str, str]:
    zone = f"{CAP}/intel-rapl:{number}"
    return {
        f"{zone}/name": name or f"package-{number}",
        f"{zone}/energy_uj": str(energy_uj),
        f"{zone}/max_energy_range_uj": str(RANGE_UJ),
        f"{zone}/constraint_0_power_limit_uw": "95000000",
    }


def test_the_counter_begins_at_zero_and_adds_up(write: Write) -> None:
    root = write(_package(0, 5_000_000))
    packages = Packages(str(root))
    assert packages.advance(1.0) == 0.0
    write(_package(0, 7_500_000))
    assert packages.advance(2.0) == pytest.approx(2.5)


def test_a_wrap_is_not_a_step_back(write: Write) -> None:
    root = write(_package(0, RANGE_UJ - 1_000_000))
    packages = Packages(str(root))
    packages.advance(1.0)
    write(_package(0, 2_000_000))
    assert packages.advance(2.0) == pytest.approx(3.0)
    assert packages.epoch == 0


def test_a_reset_is_a_new_epoch_and_no_energy(write: Write) -> None:
    root = write(_package(0, 100_000_000_000))
    packages = Packages(str(root))
    packages.advance(1.0)
    write(_package(0, 5))
    assert packages.advance(2.0) == 0.0
    assert packages.epoch == 1


def test_a_step_back_without_a_known_range_is_a_reset(write: Write) -> None:
    files = {**_package(0, 5_000_000), f"{CAP}/intel-rapl:0/max_energy_range_uj": "N/A"}
    root = write(files)
    packages = Packages(str(root))
    packages.advance(1.0)
    write({f"{CAP}/intel-rapl:0/energy_uj": "1"})
    assert packages.advance(2.0) == 0.0
    assert packages.epoch == 1


def test_packages_are_added_and_nothing_that_lies_in_them(write: Write) -> None:
    core = {
        k.replace("intel-rapl:0", "intel-rapl:0:0"): v
        for k, v in _package(0, 0, name="core").items()
    }
    psys = _package(2, 0, name="psys")
    twice = {k.replace("intel-rapl:", "intel-rapl-mmio:"): v for k, v in _package(0, 0).items()}
    root = write({**_package(0, 0), **_package(1, 0), **core, **psys, **twice})
    packages = Packages(str(root))
    packages.advance(1.0)
    for zone in ("intel-rapl:0", "intel-rapl:1", "intel-rapl:2", "intel-rapl:0:0"):
        write({f"{CAP}/{zone}/energy_uj": "3000000"})
    assert packages.advance(2.0) == pytest.approx(6.0)
    assert packages.limit_w == 190.0


def test_one_package_that_cannot_be_read_loses_the_sum(write: Write) -> None:
    root = write({**_package(0, 0), **_package(1, 0)})
    packages = Packages(str(root))
    assert packages.advance(1.0) == 0.0
    (root / f"{CAP}/intel-rapl:1/energy_uj").unlink()
    assert packages.advance(2.0) is None


def test_the_sensor_gives_energy_power_and_limit(
    write: Write, cpu: Callable[[HardwareState], DeviceState]
) -> None:
    root = write(_package(0, 1_000_000))
    sensor = create(Options(root=str(root)))
    first = cpu(sensor.read(HardwareState(taken_at_s=10.0)))
    assert first.power_w is None
    assert first.power_limit_w is not None
    assert first.power_limit_w.value == 95.0
    write(_package(0, 31_000_000))
    second = cpu(sensor.read(HardwareState(taken_at_s=11.0)))
    assert second.power_w is not None
    assert (second.power_w.value, second.power_w.origin) == (pytest.approx(30.0), "derived")
    assert second.energy_j is not None
    assert (second.energy_j.value, second.energy_j.origin) == (pytest.approx(30.0), "measured")


def test_power_is_not_worked_out_across_a_reset(
    write: Write, cpu: Callable[[HardwareState], DeviceState]
) -> None:
    root = write(_package(0, 200_000_000_000))
    sensor = create(Options(root=str(root)))
    sensor.read(HardwareState(taken_at_s=10.0))
    write(_package(0, 5))
    assert cpu(sensor.read(HardwareState(taken_at_s=11.0))).power_w is None
    write(_package(0, 10_000_005))
    power = cpu(sensor.read(HardwareState(taken_at_s=12.0))).power_w
    assert power is not None
    assert power.value == pytest.approx(10.0)


def test_a_counter_that_becomes_unreadable_gives_nothing(write: Write) -> None:
    root = write(_package(0, 1))
    sensor = create(Options(root=str(root)))
    assert sensor.read(HardwareState(taken_at_s=10.0)).devices
    (root / f"{CAP}/intel-rapl:0/energy_uj").unlink()
    assert sensor.read(HardwareState(taken_at_s=11.0)).devices == ()


def test_it_keeps_the_contract(write: Write, tmp_path: Path) -> None:
    check_sensor(create(Options(root=str(tmp_path / "nothing"))))
    check_sensor(create(Options(root=str(write(_package(0, 1))))))


def test_a_recorded_package_is_read(
    recorded: Callable[[str], Path], cpu: Callable[[HardwareState], DeviceState]
) -> None:
    root = recorded("sysfs/node_exporter")
    device = cpu(create(Options(root=str(root))).read(HardwareState(taken_at_s=1.0)))
    assert device.energy_j is not None
    assert device.power_limit_w is None, "4,090 W is how this machine says that there is none"


def test_the_platform_is_a_device_of_its_own_and_in_no_sum(write: Write) -> None:
    psys = _package(2, 0, name="psys")
    dram = {
        k.replace("intel-rapl:0", "intel-rapl:0:1"): v
        for k, v in _package(0, 0, name="dram").items()
    }
    root = write({**_package(0, 0), **psys, **dram})
    sensor = create(Options(root=str(root)))
    sensor.read(HardwareState(taken_at_s=1.0))
    write({f"{CAP}/intel-rapl:0/energy_uj": "3000000", f"{CAP}/intel-rapl:2/energy_uj": "7000000"})
    write({f"{CAP}/intel-rapl:0:1/energy_uj": "2000000"})
    state = sensor.read(HardwareState(taken_at_s=2.0))
    energies = {d.name: d.energy_j.value for d in state.devices if d.energy_j is not None}
    assert energies == {"cpu": pytest.approx(3.0), "board": pytest.approx(7.0)}
    assert {d.name: d.kind for d in state.devices} == {"cpu": "cpu", "board": "board"}
    assert sensor.obstacles() == ()
    sensor.close()


def test_it_says_that_counters_are_absent_or_not_allowed(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write(_package(0, 0))
    absent = create(Options(root=str(root / "nothing")))
    assert absent.obstacles() == ()
    absent.read(HardwareState(taken_at_s=1.0))
    assert [one.kind for one in absent.obstacles()] == ["platform"]
    secret = root / CAP / "intel-rapl:0" / "energy_uj"
    may = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: str(path) != str(secret) and may(path, mode)
    )
    secret.unlink()
    secret.mkdir()  # there, and no file to read
    denied = create(Options(root=str(root)))
    denied.read(HardwareState(taken_at_s=1.0))
    (obstacle,) = denied.obstacles()
    assert obstacle.kind == "permission"
    assert "intel-rapl:0/energy_uj" in obstacle.what
    assert "CVE-2020-8694" in obstacle.remedy


def test_a_recorded_server_s_two_packages_are_both_counted(
    recorded: Callable[[str], Path],
) -> None:
    packages = Packages(str(recorded("sysfs/procfs/fixtures")))
    assert packages.advance(1.0) == 0.0
    assert packages.limit_w is None  # 4,090 W is what the files say, and means that there is none
