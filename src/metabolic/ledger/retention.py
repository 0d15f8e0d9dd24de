"""Removing what is too old from SQLite, a little at a time."""

__all__ = ["Retention"]

import sqlite3
import time
from collections.abc import Callable

_STEP_ROWS = 500
_STEP_PAGES = 128
_PERIOD_S = 600.0
_DAY_S = 86_400
_FREE_PAGES_RATIO = 0.25
"""Free pages are reused; only when a quarter of the file is free do some go back to the disk."""

_OLD_RECORDS = (
    "DELETE FROM records WHERE number IN (SELECT number FROM records WHERE at_s < ? LIMIT ?)"
)
_OLD_SETTLEMENTS = """
    DELETE FROM settlements WHERE stored_s < ? AND number IN
        (SELECT number FROM settlements ORDER BY number LIMIT ?)
"""
"""Numbers grow with time, so the oldest are found without an index on time."""
_OLD_BLOBS = (
    "DELETE FROM blobs WHERE digest IN (SELECT digest FROM blobs WHERE used_day < ? LIMIT ?)"
)


class Retention:
    """Deletes by age, and blobs that no kept record refers to, in steps of a few hundred rows."""

    def __init__(self, retention_s: float | None, now_s: Callable[[], float]) -> None:
        """Keep the age; ``None`` removes nothing."""
        self._retention_s, self._now_s = retention_s, now_s
        self._due_s = 0.0

    def step(self, connection: sqlite3.Connection) -> float | None:
        """Remove some if it is time; return seconds until it is again, ``None`` for never.

        Raises:
            sqlite3.Error: the file cannot be written.
        """
        if self._retention_s is None:
            return None
        left_s = self._due_s - time.monotonic()
        if left_s > 0:
            return left_s
        if self._remove(connection):
            return 0.0
        self._due_s = time.monotonic() + _PERIOD_S
        return _PERIOD_S

    def _remove(self, connection: sqlite3.Connection) -> bool:
        """Remove a few hundred rows of each table; say whether there is more to do."""
        before_s = self._now_s() - (self._retention_s or 0.0)
        # A blob put yesterday may be named by a record that is still in the queue.
        before_day = before_s // _DAY_S - 1
        removed = (
            connection.execute(_OLD_RECORDS, (before_s, _STEP_ROWS)).rowcount,
            connection.execute(_OLD_SETTLEMENTS, (before_s, _STEP_ROWS)).rowcount,
            connection.execute(_OLD_BLOBS, (before_day, _STEP_ROWS)).rowcount,
        )
        if max(removed) >= _STEP_ROWS:
            return True
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        if free < _STEP_PAGES or free < pages * _FREE_PAGES_RATIO:
            return False
        connection.execute(f"PRAGMA incremental_vacuum({_STEP_PAGES})").fetchall()
        return True
