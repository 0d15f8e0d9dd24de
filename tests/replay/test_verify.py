"""Stored records, folded again, are what they were."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from metabolic import plugins
from metabolic.core.attempt import Ended
from metabolic.core.ports import Ledger
from metabolic.core.receipt import Record
from metabolic.decide.decide import DECISION_VERSION
from metabolic.replay.verify import verify
from metabolic.testing.records import fill_ledger

_COUNT = 60


@pytest.fixture(scope="module")
def drawn() -> Ledger:
    """A ledger with records of every kind."""
    ledger = plugins.ledger("memory")
    fill_ledger(ledger, _COUNT)
    return ledger


def _copy(drawn: Ledger, *, without: str = "") -> Ledger:
    """Return a ledger with the same blobs, but for one, and no records."""
    ledger = plugins.ledger("memory")
    for record in drawn.records():
        for name in _digests(record):
            blob = drawn.blob(name)
            if blob is not None and name != without:
                ledger.put(name, blob)
    return ledger


def _digests(record: Record) -> tuple[str, str, str]:
    ref = record.situation
    return ref.fleet_id, ref.metabolic_id, record.decision.policy_id


def _answered(drawn: Ledger) -> Record:
    """Return a provisional record with an answer after an escalation."""
    return next(
        one
        for one in drawn.records()
        if one.receipt.answer and len(one.attempts) > 1 and one.receipt.status == "provisional"
    )


def test_every_record_of_the_line_is_found_equal(drawn: Ledger) -> None:
    report = verify(drawn)
    assert report.differences == ()
    assert (report.checked, report.equal) == (_COUNT, _COUNT)
    assert report.records_per_s > 0


@pytest.mark.parametrize("kind", ["jsonl", "sqlite"])
def test_records_are_equal_after_they_were_on_disk(kind: str, tmp_path: Path) -> None:
    path = str(tmp_path / f"ledger.{kind}")
    ledger = plugins.ledger(kind, {"path": path})
    fill_ledger(ledger, _COUNT, seed=1)
    ledger.close()
    report = verify(plugins.ledger(kind, {"path": path, "read_only": True}))
    assert report.differences == ()
    assert report.equal == _COUNT


def test_drawn_records_cover_what_can_happen(drawn: Ledger) -> None:
    records = list(drawn.records())
    assert any(one.receipt.failure for one in records)
    assert any(not one.decision.stages for one in records)
    assert any(one.receipt.answer and one.receipt.answer.escalations for one in records)
    assert {one.receipt.status for one in records} == {"provisional", "settled"}


def test_a_changed_decision_is_named_by_its_field(drawn: Ledger) -> None:
    ledger = _copy(drawn)
    record = _answered(drawn)
    stages = (replace(record.decision.stages[0], min_confidence=0.123), *record.decision.stages[1:])
    ledger.append(replace(record, decision=replace(record.decision, stages=stages)))
    report = verify(ledger)
    (difference,) = report.differences
    assert report.differing == 1
    assert (difference.part, difference.path) == ("decision", ".stages[0].min_confidence")
    assert difference.stored == "0.123"


def test_a_changed_event_changes_effects_or_attempts(drawn: Ledger) -> None:
    ledger = _copy(drawn)
    record = _answered(drawn)
    events = tuple(one for one in record.events if not isinstance(one, Ended))
    ledger.append(replace(record, events=events))
    (difference,) = verify(ledger).differences
    assert difference.part == "effects"


def test_a_changed_attempt_is_found(drawn: Ledger) -> None:
    ledger = _copy(drawn)
    record = _answered(drawn)
    attempts = (replace(record.attempts[0], cpu_s=99.0), *record.attempts[1:])
    ledger.append(replace(record, attempts=attempts))
    (difference,) = verify(ledger).differences
    assert (difference.part, difference.path) == ("attempts", "[0].cpu_s")


def test_a_changed_bill_is_found(drawn: Ledger) -> None:
    ledger = _copy(drawn)
    record = _answered(drawn)
    cost = replace(record.receipt.cost, tokens_usd=1.0)
    ledger.append(replace(record, receipt=replace(record.receipt, cost=cost)))
    (difference,) = verify(ledger).differences
    assert (difference.part, difference.path) == ("receipt", ".cost.tokens_usd")


def test_a_settled_receipt_whose_sum_was_changed_is_found(drawn: Ledger) -> None:
    ledger = _copy(drawn)
    record = next(
        one for one in drawn.records() if one.receipt.energy and one.receipt.status == "settled"
    )
    assert record.receipt.energy is not None
    energy = replace(record.receipt.energy, energy_j=record.receipt.energy.energy_j + 1.0)
    ledger.append(replace(record, receipt=replace(record.receipt, energy=energy)))
    (difference,) = verify(ledger).differences
    assert difference.path == ".energy.energy_j"


def test_a_record_of_another_version_is_counted_and_left_alone(drawn: Ledger) -> None:
    ledger = _copy(drawn)
    ledger.append(replace(_answered(drawn), decision_version=DECISION_VERSION + 1, events=()))
    report = verify(ledger)
    assert (report.checked, report.other_version, report.differing) == (0, 1, 0)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_record_whose_blob_is_gone_is_unverifiable_not_wrong(drawn: Ledger, part: int) -> None:
    record = _answered(drawn)
    ledger = _copy(drawn, without=_digests(record)[part])
    ledger.append(record)
    report = verify(ledger)
    assert (report.unverifiable, report.differing) == (1, 0)


def test_events_are_folded_even_when_a_blob_is_gone(drawn: Ledger) -> None:
    record = _answered(drawn)
    ledger = _copy(drawn, without=record.situation.fleet_id)
    ledger.append(replace(record, effects_digest="another"))
    assert verify(ledger).differing == 1


def test_a_damaged_blob_is_as_good_as_gone(drawn: Ledger) -> None:
    record = _answered(drawn)
    ledger = _copy(drawn)
    ledger.put(record.situation.fleet_id, b"{")
    ledger.append(record)
    assert verify(ledger).unverifiable == 1


def test_only_the_asked_time_is_read(drawn: Ledger) -> None:
    times = [one.ask.at_s for one in drawn.records()]
    report = verify(drawn, since_s=times[10], until_s=times[20])
    assert report.checked == 10


def test_progress_is_told(drawn: Ledger) -> None:
    ledger = plugins.ledger("memory")
    fill_ledger(ledger, 260)
    told: list[int] = []
    verify(ledger, progress=told.append)
    assert told == [256]


@given(seed=st.integers(min_value=0, max_value=1_000_000))
def test_whatever_happens_replays_equal(seed: int) -> None:
    ledger = plugins.ledger("memory")
    fill_ledger(ledger, 3, seed=seed)
    assert verify(ledger).differences == ()
