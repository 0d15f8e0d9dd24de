"""The command that shows what requests took."""

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from metabolic import plugins
from metabolic.cli.receipts import receipts
from metabolic.core.attempt import Failure
from metabolic.core.errors import LedgerError
from metabolic.core.receipt import Receipt
from metabolic.testing.examples import example_record, example_settlement


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger of five requests: the last failed, the fourth is another tenant's."""
    path = tmp_path / "ledger.sqlite"
    ledger = plugins.ledger("sqlite", {"path": str(path), "retention_days": 1e6})
    for number in range(5):
        record = example_record(number, at_s=float(number))
        receipt: Receipt = replace(record.receipt, at_s=float(number))
        if number == 3:
            record = replace(record, ask=replace(record.ask, tenant="other", session=None))
        if number == 4:
            failure = Failure(kind="unreachable", message="x")
            receipt = replace(receipt, answer=None, failure=failure, energy=None, carbon=None)
        ledger.append(replace(record, receipt=receipt))
    ledger.settle(example_settlement(example_record(0), factor=2.0))
    ledger.close()
    return path


def test_one_receipt_is_shown_in_full(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    receipts("req-00000000", ledger=path)
    shown = json.loads(capsys.readouterr().out)
    assert shown["status"] == "settled"
    assert shown["energy"]["energy_j"] == 48.0


def test_an_unknown_request_is_an_error(path: Path) -> None:
    with pytest.raises(LedgerError, match="no receipt of unknown"):
        receipts("unknown", ledger=path)


def test_totals_count_all_and_the_list_shows_the_last(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    receipts(ledger=path, since="0", last=2, json=True)
    shown = json.loads(capsys.readouterr().out)
    assert [one["id"] for one in shown["receipts"]] == ["req-00000003", "req-00000004"]
    assert shown["total"]["requests"] == 5
    assert (shown["total"]["answered"], shown["total"]["escalated"]) == (4, 4)
    assert shown["total"]["energy_j"] == 48.0 + 3 * 24.0


def test_only_those_of_a_tenant_or_session(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    receipts(ledger=path, since="0", tenant="other", json=True)
    assert json.loads(capsys.readouterr().out)["total"]["requests"] == 1
    receipts(ledger=path, since="0", session="session-17", json=True)
    assert json.loads(capsys.readouterr().out)["total"]["requests"] == 4


def test_people_get_a_table(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    receipts(ledger=path, since="0")
    out = capsys.readouterr().out
    assert "nobody: unreachable" in out
    assert "5 requests, 4 answered, 4 escalated: 120 J (unknown of 1)" in out


def test_a_day_is_the_default(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    receipts(ledger=path, json=True)
    assert json.loads(capsys.readouterr().out)["total"]["requests"] == 0
