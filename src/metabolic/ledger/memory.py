"""The fake ledger: the last records in memory, gone with the process."""

__all__ = ["MemoryLedger", "Options", "create"]

import threading
from collections.abc import Iterator
from typing import Annotated, TypeVar

from msgspec import Meta, Struct

from metabolic.account.settlement import settled
from metabolic.core.receipt import Record, Settlement
from metabolic.ledger.codec import UNENCODABLE, RecordEntry, line_of, without_text
from metabolic.ledger.writer import Tally

_BLOBS = 10_000

_Kept = TypeVar("_Kept")


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many records are kept; the oldest make room.

    ``path``, ``retention_days`` and ``queue`` mean nothing here; they are accepted so that a
    configuration can change its ledger's ``kind`` alone. ``details`` as in ``sqlite``.
    """

    records: Annotated[int, Meta(ge=1)] = 10_000
    details: bool = False
    path: str | None = None
    retention_days: float | None = None
    queue: int | None = None


class MemoryLedger:
    """A bounded ledger in memory; implements ``core.ports.Ledger``."""

    def __init__(self, options: Options) -> None:
        """Begin empty."""
        self._options = options
        self._lock = threading.Lock()
        self._tally = Tally()
        self._records: dict[str, Record] = {}
        self._settlements: dict[str, Settlement] = {}
        self._blobs: dict[str, bytes] = {}
        self._closed = False

    def append(self, record: Record) -> None:
        """Keep a record; the oldest goes when there are too many."""
        with self._lock:
            self._tally.appended += 1
            if self._closed:
                self._tally.dropped += 1
                return
            try:
                self._keep(record if self._options.details else without_text(record))
            except UNENCODABLE:
                self._tally.failed += 1

    def settle(self, settlement: Settlement) -> None:
        """Keep what the meters said; the first settlement of a request counts."""
        with self._lock:
            if self._closed:
                self._tally.lost_settlements += 1
                return
            self._settlements.setdefault(settlement.id, settlement)
            _trim(self._settlements, self._options.records)

    def put(self, digest: str, blob: bytes) -> None:
        """Keep a blob."""
        with self._lock:
            if self._closed:
                self._tally.lost_blobs += 1
                return
            self._blobs.pop(digest, None)
            self._blobs[digest] = blob
            _trim(self._blobs, _BLOBS)

    def record(self, request_id: str) -> Record | None:
        """Return one record, settled if it can be."""
        with self._lock:
            record = self._records.get(request_id)
            return None if record is None else self._settled(record)

    def records(
        self, since_s: float | None = None, until_s: float | None = None
    ) -> Iterator[Record]:
        """Iterate over the records with ``since_s <= at_s < until_s``, as of now, by time."""
        since = float("-inf") if since_s is None else since_s
        until = float("inf") if until_s is None else until_s
        with self._lock:
            found = [one for one in self._records.values() if since <= one.ask.at_s < until]
            found.sort(key=lambda one: one.ask.at_s)
            return iter([self._settled(one) for one in found])

    def blob(self, digest: str) -> bytes | None:
        """Return a blob; ``None`` when it had to make room."""
        return self._blobs.get(digest)

    def flush(self, timeout_s: float = 10.0) -> bool:  # noqa: ARG002 - nothing is ever queued
        """Return at once: nothing waits."""
        return True

    def counters(self) -> tuple[tuple[str, int], ...]:
        """Return the counts of ``writer.Tally``, by name."""
        return self._tally.counts(0)

    def close(self) -> None:
        """Refuse what comes later; what is kept can still be read."""
        self._closed = True

    def _keep(self, record: Record) -> None:
        if record.ask.id in self._records:
            self._tally.duplicate += 1
            return
        # What no real ledger could store must not be stored here either.
        line_of(RecordEntry(record=record))
        self._records[record.ask.id] = record
        self._tally.stored += 1
        _trim(self._records, self._options.records)

    def _settled(self, record: Record) -> Record:
        settlement = self._settlements.get(record.ask.id)
        return record if settlement is None else settled(record, settlement)


def create(options: Options) -> MemoryLedger:
    """Return an empty ledger."""
    return MemoryLedger(options)


def _trim(kept: dict[str, _Kept], limit: int) -> None:
    while len(kept) > limit:
        del kept[next(iter(kept))]
