"""The queue between the request path and a store, and the thread that empties it.

``offer`` costs the caller a lock, a length check and an append. The thread waits until something
is queued, then a moment longer so that one transaction takes many entries, and hands them over in
batches. A full queue refuses; nothing here waits on the caller's side.
"""

__all__ = ["Store", "Tally", "Writer"]

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from metabolic.ledger.codec import BlobEntry, Entry, RecordEntry, SettlementEntry

_CLOSE_TIMEOUT_S = 30.0


class Tally:
    """Counts of one ledger; each is written by one thread only, or under the writer's lock.

    ``appended`` records were offered; each is by now ``stored``, a ``duplicate`` of one stored,
    ``dropped`` (the queue was full, or the ledger closed), ``failed`` (no place would take it),
    ``queued``, or in the spool: ``spooled`` so far less ``unspooled``.
    """

    def __init__(self) -> None:
        """Begin at zero."""
        self.appended = 0
        self.stored = 0
        self.duplicate = 0
        self.dropped = 0
        self.spooled = 0
        self.unspooled = 0
        self.failed = 0
        self.unreadable = 0
        self.lost_settlements = 0
        self.lost_blobs = 0

    def counts(self, queued: int) -> tuple[tuple[str, int], ...]:
        """Return every count by name, and how many records are queued now."""
        return (*vars(self).items(), ("queued", queued))

    def lose(self, entries: Sequence[Entry]) -> None:
        """Count entries that no place would take."""
        for entry in entries:
            match entry:
                case RecordEntry():
                    self.failed += 1
                case SettlementEntry():
                    self.lost_settlements += 1
                case BlobEntry():
                    self.lost_blobs += 1


class Store(Protocol):
    """Where a writer's batches go; called in the writer's thread only, and never raises."""

    def write(self, entries: Sequence[Entry]) -> None:
        """Keep the entries, or count them as lost."""
        ...

    def upkeep(self) -> float | None:
        """Do a little of what is due; return seconds until more is, ``None`` for never."""
        ...

    def close(self) -> None:
        """Close what is open; called once, last."""
        ...


class Writer:
    """A bounded queue and its thread, which starts at once and ends with ``close``."""

    def __init__(
        self, store: Store, tally: Tally, *, queue: int, batch: int, flush_s: float, name: str
    ) -> None:
        """Start; ``flush_s`` is how long an entry may wait for company."""
        self._store, self._tally = store, tally
        self._limit, self._batch, self._flush_s = queue, batch, flush_s
        self._queue: deque[Entry] = deque()
        self._in_hand: tuple[Entry, ...] = ()
        self._offered = self._done = 0
        self._hurry = self._closed = False
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._idle = threading.Condition(self._lock)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def offer(self, entry: Entry) -> None:
        """Queue an entry; without room it is counted and gone."""
        with self._lock:
            self._tally.appended += type(entry) is RecordEntry
            waiting = len(self._queue)
            if self._closed or waiting >= self._limit:
                self._refuse(entry)
                return
            self._queue.append(entry)
            self._offered += 1
            if waiting == 0 or waiting + 1 == self._batch:
                self._work.notify()

    def pending(self) -> tuple[Entry, ...]:
        """Return what is queued or being written, oldest first."""
        with self._lock:
            return (*self._in_hand, *self._queue)

    def queued(self) -> int:
        """Return how many records are queued or being written."""
        return sum(isinstance(entry, RecordEntry) for entry in self.pending())

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until all offered so far has been handed to the store; say whether it was."""
        with self._lock:
            target = self._offered
            self._hurry = True
            self._work.notify()
            return self._idle.wait_for(lambda: self._done >= target, timeout_s)

    def close(self) -> None:
        """Write what is queued, close the store, end the thread. Twice is once."""
        with self._lock:
            self._closed = True
            self._work.notify()
        self._thread.join(_CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        due_s: float | None = 0.0
        while True:
            entries = self._next(due_s)
            if entries:
                self._store.write(entries)
                self._finished(len(entries))
            elif self._closed:
                break
            wait_s = self._store.upkeep()
            due_s = None if wait_s is None else time.monotonic() + wait_s
        self._store.close()

    def _next(self, due_s: float | None) -> tuple[Entry, ...]:
        """Wait for work or until ``due_s``; return the next batch, empty when there is none."""
        with self._lock:
            while not self._queue and not self._closed:
                wait_s = None if due_s is None else due_s - time.monotonic()
                if wait_s is not None and wait_s <= 0:
                    return ()
                self._hurry = False
                self._work.wait(wait_s)
            self._work.wait_for(self._full, self._flush_s)
            taken = min(len(self._queue), self._batch)
            self._in_hand = tuple(self._queue.popleft() for _ in range(taken))
            return self._in_hand

    def _refuse(self, entry: Entry) -> None:
        """Count an entry that there was no room for."""
        if isinstance(entry, RecordEntry):
            self._tally.dropped += 1
        else:
            self._tally.lose((entry,))

    def _full(self) -> bool:
        return self._closed or self._hurry or len(self._queue) >= self._batch

    def _finished(self, count: int) -> None:
        with self._lock:
            self._done += count
            self._in_hand = ()
            self._idle.notify_all()

    def backlog(self) -> int:
        """Return how many entries wait behind the batch being written."""
        return len(self._queue)
