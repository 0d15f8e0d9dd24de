"""Full disks, locks, damage and kills: nothing is lost without being counted."""

import json
import logging
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from metabolic.account.settlement import settled
from metabolic.core.errors import LedgerError
from metabolic.ledger.codec import RecordEntry, line_of
from metabolic.ledger.sqlite import Options, SqliteLedger, create
from metabolic.testing.examples import example_record, example_settlement
from metabolic.testing.ledgers import counts


def _open(path: Path, **options: object) -> SqliteLedger:
    known: dict[str, object] = {
        "path": str(path / "ledger.sqlite"),
        "flush_s": 0.001,
        "busy_s": 0.01,
        "retry_s": 0.01,
        "retry_max_s": 0.05,
        "retention_days": None,
    }
    return create(Options(**{**known, **options}))  # pyright: ignore[reportArgumentType]


def _wait(is_so: Callable[[], bool]) -> None:
    ends_s = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < ends_s
        time.sleep(0.005)


def _adds_up(ledger: SqliteLedger) -> bool:
    """Say whether every record appended is in exactly one place."""
    seen = counts(ledger)
    spooled = seen["spooled"] - seen["unspooled"]
    places = ("stored", "duplicate", "dropped", "failed", "queued")
    return seen["appended"] == spooled + sum(seen[name] for name in places)


def test_a_locked_ledger_is_spooled_and_folded_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = _open(tmp_path)
    ledger.append(example_record(0, at_s=0.0))
    ledger.flush()
    caplog.set_level(logging.WARNING, "metabolic.ledger")
    with closing(sqlite3.connect(ledger.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for number in range(1, 30):
            ledger.append(example_record(number, at_s=float(number)))
            ledger.flush()
        assert counts(ledger)["spooled"] == 29
        assert _adds_up(ledger)
        other.execute("ROLLBACK")
    _wait(lambda: counts(ledger)["unspooled"] == 29)
    assert [record.ask.at_s for record in ledger.records()] == [float(n) for n in range(30)]
    assert _adds_up(ledger)
    ledger.close()
    assert not list(tmp_path.glob("*.spool.jsonl"))
    messages = [record.message for record in caplog.records]
    assert len(messages) == 2
    assert "cannot be written, spooling: database is locked" in messages[0]
    assert "works again" in messages[1]


def test_settlements_and_blobs_are_spooled_too(tmp_path: Path) -> None:
    ledger = _open(tmp_path)
    record = example_record(1)
    ledger.flush()
    with closing(sqlite3.connect(ledger.path, isolation_level=None)) as other:
        _wait(lambda: bool(other.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]))
        other.execute("BEGIN IMMEDIATE")
        ledger.append(record)
        ledger.settle(example_settlement(record, factor=2.0))
        ledger.put("digest", b"blob")
        ledger.flush()
        spooled = (ledger.record(record.ask.id), ledger.blob("digest"))
        other.execute("ROLLBACK")
    _wait(lambda: counts(ledger)["unspooled"] == 1)
    stored = (ledger.record(record.ask.id), ledger.blob("digest"))
    assert stored == spooled == (settled(record, example_settlement(record, factor=2.0)), b"blob")
    ledger.close()


def test_a_settlement_that_overtakes_its_spooled_record_settles_it(tmp_path: Path) -> None:
    record = example_record(1)
    first = _open(tmp_path)
    first.settle(example_settlement(record, factor=2.0))
    first.close()
    (tmp_path / "ledger.sqlite.spool.jsonl").write_bytes(line_of(RecordEntry(record=record)))
    second = _open(tmp_path)
    _wait(lambda: counts(second)["unspooled"] == 1)
    second.close()
    with closing(sqlite3.connect(second.path)) as connection:
        rows = connection.execute("SELECT status, energy_j FROM receipts").fetchall()
    assert rows == [("settled", 48.0)]


def test_a_damaged_ledger_is_spooled_and_never_replaced(tmp_path: Path) -> None:
    damaged = b"this is no database, whatever its name may say" * 100
    (tmp_path / "ledger.sqlite").write_bytes(damaged)
    ledger = _open(tmp_path)
    for number in range(5):
        ledger.append(example_record(number))
    ledger.flush()
    assert counts(ledger)["spooled"] == 5
    assert (tmp_path / "ledger.sqlite").read_bytes() == damaged
    (tmp_path / "ledger.sqlite").rename(tmp_path / "damaged")
    _wait(lambda: counts(ledger)["unspooled"] == 5)
    assert len(list(ledger.records())) == 5
    ledger.close()


def test_a_receipt_can_be_had_while_the_ledger_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"this is no database" * 100)
    ledger = _open(tmp_path)
    record = example_record(1)
    ledger.append(record)
    ledger.settle(example_settlement(record))
    ledger.flush()
    assert ledger.record(record.ask.id) == settled(record, example_settlement(record))
    with pytest.raises(LedgerError, match="not a database"):
        ledger.record("unknown")
    ledger.close()


def test_a_ledger_moved_away_is_begun_anew(tmp_path: Path) -> None:
    ledger = _open(tmp_path)
    ledger.append(example_record(1))
    ledger.flush()
    for name in ("ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"):
        (tmp_path / name).rename(tmp_path / f"old-{name}")
    ledger.append(example_record(2))
    ledger.flush()
    assert [record.ask.id for record in ledger.records()] == [example_record(2).ask.id]
    ledger.close()


def test_without_any_place_records_are_counted_as_failed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    ledger = _open(tmp_path / "file" / "below")
    record = example_record(1)
    ledger.append(record)
    ledger.settle(example_settlement(record))
    ledger.put("digest", b"blob")
    ledger.flush()
    seen = counts(ledger)
    assert (seen["failed"], seen["lost_settlements"], seen["lost_blobs"]) == (1, 1, 1)
    assert _adds_up(ledger)
    ledger.close()


def test_a_full_spool_counts_what_it_cannot_take(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").mkdir()
    ledger = _open(tmp_path, spool_bytes=20_000)
    for number in range(20):
        ledger.append(example_record(number))
    ledger.flush()
    seen = counts(ledger)
    assert seen["spooled"] >= 1
    assert seen["failed"] >= 1
    assert seen["spooled"] + seen["failed"] == 20
    ledger.close()


def test_records_of_an_earlier_process_come_back_from_the_spool(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").mkdir()
    first = _open(tmp_path)
    for number in range(5):
        first.append(example_record(number))
    first.close()
    (tmp_path / "ledger.sqlite").rmdir()
    second = _open(tmp_path)
    _wait(lambda: counts(second)["unspooled"] == 5)
    assert len(list(second.records())) == 5
    second.close()


def test_a_bad_record_is_lost_alone_and_counted(tmp_path: Path) -> None:
    ledger = _open(tmp_path, flush_s=0.2)
    bad = example_record(99)
    for number in range(5):
        ledger.append(example_record(number))
    ledger.append(replace(bad, effects_digest="\ud800"))
    ledger.append(replace(bad, schema=2**70))
    ledger.append(replace(bad, ask=replace(bad.ask, at_s=2**63)))
    ledger.append(replace(bad, attempts=None))  # pyright: ignore[reportArgumentType]
    ledger.put("\ud800", b"blob")
    ledger.append(example_record(5))
    ledger.flush()
    assert len(list(ledger.records())) == 6
    seen = counts(ledger)
    assert (seen["stored"], seen["failed"], seen["lost_blobs"]) == (6, 4, 1)
    assert _adds_up(ledger)
    ledger.close()


_DISK_FULL = """
import json, resource, sys, time
from metabolic.account.settlement import settled
from metabolic.core.errors import LedgerError
from metabolic.ledger.codec import RecordEntry, line_of
from metabolic.ledger.sqlite import Options, create
from metabolic.testing.examples import example_record
from metabolic.testing.ledgers import counts

_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
ledger = create(Options(path=sys.argv[1], flush_s=0.001, retry_s=0.01, retry_max_s=0.05,
                        deflate="never", retention_days=None))
ledger.flush()
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), hard))
for number in range(200):
    ledger.append(example_record(number, at_s=float(number)))
    if number % 10 == 9:
        ledger.flush()
full = counts(ledger)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
ends_s = time.monotonic() + 10
while counts(ledger)["unspooled"] < full["spooled"] and time.monotonic() < ends_s:
    time.sleep(0.01)
ledger.append(example_record(200, at_s=200.0))
ledger.flush()
after = counts(ledger)
found = [record.ask.at_s for record in ledger.records()]
ledger.close()
print(json.dumps({"full": full, "after": after, "found": found}))
"""


@pytest.mark.parametrize("limit_bytes", [300_000, 700_000])
def test_a_full_disk_loses_nothing_that_is_not_counted(tmp_path: Path, limit_bytes: int) -> None:
    command = [sys.executable, "-c", _DISK_FULL, str(tmp_path / "l.sqlite"), str(limit_bytes)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=18, check=True)
    seen = json.loads(done.stdout)
    full, after, found = seen["full"], seen["after"], seen["found"]
    assert full["spooled"] > 0
    assert after["unspooled"] == full["spooled"]
    assert after["appended"] == 201
    assert len(found) == after["stored"]
    assert after["stored"] + after["failed"] == 201
    assert found == sorted(set(found))
    assert found[-1] == 200.0
    assert "cannot be written" in done.stderr


_KILLED = """
import sys
from metabolic.account.settlement import settled
from metabolic.core.errors import LedgerError
from metabolic.ledger.codec import RecordEntry, line_of
from metabolic.ledger.sqlite import Options, create
from metabolic.testing.examples import example_record

ledger = create(Options(path=sys.argv[1], flush_s=0.05, retention_days=None))
number = 0
while True:
    ledger.append(example_record(number, at_s=float(number)))
    number += 1
    if number % 100 == 0:
        ledger.flush()
        print(number, flush=True)
"""


def test_a_killed_writer_loses_at_most_what_was_not_flushed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    command = [sys.executable, "-c", _KILLED, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [int(process.stdout.readline()) for _ in range(5)]
        process.send_signal(signal.SIGKILL)
        told += map(int, process.stdout.read().split())
    ledger = _open(tmp_path)
    found = [record.ask.at_s for record in ledger.records()]
    assert len(found) >= max(told)
    assert found == [float(number) for number in range(len(found))]
    ledger.append(example_record(10**6, at_s=1e6))
    assert [record.ask.at_s for record in ledger.records(1e6)] == [1e6]
    ledger.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
