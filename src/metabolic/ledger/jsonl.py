"""A ledger as lines of JSON, for other tools to read: append-only, rotated by size.

Each line is ``{"type": "record" | "settlement" | "blob", ...}``. ``ledger.jsonl`` is the newest
file; rotated ones have a number after the name, and go when they are older than the retention.
Every file holds the blobs its records refer to. Looking up one record reads the files through:
use ``sqlite`` where that matters. What cannot be written is counted as failed: there is no second
place to put it.
"""

__all__ = ["JsonlLedger", "Options", "create"]

import time
from collections.abc import Callable, Iterator
from typing import Annotated

from msgspec import Meta, Struct

from metabolic.account.settlement import settled
from metabolic.core.errors import LedgerError
from metabolic.core.receipt import Record, Settlement
from metabolic.ledger.codec import BlobEntry, RecordEntry, SettlementEntry
from metabolic.ledger.lines import LineFiles, LineStore
from metabolic.ledger.place import ledger_path
from metabolic.ledger.writer import Tally, Writer

_Count = Annotated[int, Meta(ge=1)]
_Seconds = Annotated[float, Meta(gt=0)]
_DAY_S = 86_400.0


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where and how long lines are kept.

    ``path``: ``None`` is ``ledger.jsonl`` in the user's state directory. ``rotate_bytes`` is the
    size at which a new file begins. The others are as in ``sqlite``.
    """

    path: str | None = None
    retention_days: _Seconds | None = 90.0
    rotate_bytes: _Count = 64 * 1024 * 1024
    queue: _Count = 10_000
    batch: _Count = 256
    flush_s: _Seconds = 0.25
    details: bool = False
    read_only: bool = False


class JsonlLedger:
    """A ledger in files of JSON lines; implements ``core.ports.Ledger``."""

    def __init__(self, options: Options, *, now_s: Callable[[], float] = time.time) -> None:
        """Start writing, unless ``read_only``."""
        self.path = ledger_path(options.path, "ledger.jsonl")
        self._tally = Tally()
        self._files = LineFiles(self.path)
        self._writer: Writer | None = None
        if not options.read_only:
            days = options.retention_days
            store = LineStore(
                self._files,
                self._tally,
                rotate_bytes=options.rotate_bytes,
                retention_s=None if days is None else days * _DAY_S,
                details=options.details,
                now_s=now_s,
            )
            self._writer = Writer(
                store,
                self._tally,
                queue=options.queue,
                batch=options.batch,
                flush_s=options.flush_s,
                name="metabolic-ledger",
            )

    def append(self, record: Record) -> None:
        """Queue a record; a full queue drops it and counts the drop."""
        if self._writer is not None:
            self._writer.offer(RecordEntry(record=record))

    def settle(self, settlement: Settlement) -> None:
        """Queue what the meters said of a record; the first settlement of a request counts."""
        if self._writer is not None:
            self._writer.offer(SettlementEntry(settlement=settlement))

    def put(self, digest: str, blob: bytes) -> None:
        """Queue a blob; each file gets it once."""
        if self._writer is not None:
            self._writer.offer(BlobEntry(digest=digest, blob=blob))

    def record(self, request_id: str) -> Record | None:
        """Return one record, settled if it can be; reads every line.

        Raises:
            LedgerError: a file cannot be read.
        """
        self.flush()
        record: Record | None = None
        settlement: Settlement | None = None
        for entry in self._files.entries():
            match entry:
                case RecordEntry() if entry.record.ask.id == request_id:
                    record = record or entry.record
                case SettlementEntry() if entry.settlement.id == request_id:
                    settlement = settlement or entry.settlement
                case _:
                    pass
        if record is None or settlement is None:
            return record
        return settled(record, settlement)

    def records(
        self, since_s: float | None = None, until_s: float | None = None
    ) -> Iterator[Record]:
        """Iterate over records with ``since_s <= at_s < until_s`` by time; queued ones first go in.

        Raises:
            LedgerError: a file cannot be read.
        """
        if self._writer is None and not (self.path.exists() or self._files.rotated()):
            message = f"{self.path}: there is no ledger"
            raise LedgerError(message)
        self.flush()
        return self._files.records(
            float("-inf") if since_s is None else since_s,
            float("inf") if until_s is None else until_s,
        )

    def blob(self, digest: str) -> bytes | None:
        """Return a blob; reads every line until it is found. Raises ``LedgerError``."""
        self.flush()
        for entry in self._files.entries():
            if isinstance(entry, BlobEntry) and entry.digest == digest:
                return entry.blob
        return None

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until what was queued so far is written or lost; say whether it was."""
        return self._writer is None or self._writer.flush(timeout_s)

    def counters(self) -> tuple[tuple[str, int], ...]:
        """Return the counts of ``writer.Tally``, by name."""
        return self._tally.counts(0 if self._writer is None else self._writer.queued())

    def close(self) -> None:
        """Write what is queued and close; what comes later is dropped and counted."""
        if self._writer is not None:
            self._writer.close()


def create(options: Options, *, now_s: Callable[[], float] = time.time) -> JsonlLedger:
    """Return a ledger; whatever is wrong with the files shows in counters and the log."""
    return JsonlLedger(options, now_s=now_s)
