"""The command that folds a ledger again."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from metabolic import plugins
from metabolic.cli.ledgers import moment
from metabolic.cli.replay import replay
from metabolic.core.errors import ConfigError, LedgerError
from metabolic.testing.records import fill_ledger


def _filled(path: Path, kind: str = "sqlite", count: int = 20) -> Path:
    ledger = plugins.ledger(kind, {"path": str(path)})
    fill_ledger(ledger, count)
    ledger.close()
    return path


@pytest.mark.parametrize("name", ["ledger.sqlite", "ledger.jsonl"])
def test_a_ledger_that_replays_equal_is_a_success(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _filled(tmp_path / name, name.partition(".")[2])
    assert replay(ledger=path, json=True) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["checked"], report["equal"], report["differing"]) == (20, 20, 0)
    assert report["records_per_s"] > 0


def test_a_difference_fails_and_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _filled(tmp_path / "ledger.jsonl", "jsonl")
    text = path.read_text()
    assert text.count('"tenant":"tenant"') == 20
    path.write_text(text.replace('"p_simple":0.', '"p_simple":0.0', 1))
    assert replay(ledger=path) == 1
    out = capsys.readouterr().out
    assert "First differences" in out
    assert "decision.candidates[0]" in out


def test_the_configured_ledger_is_the_default(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _filled(tmp_path / "here.db")
    config = tmp_path / "metabolic.toml"
    config.write_text(f'[ledger]\npath = "{path}"\n')
    assert replay(config=config, since="2020-01-01", json=True) == 0
    assert json.loads(capsys.readouterr().out)["checked"] == 20
    assert replay(config=config, until="2020-01-01", json=True) == 0
    assert json.loads(capsys.readouterr().out)["checked"] == 0


def test_a_ledger_in_memory_cannot_be_replayed(tmp_path: Path) -> None:
    config = tmp_path / "metabolic.toml"
    config.write_text('[ledger]\nkind = "memory"\n')
    with pytest.raises(ConfigError, match="memory"):
        replay(config=config)


def test_a_missing_ledger_is_an_error_and_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="there is no ledger"):
        replay(ledger=tmp_path / "nothing.sqlite")
    assert list(tmp_path.iterdir()) == []


def test_replay_writes_nothing(tmp_path: Path) -> None:
    path = _filled(tmp_path / "ledger.sqlite")
    with closing(sqlite3.connect(path)) as connection:
        before = list(connection.iterdump())
    replay(ledger=path, json=True)
    with closing(sqlite3.connect(path)) as connection:
        assert list(connection.iterdump()) == before


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("90s", 999_910.0),
        ("1.5h", 994_600.0),
        ("1w", 395_200.0),
        ("1970-01-02T00:00:00+01:00", 82_800.0),
        ("1790000000", 1_790_000_000.0),
    ],
)
def test_times_are_taken_as_people_write_them(text: str | None, expected: float | None) -> None:
    assert moment(text, now_s=1_000_000.0) == expected


def test_what_is_no_time_is_refused_with_examples() -> None:
    with pytest.raises(ConfigError, match="is no time: write 2h"):
        moment("yesterday", now_s=0.0)
