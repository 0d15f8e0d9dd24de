"""The queue: bounded, never blocking, and its thread hands over all of it."""

import threading
from collections.abc import Sequence

from metabolic.ledger.codec import BlobEntry, Entry, RecordEntry, SettlementEntry
from metabolic.ledger.writer import Tally, Writer
from metabolic.testing.examples import example_record, example_settlement


class Slow:
    """A store that keeps what it is given, once it is let."""

    def __init__(self, *, held: bool = False) -> None:
        self.batches: list[tuple[Entry, ...]] = []
        self.closed = 0
        self.upkeeps = 0
        self.began = threading.Event()
        self.may = threading.Event()
        if not held:
            self.may.set()

    def write(self, entries: Sequence[Entry]) -> None:
        self.began.set()
        self.may.wait(10)
        self.batches.append(tuple(entries))

    def upkeep(self) -> float | None:
        self.upkeeps += 1
        return None

    def close(self) -> None:
        self.closed += 1


def _writer(store: Slow, tally: Tally, *, queue: int = 100, batch: int = 4) -> Writer:
    return Writer(store, tally, queue=queue, batch=batch, flush_s=0.001, name="test-ledger")


def _record(number: int) -> RecordEntry:
    return RecordEntry(record=example_record(number))


def test_everything_offered_reaches_the_store_in_order() -> None:
    store = Slow()
    writer = _writer(store, Tally())
    entries = [_record(number) for number in range(10)]
    for entry in entries:
        writer.offer(entry)
    assert writer.flush()
    assert [entry for batch in store.batches for entry in batch] == entries
    assert max(map(len, store.batches)) <= 4
    writer.close()


def test_a_full_queue_drops_counts_and_never_waits() -> None:
    store, tally = Slow(held=True), Tally()
    writer = _writer(store, tally, queue=2, batch=1)
    writer.offer(_record(0))
    assert store.began.wait(5)
    for number in range(1, 6):
        writer.offer(_record(number))
    writer.offer(SettlementEntry(settlement=example_settlement(example_record())))
    writer.offer(BlobEntry(digest="digest", blob=b""))
    assert (tally.appended, tally.dropped) == (6, 3)
    assert (tally.lost_settlements, tally.lost_blobs) == (1, 1)
    assert writer.queued() == 3
    store.may.set()
    writer.close()
    assert len(store.batches) == 3


def test_what_is_being_written_is_still_pending() -> None:
    store = Slow(held=True)
    writer = _writer(store, Tally(), batch=1)
    first, second = _record(1), _record(2)
    writer.offer(first)
    assert store.began.wait(5)
    writer.offer(second)
    assert writer.pending() == (first, second)
    assert not writer.flush(0.001)
    store.may.set()
    assert writer.flush()
    assert writer.pending() == ()
    writer.close()


def test_closing_writes_what_is_queued_and_refuses_what_comes_later() -> None:
    store, tally = Slow(), Tally()
    writer = _writer(store, tally)
    for number in range(9):
        writer.offer(_record(number))
    writer.close()
    writer.close()
    writer.offer(_record(9))
    assert sum(map(len, store.batches)) == 9
    assert store.closed == 1
    assert tally.dropped == 1


def test_upkeep_is_done_at_the_start_and_after_each_batch() -> None:
    store = Slow()
    writer = _writer(store, Tally())
    writer.offer(_record(1))
    writer.flush()
    writer.close()
    assert store.upkeeps >= 1
