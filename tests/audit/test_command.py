"""The command: our own ledger, its outputs, and what it refuses."""

import json

import pytest

pytest.importorskip("duckdb", reason="needs the extra audit")

from pathlib import Path

from metabolic import plugins
from metabolic.cli.main import main
from metabolic.testing.records import fill_ledger

LOGS = Path(__file__).parent / "logs"


@pytest.mark.parametrize(("kind", "name"), [("sqlite", "ledger.db"), ("jsonl", "ledger.jsonl")])
def test_our_own_ledger_gives_every_call_with_its_joules(kind, name, tmp_path, capsys):
    path = tmp_path / name
    ledger = plugins.ledger(kind, {"path": str(path)})
    fill_ledger(ledger, 40, seed=3)
    ledger.close()
    _run(["audit", str(path), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["sources"][0]["format"] == "metabolic"
    assert found["calls"] >= 40
    assert any(one["name"] == "recorded_energy_j" for one in found["figures"])


def _run(words):
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 0


def test_it_prints_tables_and_writes_the_report(tmp_path, capsys):
    page = tmp_path / "report.html"
    _run(["audit", str(LOGS / "rows.jsonl"), "--epsilon", "0.06", "--html", str(page)])
    said = capsys.readouterr().out
    assert said.startswith("SWITCH: Moving extraction to gpt-4o-mini")
    assert "Waste (may overlap)" in said
    assert "What would be saved" in page.read_text(encoding="utf-8")


def test_a_folder_is_read_file_by_file(tmp_path, capsys):
    for name in ("usage.csv", "nginx.log"):
        (tmp_path / name).write_bytes((LOGS / name).read_bytes())
    _run(["audit", str(tmp_path), "--json", "--zone", "FR", "--running", "10"])
    found = json.loads(capsys.readouterr().out)
    assert [one["format"] for one in found["sources"]] == ["access", "openai-usage"]


@pytest.mark.parametrize(
    ("words", "why"),
    [(["--zone", "XX"], "no grid"), (["--candidate", "nobody"], "no price")],
)
def test_what_is_wrong_is_said_in_one_line(words, why, capsys):
    with pytest.raises(SystemExit) as left:
        main(["audit", str(LOGS / "usage.csv"), *words])
    assert left.value.code == 2
    assert why in capsys.readouterr().err
