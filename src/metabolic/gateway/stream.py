"""A streamed answer on its way to the client: events, keep-alives, the last chunk, the end."""

__all__ = ["EventStream"]

import asyncio
import time
from typing import ClassVar

from metabolic.edge.render import DONE, KEEP_ALIVE, holds_finish, replaced, with_metabolic
from metabolic.gateway.seam import Send, Wire

_DUE_RATIO = 0.99
"""Timers may fire a little early; a keep-alive that is due by 99 % is due."""

_STALL_S = 60.0
"""A client that takes nothing for this long is given up; its call is cancelled."""

Headers = list[tuple[bytes, bytes]]


class EventStream:
    """The sink of one streamed answer.

    The response begins with the first event, or with the first keep-alive when none has come:
    until then an error can still be a real HTTP status. The event that carries the finish reason
    or the usage is held back until the end, when the ``metabolic`` object is put into it.
    """

    keep_alive: ClassVar[bytes] = KEEP_ALIVE

    __slots__ = (
        "_beat",
        "_gone",
        "_head",
        "_held",
        "_last_s",
        "_loop",
        "_period_s",
        "_send",
        "_task",
        "_timer",
        "_wire",
        "_writing",
        "begun",
        "first_s",
        "stalled",
    )

    def __init__(
        self,
        send: Send,
        *,
        head: Headers,
        keep_alive_s: float,
        gone: "asyncio.Future[None]",
        wire: Wire | None = None,
    ) -> None:
        """``head`` is sent when the response begins; ``gone`` is resolved for a stalled client."""
        self._loop = loop = asyncio.get_running_loop()
        self._send, self._head, self._gone, self._period_s = send, head, gone, keep_alive_s
        self._wire = wire
        self._held = b""
        self._writing = False
        self._beat: asyncio.Task[None] | None = None
        self._task = asyncio.current_task()
        self._last_s = loop.time()
        self._timer = loop.call_later(keep_alive_s, self._tick)
        self.begun = False
        self.first_s: float | None = None
        self.stalled = False

    async def write(self, events: bytes) -> None:
        """Pass whole events on; waits while the client is slow.

        Only the last event of a piece may have to be held: what follows another is not the end.
        """
        cut = events.rfind(b"\n\n", 0, -2) + 2
        last = events[cut:] if cut > 1 else events
        if holds_finish(last):
            passed = self._held + events[: len(events) - len(last)]
            self._held = last
        elif self._held:
            passed, self._held = self._held + events, b""
        else:
            passed = events
        if not passed:
            return
        wire = self._wire
        if wire is None or self.first_s is None or self._beat is not None or not wire.write(passed):
            await self._pass(passed)
        else:
            self._last_s = self._loop.time()

    async def retract(self, shown: bytes) -> None:
        """Say that what was sent since ``shown`` is replaced; its end, held back, is forgotten."""
        self._held = b""
        await self._pass(replaced(shown))

    async def finish(self, summary: bytes) -> None:
        """End a whole answer: the held event with ``summary`` in it, then ``[DONE]``."""
        last = with_metabolic(self._held, summary) if self._held else b""
        await self._end(last + DONE)

    async def fail(self, event: bytes) -> None:
        """End an answer that broke off: an error event, and no ``[DONE]``."""
        await self._end(event)

    def close(self) -> None:
        """Stop the keep-alives; called in any case, at the end."""
        self._timer.cancel()

    async def _pass(self, events: bytes) -> None:
        """Send, beginning the response if need be."""
        self._writing = True
        if self._beat is not None:
            await self._beat
        if not self.begun:
            await self._begin()
        if self.first_s is None:
            self.first_s = time.perf_counter()
        await self._send({"type": "http.response.body", "body": events, "more_body": True})
        self._last_s = self._loop.time()
        self._writing = False

    async def _end(self, events: bytes) -> None:
        """Send the last bytes and end the response."""
        self.close()
        if self._beat is not None:
            await self._beat
        if not self.begun:
            await self._begin()
        await self._send({"type": "http.response.body", "body": events, "more_body": False})

    async def _begin(self) -> None:
        """Send status and headers."""
        self.begun = True
        await self._send({"type": "http.response.start", "status": 200, "headers": self._head})

    def _tick(self) -> None:
        """Keep the connection alive when nothing was sent for a period; give up the stalled."""
        idle_s = self._loop.time() - self._last_s
        if self._writing or self._beat is not None:
            if idle_s > _STALL_S:
                self._give_up()
        elif idle_s >= self._period_s * _DUE_RATIO:
            self._beat = self._loop.create_task(self._keep_alive())
            idle_s = 0.0
        wait_s = self._period_s - idle_s if idle_s < self._period_s * _DUE_RATIO else self._period_s
        self._timer = self._loop.call_later(wait_s, self._tick)

    async def _keep_alive(self) -> None:
        """Send a comment."""
        try:
            if not self.begun:
                await self._begin()
            await self._send(
                {"type": "http.response.body", "body": self.keep_alive, "more_body": True}
            )
            self._last_s = self._loop.time()
        finally:
            self._beat = None

    def _give_up(self) -> None:
        """Treat a client that reads nothing as gone; then end the task that waits for it."""
        if not self._gone.done():
            self._gone.set_result(None)
        elif self._task is not None:
            self.stalled = True
            self._task.cancel()
