"""How a streamed answer leaves: held until it is released, then passed on as it comes."""

__all__ = ["HELD_LIMIT_BYTES", "Relay"]

import asyncio

from metabolic.core.errors import BadReply
from metabolic.core.ports import Sink

HELD_LIMIT_BYTES = 32 * 1024 * 1024
"""Most bytes of one answer that are held in memory before it counts as broken."""


class Relay:
    """Holds the events of one call until ``release``; after that they go straight to the client.

    One task writes; ``release`` may come from another.
    """

    def __init__(self, sink: Sink) -> None:
        """Hold for ``sink``."""
        self._sink = sink
        self._held: list[bytes] = []
        self._size = 0
        self._released: asyncio.Future[None] | None = None
        self.open = False
        self.wrote = False

    def release(self) -> None:
        """Let the client have what is held and what is still to come."""
        self.open = True
        if self._released is not None and not self._released.done():
            self._released.set_result(None)

    async def opened(self) -> None:
        """Wait until somebody releases."""
        if not self.open:
            self._released = asyncio.get_running_loop().create_future()
            await self._released

    async def write(self, events: bytes) -> None:
        """Pass events on, or hold them.

        Raises:
            BadReply: more is held than ``HELD_LIMIT_BYTES``.
        """
        if self.open:
            await self.flush()
            self.wrote = True
            await self._sink.write(events)
            return
        self._held.append(events)
        self._size += len(events)
        if self._size > HELD_LIMIT_BYTES:
            message = f"the answer is longer than {HELD_LIMIT_BYTES} bytes"
            raise BadReply(message)

    async def flush(self) -> None:
        """Send what was held."""
        if self._held:
            held, self._held = b"".join(self._held), []
            self.wrote = True
            await self._sink.write(held)
