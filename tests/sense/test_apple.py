"""Macs: powermetrics in both formats, macmon, and thermal pressure."""

import json
import plistlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metabolic.core.errors import SensorError
from metabolic.core.hardware import DeviceState, HardwareState
from metabolic.sense import apple_pressure, macmon, powermetrics
from metabolic.sense.apple import AppleSensor
from metabolic.sense.apple_sample import from_macmon, from_plists, from_text, level_of
from metabolic.testing.sensors import check_sensor

AT_S = 1_700_000_000.0
SHARED = Path(__file__).parents[3] / "shared" / "telemetry" / "powermetrics"
TEXT = """*** Sampled system activity (Fri Nov 10 12:37:08 2023 +0100) (100.00ms elapsed) ***
CPU 0 active residency:  20.00% (600 MHz:   0%)
CPU 1 active residency:  40.00% (600 MHz:   0%)
ANE Power: 0 mW
CPU Power: 900 mW
GPU Power: 150 mW
Package Power: 1400 mW
GPU idle residency:  97.50%
**** Thermal pressure ****

Current pressure level: Heavy
*** Sampled system activity (Fri Nov 10 12:37:09 2023 +0100) (200.00ms elapsed) ***
CPU Power: 500 mW
GPU Power: 0 mW
Combined Power (CPU + GPU + ANE): 500 mW
"""
MACMON: dict[str, Any] = {
    "temp": {"cpu_temp_avg": 43.5, "gpu_temp_avg": 0.0},
    "memory": {"ram_total": 100, "ram_usage": 60},
    "cpu_usage_pct": 0.25,
    "gpu_usage": [461, 0.125],
    "cpu_power": 2.0,
    "gpu_power": 0.0,
    "all_power": 2.5,
    "sys_power": 8.0,
}


def _plist(**more: Any) -> bytes:
    root: dict[str, Any] = {
        "elapsed_ns": 2_000_000_000,
        "thermal_pressure": "Nominal",
        "processor": {
            "clusters": [
                {"cpus": [{"idle_ratio": 0.5, "down_ratio": 0.25}, {"idle_ratio": 0.25}]},
            ],
            "cpu_energy": 6000,
            "cpu_power": 3000.0,
            "gpu_energy": 500,
            "gpu_power": 250.0,
            "combined_power": 3250.0,
        },
        "gpu": {"freq_hz": 338.0, "idle_ratio": 0.875},
    }
    return plistlib.dumps(root | more)


def _read(sensor: AppleSensor, at_s: float = AT_S) -> dict[str, DeviceState]:
    return {device.name: device for device in sensor.read(HardwareState(taken_at_s=at_s)).devices}


def test_a_stream_of_plists_is_samples_separated_by_nul(tmp_path: Path) -> None:
    path = tmp_path / "stream"
    path.write_bytes(_plist() + b"\0" + _plist(thermal_pressure="Moderate"))
    sensor = powermetrics.create(powermetrics.Options(file=str(path)))
    first, second = _read(sensor), _read(sensor, AT_S + 1.0)
    cpu, soc = first["cpu"], first["soc"]
    assert cpu.power_w is not None
    assert (cpu.power_w.value, cpu.power_w.origin) == (3.0, "measured")
    assert cpu.energy_j is not None
    assert (cpu.energy_j.value, cpu.energy_j.origin) == (6.0, "measured")
    assert cpu.utilization_ratio is not None
    assert cpu.utilization_ratio.value == pytest.approx(0.5)
    assert first["apple0"].utilization_ratio is not None
    assert first["apple0"].utilization_ratio.value == pytest.approx(0.125)
    assert first["apple0"].integrated is True, "a Mac is no datacenter"
    assert (soc.thermal_level, soc.throttled) == ("nominal", False)
    assert (soc.temperature_c, soc.headroom_c, soc.limit_c) == (None, None, None)
    assert (second["soc"].thermal_level, second["soc"].throttled) == ("moderate", True)
    assert second["cpu"].energy_j is not None
    assert second["cpu"].energy_j.value == pytest.approx(12.0)


def test_text_says_the_same_and_its_joules_are_derived(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text(TEXT)
    sensor = powermetrics.create(powermetrics.Options(file=str(path)))
    first, second = _read(sensor), _read(sensor, AT_S + 1.0)
    assert first["cpu"].energy_j is not None
    assert first["cpu"].energy_j.origin == "derived"
    assert first["cpu"].energy_j.value == pytest.approx(0.09)
    assert first["cpu"].utilization_ratio is not None
    assert first["cpu"].utilization_ratio.value == pytest.approx(0.3)
    assert first["apple0"].utilization_ratio is not None
    assert first["apple0"].utilization_ratio.value == pytest.approx(0.025)
    assert first["soc"].power_w is not None
    assert first["soc"].power_w.value == pytest.approx(1.4)
    assert (first["soc"].thermal_level, first["soc"].throttled) == ("heavy", True)
    assert second["soc"].thermal_level is None
    assert second["soc"].throttled is None
    assert second["apple0"].power_w is not None
    assert second["apple0"].power_w.value == 0.0
    assert second["cpu"].energy_j is not None
    assert second["cpu"].energy_j.value == pytest.approx(0.19)


def test_an_intel_mac_s_text_has_a_package_and_dies() -> None:
    text = TEXT.split("CPU 0", maxsplit=1)[0] + (
        "Intel energy model derived package power (CPUs+GT+SA): 3.25W\n"
        "CPU die temperature: 49.81 C\nGPU die temperature: 0.00 C\n"
    )
    (sample,) = from_text(text)
    assert (sample.soc_w, sample.cpu_c, sample.gpu_c) == (3.25, 49.81, None)


def test_macmon_s_zero_of_a_thermometer_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps(MACMON) + "\n" + json.dumps(MACMON | {"cpu_power": 0.0}) + "\n")
    sensor = macmon.create(macmon.Options(file=str(path)))
    first, second = _read(sensor), _read(sensor, AT_S + 1.0)
    assert first["cpu"].temperature_c is not None
    assert first["cpu"].temperature_c.value == 43.5
    gpu = first["apple0"]
    assert gpu.temperature_c is None
    assert gpu.power_w is not None
    assert gpu.power_w.value == 0.0
    assert gpu.memory_total_bytes is not None
    assert gpu.memory_total_bytes.value == 100
    assert first["node"].power_w is not None
    assert first["node"].power_w.value == 8.0
    assert second["cpu"].power_w is None


@pytest.mark.parametrize(
    ("word", "level"),
    [("Nominal", "nominal"), ("TRAPPING", "trapping"), (4, "sleeping"), (5, None), (None, None)],
)
def test_levels_are_known_by_name_and_number(word: object, level: str | None) -> None:
    assert level_of(word) == level


def test_pressure_is_a_level_and_never_a_temperature(tmp_path: Path) -> None:
    path = tmp_path / "p"
    path.write_text("com.apple.system.thermalpressurelevel 2\n")
    soc = _read(apple_pressure.create(apple_pressure.Options(file=str(path))))["soc"]
    assert (soc.thermal_level, soc.throttled, soc.headroom_c) == ("heavy", True, None)
    path.write_text("nothing here\n")
    sensor = apple_pressure.create(apple_pressure.Options(file=str(path)))
    assert _read(sensor) == {}
    assert sensor.obstacles()[0].kind == "configuration"


@pytest.mark.skipif(sys.platform == "darwin", reason="here they run")
@pytest.mark.parametrize(
    "make",
    [
        lambda: macmon.create(macmon.Options()),
        lambda: powermetrics.create(powermetrics.Options()),
        lambda: apple_pressure.create(apple_pressure.Options()),
    ],
)
def test_elsewhere_nothing_is_started_and_the_doctor_is_told(
    make: Callable[[], AppleSensor],
) -> None:
    sensor = make()
    assert _read(sensor) == {}
    assert [one.kind for one in sensor.obstacles()] == ["platform"]
    sensor.close()


def _until(sensor: AppleSensor) -> dict[str, DeviceState]:
    end_s = time.monotonic() + 10
    while time.monotonic() < end_s:
        found = _read(sensor)
        if found or sensor.obstacles():
            return found
        time.sleep(0.01)
    return {}


def _command(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def test_a_program_is_read_while_it_runs() -> None:
    line = json.dumps(MACMON)
    code = f"import time; print({line!r}, flush=True); time.sleep(60)"
    sensor = macmon.create(macmon.Options(command=_command(code)))
    assert "cpu" in _until(sensor)
    sensor.close()


def test_a_program_s_plists_are_read_as_they_come() -> None:
    data = (_plist() + b"\0").decode()
    code = f"import sys,time; sys.stdout.write({data!r}); sys.stdout.flush(); time.sleep(60)"
    sensor = powermetrics.create(powermetrics.Options(command=_command(code)))
    assert "soc" in _until(sensor)
    sensor.close()


def test_a_level_is_asked_for_again_and_again() -> None:
    sensor = apple_pressure.create(apple_pressure.Options(command=_command("print('x 1')")))
    assert _until(sensor)["soc"].thermal_level == "moderate"
    sensor.close()


def test_a_program_that_is_missing_or_ends_is_an_obstacle_with_a_remedy() -> None:
    gone = macmon.create(macmon.Options(command=("/nonexistent/macmon",)))
    assert _until(gone) == {}
    (obstacle,) = gone.obstacles()
    assert (obstacle.kind, "install macmon" in obstacle.remedy) == ("library", True)
    ended = powermetrics.create(powermetrics.Options(command=_command("raise SystemExit(3)")))
    assert _until(ended) == {}
    (obstacle,) = ended.obstacles()
    assert (obstacle.kind, "ended with 3" in obstacle.what) == ("permission", True)
    gone.close()
    ended.close()


def test_recordings_of_nothing_are_no_reading(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("<?xml broken")
    for sensor in (
        powermetrics.create(powermetrics.Options(file=str(path))),
        macmon.create(macmon.Options(file=str(tmp_path / "gone"))),
        macmon.create(macmon.Options(file=str(path))),
    ):
        assert _read(sensor) == {}
        assert sensor.obstacles()


def test_they_keep_the_contract(tmp_path: Path) -> None:
    text, lines = tmp_path / "t", tmp_path / "l"
    text.write_text(TEXT)
    lines.write_text(json.dumps(MACMON) + "\n")
    check_sensor(powermetrics.create(powermetrics.Options(file=str(text), every_s=0.1)))
    check_sensor(macmon.create(macmon.Options(file=str(lines))))
    check_sensor(macmon.create(macmon.Options()))


@settings(max_examples=40)
@given(st.binary(max_size=200))
def test_no_bytes_break_the_parsers(data: bytes) -> None:
    from_text(data.decode("utf-8", "replace"))
    for parse in (from_plists, from_macmon, apple_pressure.samples, powermetrics.samples):
        try:
            parse(data)
        except SensorError:
            continue


ODD: tuple[object, ...] = (None, True, -1, 1e400, "2", [], [1], [1, "x"], {}, {"cpu_temp_avg": []})


@pytest.mark.parametrize("value", ODD, ids=str)
@pytest.mark.parametrize("key", MACMON)
def test_no_odd_value_breaks_macmon(key: str, value: object) -> None:
    text = json.dumps(MACMON | {key: value}).replace("Infinity", "null")
    sample = from_macmon(text.encode())
    assert sample.cpu_w is None or sample.cpu_w > 0


@pytest.mark.skipif(not SHARED.is_dir(), reason="no recordings beside the checkout")
def test_a_real_m4_max_reads_as_it_was() -> None:
    sensor = powermetrics.create(
        powermetrics.Options(file=str(SHARED / "m4max-mac16,5-macos26-trimmed.plist"))
    )
    found = _read(sensor)
    cpu, gpu = found["cpu"], found["apple0"]
    assert cpu.power_w is not None
    assert cpu.energy_j is not None
    assert cpu.power_w.value == pytest.approx(2.97845)
    assert cpu.energy_j.value == pytest.approx(3.049)
    assert gpu.power_w is not None
    assert gpu.power_w.value == pytest.approx(0.269614)
    assert found["soc"].thermal_level == "nominal"
