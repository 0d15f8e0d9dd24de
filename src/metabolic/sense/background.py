"""Fetch in a thread what may block, so that a hung driver or socket never hangs the probe.

One daemon thread fetches now and then; ``latest`` gives what it last fetched while that is fresh.
A fetch that hangs is left alone: no second thread is started, what is old becomes ``None``, and
``problem`` says so. When it comes back, all goes on as before. ``renew`` has it fetch at once.
"""

__all__ = ["Background", "Fetched"]

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from msgspec import Struct

from metabolic.core.errors import SensorError
from metabolic.core.obstacle import Obstacle

T = TypeVar("T")


class Fetched(Struct, Generic[T], frozen=True):
    """What was fetched, and how long ago it was asked for, in seconds."""

    value: T
    age_s: float


class Background(Generic[T]):
    """Calls ``fetch`` every ``every_s`` in a daemon thread; a value counts for ``stale_s``.

    ``fetch`` runs in that thread alone, may block, and raises ``SensorError`` when it cannot
    read: an ``Obstacle`` among its ``args`` is kept as it is, else one of kind ``driver`` is made
    of the message.
    """

    def __init__(
        self,
        fetch: Callable[[], T],
        *,
        name: str,
        every_s: float,
        stale_s: float,
        retry_s: float | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start nothing yet; the first ``latest`` does. ``name`` is for people.

        ``retry_s`` is how long to wait after a failure; ``None`` is ``every_s``.
        """
        self._fetch = fetch
        self._name = name
        self._every_s = every_s
        self._stale_s = stale_s
        self._retry_s = every_s if retry_s is None else retry_s
        self._monotonic = monotonic
        self._last: Callable[[], None] | None = None
        self._done: tuple[float, T] | None = None
        self._began_s: float | None = None
        self._problem: Obstacle | None = None
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._fresh = threading.Event()
        self._thread: threading.Thread | None = None

    def latest(self) -> Fetched[T] | None:
        """Return the last value and its age; ``None`` before the first and once it is stale."""
        if self._thread is None and not self._stop.is_set():
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        done = self._done
        if done is None:
            return None
        age_s = max(0.0, self._monotonic() - done[0])
        return Fetched(done[1], age_s) if age_s <= self._stale_s else None

    def problem(self) -> Obstacle | None:
        """Return why the last fetch gave nothing, or that one hangs; ``None`` if all is well."""
        began_s = self._began_s
        hung_s = 0.0 if began_s is None else self._monotonic() - began_s
        if hung_s > self._stale_s:
            what = f"{self._name} has not answered for {hung_s:.0f} s"
            return Obstacle(kind="stale", what=what)
        return self._problem

    def wait(self, timeout_s: float) -> bool:
        """Start, and wait until something was fetched or has failed; say whether it was."""
        self.latest()
        return self._fresh.wait(timeout_s)

    def renew(self, timeout_s: float) -> Fetched[T] | None:
        """Fetch at once and wait for it so long; return the last value, which may be older.

        While a fetch is under way, which may be one that hangs, nothing is waited for.
        """
        if self._thread is None:
            self.wait(timeout_s)
        elif self._began_s is None:
            self._fresh.clear()
            self._wake.set()
            self._fresh.wait(timeout_s)
        return self.latest()

    def close(self, last: Callable[[], None] | None = None) -> None:
        """Stop fetching, and do ``last`` in the same thread; a fetch that hangs is left behind."""
        self._last = last
        self._stop.set()
        self._wake.set()

    def _run(self) -> None:
        """Fetch until stopped."""
        while not self._stop.is_set():
            began_s = self._began_s = self._monotonic()
            try:
                self._done = (began_s, self._fetch())
            except SensorError as exc:
                self._problem, pause_s = _obstacle(exc), self._retry_s
            else:
                self._problem, pause_s = None, self._every_s
            self._began_s = None
            self._fresh.set()
            self._wake.wait(max(0.0, pause_s - (self._monotonic() - began_s)))
            if not self._stop.is_set():
                self._wake.clear()
        if self._last is not None:
            self._last()


def _obstacle(exc: SensorError) -> Obstacle:
    """Return the obstacle an error carries, or one made of its message."""
    for part in exc.args:
        if isinstance(part, Obstacle):
            return part
    return Obstacle(kind="driver", what=str(exc))
