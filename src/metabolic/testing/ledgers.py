"""Conformance of ledgers: what every adapter of the seam must keep.

>>> from metabolic.ledger.memory import Options, create
>>> check_ledger(lambda: create(Options()))
"""

__all__ = ["check_ledger", "counts", "wait_until_stored"]

import threading
import time
from collections.abc import Callable

from msgspec.structs import replace

from metabolic.account.settlement import settled
from metabolic.core.attempt import Checked, Ended, Failure, Verdict
from metabolic.core.ports import Ledger
from metabolic.core.receipt import Record
from metabolic.testing.examples import example_record, example_settlement

_COUNTERS = ("appended", "dropped", "spooled", "failed", "queued")
_WAIT_S = 10.0
_THREADS, _EACH = 4, 25
_CANARY = "canary-in-the-record"


def check_ledger(create: Callable[[], Ledger]) -> None:
    """Use ledgers as Metabolic does; each call of ``create`` must return an empty one.

    Raises:
        AssertionError: a promise of the seam is broken; the message says which.
    """
    _keeps_what_it_is_given(create())
    _finds_by_time(create())
    _settles(create())
    _keeps_blobs(create())
    _takes_from_many_threads(create())
    _survives_what_cannot_be_stored(create())
    _keeps_no_text(create())
    _closes(create())


def counts(ledger: Ledger) -> dict[str, int]:
    """Return a ledger's counters by name."""
    return dict(ledger.counters())


def wait_until_stored(ledger: Ledger, *, timeout_s: float = _WAIT_S) -> None:
    """Wait until nothing is queued. Raises ``AssertionError`` when that takes too long."""
    ends_s = time.monotonic() + timeout_s
    while counts(ledger)["queued"]:
        assert time.monotonic() < ends_s, "the queue is not emptied"
        time.sleep(0.005)


def _keeps_what_it_is_given(ledger: Ledger) -> None:
    record = example_record(1)
    assert ledger.record(record.ask.id) is None, "an empty ledger has a record"
    ledger.append(record)
    assert ledger.record(record.ask.id) == record, "a record just appended is not found"
    wait_until_stored(ledger)
    assert ledger.record(record.ask.id) == record, "a stored record has changed"
    assert ledger.record("unknown") is None, "an unknown id has a record"
    ledger.append(replace(record, effects_digest="another"))
    wait_until_stored(ledger)
    assert ledger.record(record.ask.id) == record, "a second record of the same id took its place"
    assert len(list(ledger.records())) == 1, "a record is there twice"
    names = set(counts(ledger))
    assert names.issuperset(_COUNTERS), f"counters are missing: {set(_COUNTERS) - names}"
    assert counts(ledger)["appended"] == 2, "appended records are miscounted"  # noqa: PLR2004
    ledger.close()


def _finds_by_time(ledger: Ledger) -> None:
    times = (30.0, 10.0, 20.0, 40.0)
    for number, at_s in enumerate(times):
        ledger.append(example_record(number, at_s=at_s))
    found = [record.ask.at_s for record in ledger.records()]
    assert found == sorted(times), "records are not in order of time"
    found = [record.ask.at_s for record in ledger.records(20.0, 40.0)]
    assert found == [20.0, 30.0], "since is not inclusive, or until not exclusive"
    ledger.close()


def _settles(ledger: Ledger) -> None:
    first, second, third = (example_record(number, at_s=float(number)) for number in range(3))
    settlement = example_settlement(first)
    ledger.append(first)
    ledger.settle(settlement)
    expected = settled(first, settlement)
    assert ledger.record(first.ask.id) == expected, "a settlement just given is not seen"
    wait_until_stored(ledger)
    ledger.settle(replace(settlement, high_ratio=9.0))
    ledger.settle(example_settlement(second))
    ledger.append(second)
    ledger.append(third)
    wait_until_stored(ledger)
    assert ledger.record(first.ask.id) == expected, "a second settlement changed the first"
    records = list(ledger.records())
    wanted = [expected, settled(second, example_settlement(second)), third]
    assert records == wanted, "records are not settled as told"
    ledger.close()


def _keeps_blobs(ledger: Ledger) -> None:
    assert ledger.blob("digest") is None, "an empty ledger has a blob"
    blob = bytes(range(256))
    ledger.put("digest", blob)
    assert ledger.blob("digest") == blob, "a blob just put is not found"
    ledger.put("digest", blob)
    ledger.append(example_record())
    wait_until_stored(ledger)
    assert ledger.blob("digest") == blob, "a stored blob has changed"
    ledger.close()


def _takes_from_many_threads(ledger: Ledger) -> None:
    def append(first: int) -> None:
        for number in range(first, first + _EACH):
            ledger.append(example_record(number))

    threads = [
        threading.Thread(target=append, args=(number * _EACH,)) for number in range(_THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ids = {record.ask.id for record in ledger.records()}
    assert len(ids) == _THREADS * _EACH, "records were lost between threads"
    assert counts(ledger)["appended"] == _THREADS * _EACH, "appended records are miscounted"
    ledger.close()


def _survives_what_cannot_be_stored(ledger: Ledger) -> None:
    good, other = example_record(1), example_record(2)
    ledger.append(good)
    ledger.append(replace(other, effects_digest="\ud800"))
    ledger.append(replace(other, schema="one"))  # pyright: ignore[reportArgumentType]
    ledger.append(example_record(3))
    wait_until_stored(ledger)
    assert ledger.record(good.ask.id) == good, "a record was lost with one that cannot be stored"
    assert ledger.record(example_record(3).ask.id), "nothing is stored after a bad record"
    assert counts(ledger)["failed"] >= 1, "a record that cannot be stored is not counted"
    ledger.close()


def _keeps_no_text(ledger: Ledger) -> None:
    ledger.append(_talkative(example_record()))
    wait_until_stored(ledger)
    assert _CANARY not in repr(list(ledger.records())), "a record quotes an answer"
    ledger.close()


def _closes(ledger: Ledger) -> None:
    ledger.append(example_record(1))
    ledger.close()
    ledger.close()
    ledger.append(example_record(2))
    ledger.settle(example_settlement(example_record(2)))
    ledger.put("digest", b"blob")
    dropped = counts(ledger)["dropped"]
    assert dropped == 1, "a record after close is neither kept nor counted"


def _talkative(record: Record) -> Record:
    """Return a record whose failures and reasons quote what they saw."""
    failure = Failure(kind="refused", message=f"cannot answer {_CANARY}", status=400)
    verdict = Verdict(well_formed=False, reasons=(f"json_schema: $.name is {_CANARY}",))
    attempts = tuple(replace(one, failure=failure) for one in record.attempts)
    bills = tuple(
        replace(one, failure=failure, reasons=verdict.reasons) for one in record.receipt.attempts
    )
    return replace(
        record,
        attempts=attempts,
        events=(
            *(Ended(attempt=one, at_s=one.ended_s) for one in attempts),
            Checked(call="c0", verdict=verdict, at_s=1.0),
        ),
        receipt=replace(record.receipt, answer=None, failure=failure, attempts=bills),
    )
