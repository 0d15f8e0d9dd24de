"""The default ledger: one SQLite file, written in batches by a thread of its own.

Readers open connections of their own, read-only, from any thread or process, while it is written.
When the file cannot be written (full disk, lock, damage, read-only) the entries go to a spool
beside it, and come back from there once it can; when the spool cannot be written either, they are
counted as lost. One log line marks each change. A damaged file is never replaced by itself: move
it away and the ledger begins a new one. One process writes, any number may read.
"""

__all__ = ["Options", "SqliteLedger", "create"]

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from metabolic.account.settlement import settled
from metabolic.core.errors import LedgerError
from metabolic.core.receipt import Record, Settlement
from metabolic.ledger.codec import BlobEntry, Entry, RecordEntry, SettlementEntry, without_text
from metabolic.ledger.place import ledger_path
from metabolic.ledger.reader import Reader
from metabolic.ledger.spool import spool_path, spooled
from metabolic.ledger.store import SqliteStore, StoreOptions
from metabolic.ledger.writer import Tally, Writer

_log = logging.getLogger("metabolic.ledger")

_DAY_S = 86_400.0
_PUT_DIGESTS = 4096

_Count = Annotated[int, Meta(ge=1)]
_Seconds = Annotated[float, Meta(gt=0)]


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where and how long records are kept.

    ``path``: ``None`` is ``ledger.sqlite`` in the user's state directory. ``retention_days``:
    ``None`` keeps for ever. ``queue`` is how many entries may wait before further ones are
    dropped and counted; ``batch`` how many are written at once; ``flush_s`` how long one waits
    for company, and so what a killed process may lose. ``busy_s`` is how long to wait for
    another process's lock. ``spool_bytes`` bounds the spool (``<path>.spool.jsonl``).
    ``retry_s`` and ``retry_max_s``: how soon a store that failed is tried again, doubling.
    ``deflate``: records are compressed ``auto``-matically while there is time, ``always`` or
    ``never``. ``details`` keeps upstream error messages and validators' details, which may quote
    an answer. ``read_only`` writes nothing and needs the file to be there.
    """

    path: str | None = None
    retention_days: _Seconds | None = 90.0
    queue: _Count = 10_000
    batch: _Count = 256
    flush_s: _Seconds = 0.25
    busy_s: _Seconds = 1.0
    spool_bytes: Annotated[int, Meta(ge=0)] = 256 * 1024 * 1024
    retry_s: _Seconds = 1.0
    retry_max_s: _Seconds = 60.0
    deflate: Literal["auto", "always", "never"] = "auto"
    details: bool = False
    read_only: bool = False


class SqliteLedger:
    """A ledger in one SQLite file; implements ``core.ports.Ledger``."""

    def __init__(self, options: Options, *, now_s: Callable[[], float] = time.time) -> None:
        """Start writing, unless ``read_only``; the file is opened in the writer's thread."""
        path = ledger_path(options.path, "ledger.sqlite")
        self.path = path
        self._now_s = now_s
        self._tally = Tally()
        self._reader = Reader(path, busy_s=options.busy_s)
        self._put: dict[str, float] = {}
        self._details = options.details
        self._writer: Writer | None = None
        if not options.read_only:
            self._writer = _writer(options, path, self._tally, now_s)

    def append(self, record: Record) -> None:
        """Queue a record; a full queue drops it and counts the drop."""
        if self._writer is not None:
            self._writer.offer(RecordEntry(record=record))

    def settle(self, settlement: Settlement) -> None:
        """Queue what the meters said of a record; the first settlement of a request counts."""
        if self._writer is not None:
            self._writer.offer(SettlementEntry(settlement=settlement))

    def put(self, digest: str, blob: bytes) -> None:
        """Queue a blob, unless it was put today already."""
        day = self._now_s() // _DAY_S
        if self._writer is None or self._put.get(digest) == day:
            return
        if len(self._put) >= _PUT_DIGESTS:
            self._put.clear()
        self._put[digest] = day
        self._writer.offer(BlobEntry(digest=digest, blob=blob))

    def record(self, request_id: str) -> Record | None:
        """Return one record, queued and spooled ones included, settled if it can be.

        Raises:
            LedgerError: the file cannot be read.
        """
        record, settlement = self._unstored(request_id)
        try:
            stored = self._reader.record(request_id)
            if stored is None and record is not None:
                settlement = self._reader.settlement(request_id) or settlement
        except LedgerError:
            # A receipt still queued or spooled can be had from a ledger that cannot be read.
            if record is None:
                raise
            stored = None
        record = stored or record
        if record is None or settlement is None:
            return record
        return settled(record, settlement)

    def records(
        self, since_s: float | None = None, until_s: float | None = None
    ) -> Iterator[Record]:
        """Iterate over records with ``since_s <= at_s < until_s`` by time; queued ones first go in.

        Raises:
            LedgerError: the file cannot be read.
        """
        if self._writer is None and not self.path.exists():
            message = f"{self.path}: there is no ledger"
            raise LedgerError(message)
        self.flush()
        return self._reader.records(
            float("-inf") if since_s is None else since_s,
            float("inf") if until_s is None else until_s,
            on_unreadable=self._unreadable,
        )

    def blob(self, digest: str) -> bytes | None:
        """Return a blob, queued and spooled ones included; ``None`` when retention has removed it.

        Raises:
            LedgerError: the file cannot be read.
        """
        for entry in (*self._pending(), *spooled(spool_path(self.path), digest)):
            if isinstance(entry, BlobEntry) and entry.digest == digest:
                return entry.blob
        return self._reader.blob(digest)

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until what was queued so far is stored, spooled or lost; say whether it was."""
        return self._writer is None or self._writer.flush(timeout_s)

    def counters(self) -> tuple[tuple[str, int], ...]:
        """Return the counts of ``writer.Tally``, by name."""
        return self._tally.counts(0 if self._writer is None else self._writer.queued())

    def close(self) -> None:
        """Write what is queued and close; what comes later is dropped and counted."""
        if self._writer is not None:
            self._writer.close()

    def _unstored(self, request_id: str) -> tuple[Record | None, Settlement | None]:
        """Return what is queued or spooled of a request, without text."""
        record: Record | None = None
        settlement: Settlement | None = None
        for entry in (*self._pending(), *spooled(spool_path(self.path), request_id)):
            match entry:
                case RecordEntry() if entry.record.ask.id == request_id:
                    record = record or self._clean(entry.record)
                case SettlementEntry() if entry.settlement.id == request_id:
                    settlement = settlement or entry.settlement
                case _:
                    pass
        return record, settlement

    def _pending(self) -> tuple[Entry, ...]:
        return () if self._writer is None else self._writer.pending()

    def _clean(self, record: Record) -> Record:
        return record if self._details else without_text(record)

    def _unreadable(self) -> None:
        self._tally.unreadable += 1
        _log.warning("ledger holds an unreadable record", extra={"path": str(self.path)})


def create(options: Options, *, now_s: Callable[[], float] = time.time) -> SqliteLedger:
    """Return a ledger; whatever is wrong with the file shows in counters and the log."""
    return SqliteLedger(options, now_s=now_s)


def _writer(options: Options, path: Path, tally: Tally, now_s: Callable[[], float]) -> Writer:
    """Start the store's thread."""
    days = options.retention_days
    store = SqliteStore(
        StoreOptions(
            path=path,
            retention_s=None if days is None else days * _DAY_S,
            batch=options.batch,
            busy_s=options.busy_s,
            spool_bytes=options.spool_bytes,
            retry_s=options.retry_s,
            retry_max_s=options.retry_max_s,
            deflate=options.deflate,
            details=options.details,
        ),
        tally,
        now_s,
    )
    return Writer(
        store,
        tally,
        queue=options.queue,
        batch=options.batch,
        flush_s=options.flush_s,
        name="metabolic-ledger",
    )
