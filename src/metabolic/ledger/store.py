"""The writing side of the SQLite ledger: one connection, one thread, one transaction a batch."""

__all__ = ["SqliteStore", "StoreOptions"]

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from metabolic.core.errors import LedgerError
from metabolic.ledger.codec import UNENCODABLE, Entry, RecordEntry, cleaned, line_of
from metabolic.ledger.place import prepare_directory
from metabolic.ledger.retention import Retention
from metabolic.ledger.schema import PAGE_BYTES, migrate
from metabolic.ledger.spool import Spool, spool_path
from metabolic.ledger.transaction import Transaction
from metabolic.ledger.writer import Tally

_log = logging.getLogger("metabolic.ledger")

_FOLD_ENTRIES = 512
"""Spooled entries brought back at once, so that new ones never wait long behind them."""

_WAL_BYTES = 64 * 1024 * 1024


class StoreOptions(Struct, frozen=True, kw_only=True):
    """What the store needs to know; meanings as in ``sqlite.Options``."""

    path: Path
    retention_s: float | None
    batch: int
    busy_s: float
    spool_bytes: int
    retry_s: float
    retry_max_s: float
    deflate: str
    details: bool


class SqliteStore:
    """Keeps entries in SQLite, or in the spool while it cannot; implements ``writer.Store``."""

    def __init__(self, options: StoreOptions, tally: Tally, now_s: Callable[[], float]) -> None:
        """Open nothing yet: that happens in the writer's thread."""
        self._options, self._tally, self._now_s = options, tally, now_s
        self._connection: sqlite3.Connection | None = None
        self._transaction: Transaction | None = None
        self._retention = Retention(options.retention_s, now_s)
        self._file: tuple[int, int] | None = None
        self._failing = False
        self._retry_at_s = 0.0
        self._delay_s = options.retry_s
        self._spool = Spool(spool_path(options.path), max_bytes=options.spool_bytes)

    def write(self, entries: Sequence[Entry]) -> None:
        """Store a batch; spool it when that fails; count what neither takes."""
        batch = list(entries) if self._options.details else self._cleaned(entries)
        if not self._stored(batch):
            self._spooled(batch)

    def upkeep(self) -> float | None:
        """Retry, fold the spool back, remove what is too old: one small step of it."""
        try:
            if self._opened() is not None and self._spool.waiting:
                self._fold()
            transaction = self._opened()
            if transaction is None:
                return max(0.0, self._retry_at_s - time.monotonic())
            return 0.0 if self._spool.waiting else self._retention.step(transaction.connection)
        except (sqlite3.Error, OSError) as exc:
            self._failed(exc)
            return max(0.0, self._retry_at_s - time.monotonic())

    def close(self) -> None:
        """Close the file; what is spooled stays for the next start."""
        self._disconnect()

    def _cleaned(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return the entries without text; what cannot be cleaned is not kept."""
        clean: list[Entry] = []
        for entry in entries:
            try:
                clean.append(cleaned(entry))
            except UNENCODABLE:
                self._tally.lose((entry,))
        return clean

    def _stored(self, entries: Sequence[Entry], *, late: bool = False) -> bool:
        """Store entries; say whether the file took them."""
        transaction = self._opened()
        if transaction is None:
            return False
        try:
            transaction.store(entries, deflate=self._deflates(entries), late=late)
        except sqlite3.Error as exc:
            self._failed(exc)
            return False
        except UNENCODABLE:
            # Closing undoes the batch; what was learnt of the file during it is read again.
            self._disconnect()
            return self._stored_singly(entries, late=late)
        self._works()
        return True

    def _stored_singly(self, entries: Sequence[Entry], *, late: bool) -> bool:
        """Keep each entry by itself, so that one that cannot be stored is lost alone."""
        if len(entries) == 1:
            self._tally.lose(entries)
            return True
        for entry in entries:
            if not self._stored((entry,), late=late):
                self._spooled((entry,))
        return True

    def _deflates(self, entries: Sequence[Entry]) -> bool:
        """Say whether to deflate: ``auto`` does when a batch is not full, so nobody waits."""
        deflate = self._options.deflate
        return deflate == "always" or (deflate == "auto" and len(entries) < self._options.batch)

    def _fold(self) -> None:
        """Bring some spooled entries back. Raises ``OSError``."""
        entries, torn = self._spool.read(_FOLD_ENTRIES)
        if entries and not self._stored(entries, late=True):
            return
        self._spool.passed()
        self._tally.failed += torn
        self._tally.unspooled += sum(isinstance(entry, RecordEntry) for entry in entries)

    def _spooled(self, entries: Sequence[Entry]) -> None:
        """Write entries to the spool; those that it does not take are lost, and counted."""
        encodable: list[Entry] = []
        lines: list[bytes] = []
        for entry in entries:
            try:
                lines.append(line_of(entry))
            except UNENCODABLE:
                self._tally.lose((entry,))
            else:
                encodable.append(entry)
        try:
            kept = self._spool.write(lines)
        except OSError as exc:
            kept = 0
            _log.debug("ledger spool failed", extra={"error": str(exc)})
        self._tally.spooled += sum(isinstance(entry, RecordEntry) for entry in encodable[:kept])
        self._tally.lose(encodable[kept:])

    def _opened(self) -> Transaction | None:
        """Return the open store, opening it when it is time to; ``None`` while it fails."""
        if self._transaction is not None and self._file == self._file_now():
            return self._transaction
        if self._failing and time.monotonic() < self._retry_at_s:
            return None
        self._disconnect()
        try:
            self._open()
        except (sqlite3.Error, OSError, LedgerError) as exc:
            self._failed(exc)
        return self._transaction

    def _open(self) -> None:
        path = self._options.path
        prepare_directory(path)
        _create(path)
        connection = sqlite3.connect(path, timeout=self._options.busy_s, isolation_level=None)
        self._connection = connection
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
        migrate(connection)
        self._transaction = Transaction(connection, self._tally, self._now_s)
        self._file = self._file_now()
        self._spool.rewind()

    def _file_now(self) -> tuple[int, int] | None:
        """Return which file is at the path: a ledger that was moved away is begun anew."""
        try:
            found = self._options.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _failed(self, error: Exception) -> None:
        """Give up the connection, plan the next try, and say so once."""
        self._disconnect()
        self._retry_at_s = time.monotonic() + self._delay_s
        self._delay_s = min(self._delay_s * 2, self._options.retry_max_s)
        if not self._failing:
            self._failing = True
            _log.error(
                "ledger cannot be written, spooling: %s",
                error,
                extra={"path": str(self._options.path), "error": str(error)},
            )

    def _works(self) -> None:
        self._delay_s = self._options.retry_s
        if self._failing:
            self._failing = False
            _log.warning("ledger works again", extra={"path": str(self._options.path)})

    def _disconnect(self) -> None:
        self._transaction = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _create(path: Path) -> None:
    """Make an empty file for this user only, unless there is one. Raises ``OSError``.

    One that is there is not opened: closing it would give up every lock that this process, its
    readers included, holds on it.
    Source: https://sqlite.org/howtocorrupt.html, section 2.2.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
