"""Recordings read twice: the bench finds what is missed, wrong or invented."""

import json
from pathlib import Path

import pytest

from metabolic.bench import telemetry
from metabolic.bench.telemetry_expected import expected_of
from metabolic.bench.telemetry_made import made
from metabolic.bench.telemetry_read import Read, read
from metabolic.bench.telemetry_recordings import find, materialise
from metabolic.cli.benches.telemetry import telemetry as command

SHARED = Path(__file__).parents[3] / "shared" / "telemetry"


def test_on_recordings_of_its_own_everything_is_read_and_nothing_invented(
    capsys: pytest.CaptureFixture[str],
) -> None:
    command(quick=True, json=True)
    report = json.loads(capsys.readouterr().out)
    figures = {name: one["value"] for name, one in report["figures"].items()}
    assert figures["signals_expected"] == figures["signals_read"] >= 50
    assert (figures["signals_wrong"], figures["signals_invented"]) == (0, 0)
    assert 80 < figures["period_p99_ms"] < 1000
    assert report["quick"]
    rows = [row for row in report["rows"] if "signal" in row]
    wanted = {"source", "recording", "signal", "expected", "read", "unit"}
    assert all(wanted <= row.keys() for row in rows)
    costs = {row["source"]: row["poll_us"] for row in report["rows"] if "poll_us" in row}
    assert {"host", "nvidia_smi", "dcgm", "powermetrics", "redfish", "probe"} <= costs.keys()
    assert all(cost > 0 for cost in costs.values())
    rapl = next(row for row in rows if row["signal"] == "cpu.energy_j" and row["source"] == "host")
    assert rapl["followed_j"] == pytest.approx(0.5)


def _compared(folder: Path, work: Path) -> dict[str, str]:
    """Return the verdict of every signal of a folder's recordings."""
    found: dict[str, str] = {}
    for number, recording in enumerate(find(folder)):
        place = materialise(recording, work / str(number))
        outcome = telemetry._compared(recording, place)
        found |= {str(row["signal"]): str(row["verdict"]) for row in outcome.rows}
        if outcome.unparsed:
            found[recording.name] = outcome.unparsed
    return found


def test_a_wrong_a_missed_and_an_invented_signal_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/power.json").write_text(
        '{"PowerControl": [{"PowerConsumedWatts": 429, "PowerLimit": {"LimitInWatts": 600}}]}'
    )
    lying = Read(signals={"node.power_w": 430.0, "node.temperature_c": 20.0})
    monkeypatch.setattr(telemetry, "read", lambda *_, **__: lying)
    assert _compared(tmp_path / "in", tmp_path / "work") == {
        "node.power_w": "wrong",
        "node.power_limit_w": "missed",
        "node.temperature_c": "invented",
    }


def test_a_counter_that_does_not_follow_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/x.prom").write_text(
        'DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="0",UUID="GPU-1"} 123456\n'
    )
    assert _compared(tmp_path / "in", tmp_path / "a") == {"nvidia0.energy_j": "right"}
    stuck = Read(signals={"nvidia0.energy_j": 0.0}, moved={"nvidia0.energy_j": 0.0})
    monkeypatch.setattr(telemetry, "read", lambda *_, **__: stuck)
    assert _compared(tmp_path / "in", tmp_path / "b") == {"nvidia0.energy_j": "wrong"}


def test_what_nobody_knows_and_what_is_broken_is_reported_as_such(tmp_path: Path) -> None:
    files = {
        "odd.txt": "hello\n",
        "broken.plist": "<?xml version='1.0'?><plist><dict><key>is_delta</key><true",
        "broken.json": '{"PowerControl": "yes", "Temperatures": [1]}',
        "README.md": "no recording",
        "LICENSE": "no recording",
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    found = _compared(tmp_path, tmp_path.parent / f"{tmp_path.name}-work")
    assert sorted(found) == ["broken.json", "broken.plist", "odd.txt"]
    assert "not recognised" in found["odd.txt"]
    assert "the extractor cannot read it" in found["broken.plist"]


def test_an_empty_folder_has_no_figures_but_reasons(tmp_path: Path) -> None:
    bench = telemetry._Bench(tmp_path, quick=True)
    bench.compare(find(tmp_path))
    assert bench.figures == {}
    assert {one.figure for one in bench.missing} == {
        "signals_expected",
        "signals_read",
        "signals_wrong",
        "signals_invented",
    }


def test_recordings_are_told_by_what_they_hold_whatever_they_are_called(tmp_path: Path) -> None:
    source = made(tmp_path / "made")
    kinds = {one.name: one.kind for one in find(source)}
    assert kinds["a-laptop"] == "host"
    odd = tmp_path / "odd"
    odd.mkdir()
    for number, name in enumerate(("nvidia/one.xml", "dcgm/one.prom", "mac/one.txt")):
        (odd / f"{number}.dat").write_bytes((source / name).read_bytes())
    assert [one.kind for one in find(odd)] == ["nvidia_smi", "dcgm", "powermetrics"]


def test_a_capture_of_several_samples_is_several_recordings(tmp_path: Path) -> None:
    text = (made(tmp_path / "made") / "mac/one.txt").read_text()
    (tmp_path / "in").mkdir()
    (tmp_path / "in/two.txt").write_text(text + text.replace("900 mW", "800 mW"))
    first, second = find(tmp_path / "in")
    assert (first.name, second.name) == ("two.txt#1", "two.txt#2")
    assert first.digest != second.digest
    for number, recording in enumerate((first, second)):
        place = materialise(recording, tmp_path / str(number))
        signals = {one.signal: one.value for one in expected_of(recording, place)}
        assert signals["cpu.power_w"] == pytest.approx((0.9, 0.8)[number])
        assert read(recording, place).signals["cpu.power_w"] == signals["cpu.power_w"]


@pytest.mark.skipif(not SHARED.is_dir(), reason="no recordings beside the checkout")
def test_on_real_recordings_nothing_is_wrong_and_nothing_invented(tmp_path: Path) -> None:
    verdicts = [
        (recording.name, row["signal"], row["verdict"])
        for number, recording in enumerate(find(SHARED))
        for row in telemetry._compared(
            recording, materialise(recording, tmp_path / str(number))
        ).rows
    ]
    assert len(verdicts) > 400
    assert [one for one in verdicts if one[2] != "right"] == []
