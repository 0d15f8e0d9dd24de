"""What every way of fetching a file shares: the job, its turn, and the digest as it is written."""

__all__ = ["BLOCK_BYTES", "Job", "Turns", "Writer", "sha256_of"]

import hashlib
import heapq
import itertools
import os
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from msgspec import Struct

from metabolic.core.errors import StoreError

BLOCK_BYTES = 1 << 20
"""Read and written at once: large enough for disks, small enough to stop within milliseconds."""


class Turns:
    """Lets ``count`` downloads run at a time, those of the smallest file first.

    Without it three models would share one line, and the first tier would come up last. A file
    that is announced keeps larger ones from taking a turn before it has taken its first.
    """

    def __init__(self, count: int) -> None:
        """Allow ``count`` turns at once."""
        self._free = count
        self._waiting: list[tuple[int, int]] = []
        self._announced: set[int] = set()
        self._order = itertools.count()
        self._changed = threading.Condition()

    def announce(self, priority: int) -> None:
        """Say that downloads of ``priority`` are about to ask for turns."""
        with self._changed:
            self._announced.add(priority)

    def withdraw(self, priority: int) -> None:
        """Say that they will not ask soon after all; does nothing when they have asked."""
        with self._changed:
            self._announced.discard(priority)
            self._changed.notify_all()

    @contextmanager
    def turn(self, priority: int) -> Generator[None]:
        """Wait for a turn, lowest ``priority`` first, and hold it."""
        with self._changed:
            ticket = (priority, next(self._order))
            heapq.heappush(self._waiting, ticket)
            self._announced.discard(priority)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_next(ticket))
            heapq.heappop(self._waiting)
            self._free -= 1
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify_all()

    def _is_next(self, ticket: tuple[int, int]) -> bool:
        expected = min(self._announced, default=ticket[0])
        return self._free > 0 and self._waiting[0] == ticket and expected >= ticket[0]


class Job(Struct, frozen=True, kw_only=True):
    """One file to fetch: what it must be, where to work, and whom to tell.

    ``scratch`` keeps what has come so far between runs. ``report`` is given the bytes that came
    since the last call (negative when some were thrown away). ``stop`` ends the work soon.
    """

    model: str
    size_bytes: int
    sha256: str
    scratch: Path
    report: Callable[[int], None]
    stop: threading.Event
    turns: Turns

    def go_on(self) -> None:
        """Raise ``StoreError`` if the work is to stop; what has come so far is kept."""
        if self.stop.is_set():
            message = f"{self.model}: stopped; what has come so far is kept and taken up next time"
            raise StoreError(message)


class Writer:
    """Writes a file and its sha256 at once, and never more than it should hold."""

    def __init__(self, path: Path, job: Job) -> None:
        """Begin ``path`` anew."""
        self._path = path
        self._job = job
        self._file = path.open("wb")
        self._digest = hashlib.sha256()
        self._size = 0

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def write(self, block: bytes) -> None:
        """Append a block. Raises ``StoreError`` when the file grows beyond its size."""
        self._job.go_on()
        self._size += len(block)
        if self._size > self._job.size_bytes:
            message = f"{self._job.model}: more than the {self._job.size_bytes} bytes expected"
            raise StoreError(message)
        self._digest.update(block)
        self._file.write(block)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Flush to disk and check; a file that is not what it should be is removed."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        finally:
            self._file.close()
        if error is None and self._digest.hexdigest() == self._job.sha256:
            return
        self._path.unlink()
        if error is None:
            message = (
                f"{self._job.model}: the joined file has sha256 {self._digest.hexdigest()}, "
                f"not {self._job.sha256}; it was thrown away"
            )
            raise StoreError(message)


def sha256_of(path: Path, *, go_on: Callable[[], None] = lambda: None) -> str:
    """Return the sha256 of a file in hexadecimal; ``go_on`` is asked between blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            go_on()
            digest.update(block)
    return digest.hexdigest()
