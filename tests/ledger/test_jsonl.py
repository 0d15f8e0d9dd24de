"""The ledger in lines: readable by others, rotated, and honest when it cannot write."""

import json
import logging
import os
from pathlib import Path

import pytest

from metabolic.core.errors import LedgerError
from metabolic.ledger.jsonl import JsonlLedger, Options, create
from metabolic.testing.examples import example_record, example_settlement
from metabolic.testing.ledgers import counts

_NOW_S = 1_790_000_000.0


def _open(path: Path, **options: object) -> JsonlLedger:
    known = {"path": str(path / "ledger.jsonl"), "flush_s": 0.001, **options}
    return create(Options(**known), now_s=lambda: _NOW_S)  # pyright: ignore[reportArgumentType]


def test_each_line_says_what_it_is(tmp_path: Path) -> None:
    ledger = _open(tmp_path)
    record = example_record(1)
    ledger.put("fleet-0", b"fleet")
    ledger.append(record)
    ledger.settle(example_settlement(record))
    ledger.close()
    lines = [json.loads(line) for line in (tmp_path / "ledger.jsonl").read_bytes().splitlines()]
    assert [line["type"] for line in lines] == ["blob", "record", "settlement"]
    assert lines[1]["record"]["receipt"]["id"] == record.ask.id


def test_a_full_file_is_rotated_and_all_are_read_in_order(tmp_path: Path) -> None:
    ledger = _open(tmp_path, rotate_bytes=20_000, batch=1)
    for number in range(12):
        ledger.append(example_record(number, at_s=float(100 - number)))
        ledger.settle(example_settlement(example_record(number)))
    found = list(ledger.records())
    ledger.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names[:3] == ["ledger.jsonl", "ledger.jsonl.000001", "ledger.jsonl.000002"]
    assert [record.ask.at_s for record in found] == [float(n) for n in range(89, 101)]
    assert {record.receipt.status for record in found} == {"settled"}


def test_every_file_holds_the_blobs_of_its_records(tmp_path: Path) -> None:
    ledger = _open(tmp_path, rotate_bytes=20_000, batch=1)
    ledger.put("fleet-0", b"fleet")
    for number in range(12):
        ledger.append(example_record(number))
    ledger.close()
    for path in tmp_path.iterdir():
        lines = path.read_bytes().splitlines()
        assert sum(b'"fleet-0","blob"' in line for line in lines) == 1


def test_old_files_go(tmp_path: Path) -> None:
    for number, days in ((1, 100), (2, 80)):
        path = tmp_path / f"ledger.jsonl.{number:06d}"
        path.write_bytes(b"")
        os.utime(path, (_NOW_S - days * 86_400, _NOW_S - days * 86_400))
    ledger = _open(tmp_path)
    ledger.append(example_record())
    ledger.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "ledger.jsonl",
        "ledger.jsonl.000002",
    ]


def test_torn_and_foreign_lines_are_passed_over(tmp_path: Path) -> None:
    ledger = _open(tmp_path)
    ledger.append(example_record(1))
    ledger.close()
    with (tmp_path / "ledger.jsonl").open("ab") as file:
        file.write(b'{"type":"other"}\n{"type":"record","rec')
    ledger = _open(tmp_path)
    ledger.append(example_record(2))
    assert len(list(ledger.records())) == 2
    assert ledger.record(example_record(2).ask.id) is not None
    ledger.close()


def test_what_cannot_be_written_is_counted_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "metabolic.ledger")
    (tmp_path / "ledger.jsonl").mkdir()
    ledger = _open(tmp_path)
    for number in range(3):
        ledger.append(example_record(number))
        ledger.flush()
    (tmp_path / "ledger.jsonl").rmdir()
    ledger.append(example_record(3))
    ledger.flush()
    seen = counts(ledger)
    assert (seen["appended"], seen["failed"], seen["stored"]) == (4, 3, 1)
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    ledger.close()


def test_reading_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    ledger = _open(tmp_path, read_only=True)
    with pytest.raises(LedgerError, match="there is no ledger"):
        list(ledger.records())
    ledger.append(example_record())
    ledger.close()
    assert list(tmp_path.iterdir()) == []
