"""A time limit between two events of a stream, at next to no cost per event.

One timer looks now and then at when the last event came, instead of being set anew for each.
"""

__all__ = ["Watch"]

import asyncio
from types import TracebackType
from typing import Self

from metabolic.core.errors import TimedOut


class Watch:
    """Raises ``TimedOut`` out of its block when nothing came for ``limit_s`` while it watched."""

    __slots__ = ("_limit_s", "_loop", "_seen_s", "_timeout", "_timer")

    def __init__(self, limit_s: float) -> None:
        """Set the limit in seconds."""
        self._limit_s = limit_s
        self._loop = asyncio.get_running_loop()
        self._timeout = asyncio.timeout(None)
        self._seen_s: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        """Begin to watch."""
        await self._timeout.__aenter__()
        self._seen_s = self._loop.time()
        self._timer = self._loop.call_later(self._limit_s, self._look)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError as exc:
            message = f"nothing came for {self._limit_s:g} s"
            raise TimedOut(message) from exc

    def pause(self) -> None:
        """Do not watch until ``go_on``: an event has come and is being passed on."""
        self._seen_s = None

    def go_on(self) -> None:
        """Watch again, from now."""
        self._seen_s = self._loop.time()

    def _look(self) -> None:
        """See how long nothing has come; look again when it may have been too long."""
        now_s = self._loop.time()
        left_s = self._limit_s if self._seen_s is None else self._seen_s + self._limit_s - now_s
        if left_s <= 0:
            self._timeout.reschedule(now_s)
        else:
            self._timer = self._loop.call_later(left_s, self._look)
