"""The SQLite ledger: what is in the file, how long it stays, who may read."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from metabolic.account.settlement import settled
from metabolic.core.errors import LedgerError
from metabolic.ledger.retention import Retention
from metabolic.ledger.schema import VERSION
from metabolic.ledger.sqlite import Options, SqliteLedger, create
from metabolic.testing.examples import example_record, example_settlement
from metabolic.testing.ledgers import counts

_DAY_S = 86_400.0
_NOW_S = 1_790_000_000.0


def _open(path: Path, **options: object) -> SqliteLedger:
    known = {"path": str(path / "ledger.sqlite"), "flush_s": 0.001, **options}
    return create(Options(**known), now_s=lambda: _NOW_S)  # pyright: ignore[reportArgumentType]


def _sql(path: Path, text: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path / "ledger.sqlite")) as connection:
        return connection.execute(text).fetchall()


def test_what_is_asked_for_often_has_a_column(tmp_path: Path) -> None:
    ledger = _open(tmp_path)
    ledger.append(example_record(1))
    ledger.close()
    (row,) = _sql(
        tmp_path,
        "SELECT id, tenant, session, task, level, deployment, escalations, failure, attempts,"
        " input_tokens, output_tokens, energy_j, energy_origin, cost_micro_usd, electricity_usd,"
        " status FROM receipts",
    )
    assert row == (
        "req-00000001",
        "2f1d6c0a9be84d57",
        "session-17",
        "open_qa",
        "nominal",
        "qwen2.5-coder-1.5b-instruct",
        1,
        None,
        2,
        424,
        128,
        24.0,
        "modelled",
        1,
        1e-06,
        "provisional",
    )


def test_the_view_shows_settled_figures(tmp_path: Path) -> None:
    ledger = _open(tmp_path)
    record = example_record(1)
    ledger.append(record)
    ledger.flush()
    ledger.settle(example_settlement(record, factor=2.0))
    ledger.close()
    (row,) = _sql(tmp_path, "SELECT status, energy_j, low_j, energy_origin, cpu_s FROM receipts")
    assert row == ("settled", 48.0, pytest.approx(38.4), "derived", pytest.approx(3.36))
    sql = "SELECT json_extract(receipt, '$.energy.energy_j') FROM records"
    assert _sql(tmp_path, sql) == [(24.0,)]


def test_a_settlement_may_come_before_its_record(tmp_path: Path) -> None:
    ledger = _open(tmp_path)
    record = example_record(1)
    ledger.settle(example_settlement(record))
    ledger.flush()
    assert ledger.record(record.ask.id) is None
    ledger.append(record)
    ledger.flush()
    assert ledger.record(record.ask.id) == settled(record, example_settlement(record))
    ledger.close()


def test_why_there_was_no_answer_has_a_column(tmp_path: Path) -> None:
    ledger = _open(tmp_path)
    record = example_record(1)
    ledger.append(replace(record, receipt=replace(record.receipt, answer=None)))
    ledger.close()
    assert _sql(tmp_path, "SELECT failure, deployment FROM receipts") == [("no_answer", None)]


@pytest.mark.parametrize("deflate", ["auto", "always", "never"])
def test_deflated_or_not_a_record_is_the_same(tmp_path: Path, deflate: str) -> None:
    ledger = _open(tmp_path, deflate=deflate)
    records = [example_record(number, at_s=float(number)) for number in range(40)]
    for record in records:
        ledger.append(record)
    assert list(ledger.records()) == records
    ledger.close()
    deflated = _sql(tmp_path, "SELECT count(dictionary) FROM records")
    assert deflated == [(0,)] if deflate == "never" else deflated != [(0,)]


def test_a_busy_ledger_does_not_deflate(tmp_path: Path) -> None:
    ledger = _open(tmp_path, batch=4, flush_s=5.0)
    for number in range(8):
        ledger.append(example_record(number))
    ledger.close()
    assert _sql(tmp_path, "SELECT count(dictionary) FROM records") == [(0,)]


def test_the_dictionary_is_kept_for_the_next_process(tmp_path: Path) -> None:
    for number in range(3):
        ledger = _open(tmp_path, deflate="always")
        ledger.append(example_record(number))
        ledger.close()
    assert _sql(tmp_path, "SELECT count(*) FROM dictionaries") == [(1,)]
    assert len(list(_open(tmp_path, read_only=True).records())) == 3


def test_records_are_read_page_by_page_in_order_of_time(tmp_path: Path) -> None:
    ledger = _open(tmp_path)
    for number in range(700):
        ledger.append(example_record(number, at_s=float(number // 3)))
    found = [record.ask.at_s for record in ledger.records(10.0, 200.0)]
    assert found == [float(number // 3) for number in range(30, 600)]
    ledger.close()


def test_old_records_settlements_and_blobs_go_and_new_ones_stay(tmp_path: Path) -> None:
    ledger = _open(tmp_path, retention_days=None)
    old = example_record(1, at_s=_NOW_S - 40 * _DAY_S)
    new = example_record(2, at_s=_NOW_S - 5 * _DAY_S)
    old = replace(old, situation=replace(old.situation, fleet_id="fleet-old"))
    for digest in ("fleet-0", "fleet-old", "policy-0"):
        ledger.put(digest, digest.encode())
    for record in (old, new):
        ledger.append(record)
        ledger.settle(example_settlement(record))
    ledger.close()
    _age(tmp_path, days=40)
    ledger = _open(tmp_path)
    ledger.append(new)
    ledger.close()
    later = create(
        Options(path=str(tmp_path / "ledger.sqlite"), retention_days=30.0), now_s=lambda: _NOW_S
    )
    later.flush()
    later.close()
    assert [record.ask.id for record in later.records()] == [new.ask.id]
    assert later.blob("fleet-old") is None
    assert later.blob("fleet-0") == b"fleet-0"
    assert later.blob("policy-0") == b"policy-0"
    assert _sql(tmp_path, "SELECT count(*) FROM settlements") == [(0,)]


def _age(path: Path, *, days: int) -> None:
    """Let what was put today have been put so many days ago, but for what newer records use."""
    with closing(sqlite3.connect(path / "ledger.sqlite")) as connection:
        today = int(_NOW_S // _DAY_S)
        connection.execute("UPDATE blobs SET used_day = ?", (today - days,))
        connection.execute(
            "UPDATE blobs SET used_day = ? WHERE digest IN ('fleet-0', 'policy-0')", (today - 5,)
        )
        connection.execute("UPDATE settlements SET stored_s = stored_s - ?", (days * _DAY_S,))
        connection.commit()


def test_a_record_keeps_its_blobs_alive(tmp_path: Path) -> None:
    ledger = _open(tmp_path, retention_days=None)
    ledger.put("fleet-0", b"fleet")
    ledger.flush()
    ledger.append(example_record(1, at_s=_NOW_S + 20 * _DAY_S))
    ledger.close()
    days = _sql(tmp_path, "SELECT used_day FROM blobs WHERE digest = 'fleet-0'")
    assert days == [(int((_NOW_S + 20 * _DAY_S) // _DAY_S),)]


def test_much_that_is_old_goes_in_steps_and_its_room_is_given_back(tmp_path: Path) -> None:
    ledger = _open(tmp_path, retention_days=None, deflate="never")
    for number in range(1200):
        ledger.append(example_record(number, at_s=_NOW_S - 40 * _DAY_S))
    ledger.append(example_record(5000, at_s=_NOW_S))
    ledger.close()
    with closing(sqlite3.connect(ledger.path, isolation_level=None)) as connection:
        retention = Retention(30 * _DAY_S, lambda: _NOW_S)
        steps = 1
        while retention.step(connection) == 0.0:
            steps += 1
    assert steps >= 3
    assert _sql(tmp_path, "SELECT id FROM records") == [(example_record(5000).ask.id,)]
    assert ledger.path.stat().st_size < 1200 * 5000 / 2


def test_retention_that_is_not_due_does_nothing(tmp_path: Path) -> None:
    _open(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as connection:
        assert Retention(None, lambda: _NOW_S).step(connection) is None
        retention = Retention(30 * _DAY_S, lambda: _NOW_S)
        first_s, second_s = retention.step(connection), retention.step(connection)
    assert first_s is not None
    assert second_s is not None
    assert 0 < second_s <= first_s


def test_a_blob_is_put_once_a_day(tmp_path: Path) -> None:
    ledger = _open(tmp_path)
    for _ in range(5):
        ledger.put("digest", b"blob")
    ledger.close()
    assert _sql(tmp_path, "SELECT count(*) FROM blobs") == [(1,)]


def test_a_ledger_of_before_the_first_release_is_left_alone(tmp_path: Path) -> None:
    _open(tmp_path).close()
    _sql(tmp_path, "PRAGMA user_version = 1")
    ledger = _open(tmp_path)
    ledger.append(example_record())
    ledger.flush()
    with pytest.raises(LedgerError, match="move it away"):
        list(ledger.records())
    ledger.close()
    assert counts(ledger)["spooled"] == 1


def test_a_ledger_of_a_later_release_is_left_alone(tmp_path: Path) -> None:
    _open(tmp_path).close()
    _sql(tmp_path, f"PRAGMA user_version = {VERSION + 1}")
    ledger = _open(tmp_path)
    ledger.append(example_record())
    ledger.flush()
    with pytest.raises(LedgerError, match="this release knows"):
        list(ledger.records())
    ledger.close()
    assert counts(ledger)["spooled"] == 1
    _sql(tmp_path, f"PRAGMA user_version = {VERSION}")
    assert _sql(tmp_path, "SELECT count(*) FROM records") == [(0,)]


def test_reading_what_is_not_there_is_an_error_and_makes_nothing(tmp_path: Path) -> None:
    ledger = _open(tmp_path / "nowhere", read_only=True)
    with pytest.raises(LedgerError, match="there is no ledger"):
        list(ledger.records())
    ledger.append(example_record())
    ledger.close()
    assert not (tmp_path / "nowhere").exists()


def test_reading_what_is_no_ledger_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"not a database at all, but long enough" * 100)
    ledger = _open(tmp_path, read_only=True)
    with pytest.raises(LedgerError, match="not a database"):
        list(ledger.records())
    with pytest.raises(LedgerError, match="not a database"):
        ledger.record("any")


def test_an_unreadable_record_is_passed_over_and_counted(tmp_path: Path) -> None:
    ledger = _open(tmp_path)
    for number in range(3):
        ledger.append(example_record(number, at_s=float(number)))
    ledger.close()
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as connection:
        connection.execute("UPDATE records SET body = x'00ff' WHERE at_s = 1")
        connection.commit()
    ledger = _open(tmp_path, read_only=True)
    assert [record.ask.at_s for record in ledger.records()] == [0.0, 2.0]
    assert counts(ledger)["unreadable"] == 1


def test_the_file_is_for_this_user_only(tmp_path: Path) -> None:
    _open(tmp_path / "new").close()
    assert (tmp_path / "new" / "ledger.sqlite").stat().st_mode & 0o077 == 0
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0


def test_details_are_kept_only_when_asked_for(tmp_path: Path) -> None:
    record = example_record()
    bills = tuple(replace(one, reasons=("schema: $.age",)) for one in record.receipt.attempts)
    record = replace(record, receipt=replace(record.receipt, attempts=bills))
    ledger = _open(tmp_path, details=True)
    ledger.append(record)
    assert list(ledger.records()) == [record]
    ledger.close()


_READER = """
import sys
from metabolic.ledger.sqlite import Options, create
ledger = create(Options(path=sys.argv[1], read_only=True))
last = 0
while last < int(sys.argv[2]):
    found = sum(1 for _ in ledger.records())
    assert found >= last, (found, last)
    last = found
print(last)
"""


def test_two_processes_read_while_one_writes(tmp_path: Path) -> None:
    ledger = _open(tmp_path)
    ledger.append(example_record(0))
    ledger.flush()
    command = [sys.executable, "-c", _READER, str(ledger.path), "600"]
    readers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for number in range(1, 600):
        ledger.append(example_record(number, at_s=float(number)))
        if number % 50 == 0:
            ledger.flush()
    ledger.flush()
    assert [reader.communicate(timeout=15)[0].strip() for reader in readers] == ["600", "600"]
    ledger.close()
