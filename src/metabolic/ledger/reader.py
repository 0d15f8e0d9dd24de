"""Reading a SQLite ledger: read-only connections of one's own, never in the writer's way."""

__all__ = ["Reader"]

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from metabolic.account.settlement import settled
from metabolic.core.errors import LedgerError
from metabolic.core.receipt import Record, Settlement
from metabolic.ledger.packing import settlement_of, unpacked
from metabolic.ledger.schema import check_version

_PAGE_ROWS = 256
"""Rows read at once: between pages nothing is held, so a slow reader holds up no checkpoint."""

_SELECT = (
    "SELECT r.at_s, r.number, r.body, r.receipt, r.dictionary, s.body FROM records AS r"
    " LEFT JOIN settlements AS s ON s.id = r.id"
)
_ONE = f"{_SELECT} WHERE r.id = ?"
_PAGE = (
    f"{_SELECT} WHERE r.at_s >= ? AND r.at_s < ? AND (r.at_s, r.number) > (?, ?)"
    " ORDER BY r.at_s, r.number LIMIT ?"
)

_Row = tuple[float, int, bytes, str, int | None, bytes | None]


class Reader:
    """Reads one file; each call opens and closes its own connection, so any thread may call."""

    def __init__(self, path: Path, *, busy_s: float) -> None:
        """Keep where to read; nothing is opened yet."""
        self._path, self._busy_s = path, busy_s

    def record(self, request_id: str) -> Record | None:
        """Return one record, settled if it can be; ``None`` if it is not here.

        Raises:
            LedgerError: the file cannot be read.
        """
        rows = self._rows(_ONE, (request_id,))
        if not rows:
            return None
        return _record(rows[0], self._dictionaries())

    def records(
        self, since_s: float, until_s: float, *, on_unreadable: Callable[[], None]
    ) -> Iterator[Record]:
        """Iterate over the records in ``[since_s, until_s)`` by time, a page at a time.

        A record that cannot be decoded is reported and passed over.

        Raises:
            LedgerError: the file cannot be read.
        """
        dictionaries = self._dictionaries()
        position = (since_s, -1)
        while rows := self._rows(_PAGE, (since_s, until_s, *position, _PAGE_ROWS)):
            position = rows[-1][:2]
            if any(row[4] is not None and row[4] not in dictionaries for row in rows):
                dictionaries = self._dictionaries()
            for row in rows:
                try:
                    yield _record(row, dictionaries)
                except LedgerError:
                    on_unreadable()

    def settlement(self, request_id: str) -> Settlement | None:
        """Return what the meters said of a request. Raises ``LedgerError``."""
        rows = self._rows("SELECT body FROM settlements WHERE id = ?", (request_id,))
        return settlement_of(rows[0][0]) if rows else None

    def blob(self, digest: str) -> bytes | None:
        """Return a blob. Raises ``LedgerError``."""
        rows = self._rows("SELECT body FROM blobs WHERE digest = ?", (digest,))
        return rows[0][0] if rows else None

    def _dictionaries(self) -> dict[int, bytes]:
        return dict(self._rows("SELECT number, body FROM dictionaries"))

    def _rows(self, sql: str, values: tuple[object, ...] = ()) -> list[Any]:
        """Return all rows of a query; none when the ledger is not there yet."""
        if not self._path.exists():
            return []
        try:
            uri = f"{self._path.as_uri()}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True, timeout=self._busy_s)) as connection:
                _check_version(connection)
                return [] if _is_new(connection) else connection.execute(sql, values).fetchall()
        except sqlite3.Error as exc:
            message = f"{self._path}: {exc}"
            raise LedgerError(message) from exc


def _check_version(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    check_version(version)


def _is_new(connection: sqlite3.Connection) -> bool:
    """Say whether the writer has not made the tables yet."""
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return tables == 0


def _record(row: _Row, dictionaries: Mapping[int, bytes]) -> Record:
    """Return a row's record, settled if the meters have spoken. Raises ``LedgerError``."""
    _, _, body, receipt, dictionary, settlement = row
    record = unpacked(body, receipt, dictionary, dictionaries)
    if settlement is None:
        return record
    return settled(record, settlement_of(settlement))
