"""How far reading has come, told while it goes on."""

__all__ = ["Tell", "Watch"]

import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Tell = Callable[[str, float | None], None]
"""Told what is being done, and the share of it that is (``None``: nobody knows)."""

_PERIOD_S = 0.2
_WHOLE = 100.0


class Watch:
    """Tells, five times a second, how far a statement has come within its part of the whole."""

    def __init__(self, connection: "DuckDBPyConnection", tell: Tell | None) -> None:
        """Without anybody to tell it does nothing."""
        self._connection, self._tell = connection, tell
        self._text, self._from, self._part = "", 0.0, 0.0
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, text: str, *, done_ratio: float | None, part_ratio: float = 0.0) -> None:
        """Say what comes now: its part of the whole, and what was done before it."""
        self._text, self._part = text, part_ratio
        self._from = -1.0 if done_ratio is None else done_ratio
        self._say(0.0)

    def _say(self, share: float) -> None:
        if self._tell is not None:
            known = self._from >= 0
            self._tell(self._text, min(1.0, self._from + share * self._part) if known else None)

    def _follow(self) -> None:
        while not self._over.wait(_PERIOD_S):
            percent = self._connection.query_progress()
            if percent > 0:
                self._say(percent / _WHOLE)

    def __enter__(self) -> Self:
        """Begin to watch."""
        if self._tell is not None:
            self._connection.execute("SET enable_progress_bar = true")
            self._connection.execute("SET enable_progress_bar_print = false")
            self._thread = threading.Thread(target=self._follow, name="audit-progress", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None
    ) -> None:
        """Stop watching."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
