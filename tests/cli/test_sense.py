"""``metabolic sense``."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from metabolic.cli import sense as module
from metabolic.cli.sense import sense
from metabolic.core.hardware import HardwareState

FILES: Mapping[str, str] = {
    "sys/class/hwmon/hwmon0/name": "coretemp",
    "sys/class/hwmon/hwmon0/temp1_label": "Package id 0",
    "sys/class/hwmon/hwmon0/temp1_input": "93000",
    "sys/class/hwmon/hwmon0/temp1_crit": "100000",
    "sys/class/power_supply/BAT0/type": "Battery",
    "sys/class/power_supply/BAT0/capacity": "12",
    "sys/class/power_supply/BAT0/status": "Discharging",
    "proc/meminfo": "MemTotal: 8388608 kB\nMemAvailable: 4194304 kB\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path


def test_json_gives_every_signal_the_level_and_the_cost(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sense(root=str(root), seconds=0.25, json=True) == 0
    report = json.loads(capsys.readouterr().out)
    signals = {one["name"]: one for one in report["signals"]}
    assert signals["cpu.temperature_c"]["value"] == 93.0
    assert signals["cpu.temperature_c"]["unit"] == "°C"
    assert signals["cpu.temperature_c"]["origin"] == "measured"
    assert signals["cpu.temperature_c"]["source"] == "hwmon:coretemp/Package id 0"
    assert signals["memory_available_bytes"]["unit"] == "B"
    assert signals["battery.on_battery"]["value"] is True
    assert report["metabolic"]["level"] == "elevated"
    assert report["metabolic"]["headroom_c"] == 7.0
    assert report["profile"] == "mcu", "the battery is below the reserve"
    assert report["cost"]["polls"] >= 1
    assert report["cost"]["poll_cpu_us"] > 0
    missing = {one["name"] for one in report["missing"]}
    assert "cpu_pressure_ratio" in missing
    assert "cpu.temperature_c" not in missing


def test_the_sources_that_lost_are_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    zone = root / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "type").write_text("x86_pkg_temp")
    (zone / "temp").write_text("91000")
    assert sense(root=str(root), seconds=0.0, json=True) == 0
    report = json.loads(capsys.readouterr().out)
    (found,) = [one for one in report["signals"] if one["name"] == "cpu.temperature_c"]
    assert found["source"].startswith("hwmon:")
    assert [(one["source"], one["value"]) for one in found["losers"]] == [
        ("thermal:x86_pkg_temp", 91.0)
    ]
    assert sense(root=str(root), seconds=0.0) == 0
    assert "(91)" in capsys.readouterr().out


def test_people_get_tables(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sense(root=str(root), seconds=0.0) == 0
    shown = capsys.readouterr().out
    for words in ("cpu.temperature_c", "93 °C", "elevated", "12.0 %", "4.00 GiB", "CPU per poll"):
        assert words in shown


def test_people_see_forecasts_with_their_error_power_memory_and_battery(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sense(root=str(root), seconds=0.3) == 0
    shown = capsys.readouterr().out
    for words in ("headroom in 30 s", "°C ± ", "power budget used", "memory", "time to reserve"):
        assert words in shown


@pytest.mark.parametrize("as_json", [True, False])
def test_watching_reports_until_it_is_interrupted(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    as_json: bool,  # noqa: FBT001 - a column of the table
) -> None:
    looks: list[float] = []

    def look(_: object, seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(module._Watcher, "look", look)
    with pytest.raises(KeyboardInterrupt):
        sense(root=str(root), watch=True, json=as_json)
    shown = capsys.readouterr().out
    if as_json:
        assert [json.loads(line)["profile"] for line in shown.splitlines()] == ["edge", "edge"]
    else:
        assert "cpu.temperature_c" in shown
    assert looks == [1.2, 1.0, 1.0]


def test_what_failed_is_named_first(root: Path) -> None:
    hardware = HardwareState(taken_at_s=1.0, failed=("cpu.temperature_c",))
    missing = module._missing(hardware, set())
    assert missing[0].name == "cpu.temperature_c"
    assert "read before" in missing[0].why
    assert [one.name for one in missing].count("cpu.temperature_c") == 1


def test_this_machine_can_be_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    assert sense(seconds=0.0, json=True) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["root"] == "/"
    assert any(one["name"] == "memory_total_bytes" for one in report["signals"])
