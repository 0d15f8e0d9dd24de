"""How a streamed answer leaves: held until it is released, then passed on as it comes."""

__all__ = ["HELD_LIMIT_BYTES", "KEPT_LIMIT_BYTES", "Relay"]

import asyncio

from metabolic.core.errors import BadReply
from metabolic.core.ports import Retracting, Sink

HELD_LIMIT_BYTES = 32 * 1024 * 1024
"""Most bytes of one answer that are held in memory before it counts as broken."""

KEPT_LIMIT_BYTES = 256 * 1024
"""Most bytes kept of an answer that has gone, so that it may be gone on with if its upstream dies;
a longer one ends honestly. About 1,300 tokens at 200 bytes an event."""


class Relay:
    """Holds the events of one call until ``release``; after that they go straight to the client.

    One task writes; ``release`` may come from another. With ``again`` what has gone is kept, so
    that an answer which was taken back can be given after all.
    """

    def __init__(self, sink: Sink, *, again: bool = False, keep: bool = False) -> None:
        """Hold for ``sink``; ``keep``: what has gone may be asked for, see ``given``."""
        self.sink = sink
        self._held: list[bytes] = []
        self._sent: list[bytes] | None = [] if again else None
        self._kept: list[bytes] | None = [] if keep else None
        self._room_bytes = KEPT_LIMIT_BYTES
        self._size = 0
        self._released: asyncio.Future[None] | None = None
        self._instead = b""
        self.open = False
        self.wrote = False

    def release(self, *, instead: bytes = b"") -> None:
        """Let the client have what is held and what is still to come.

        It takes the place of what began with ``instead``, which the client is told first.
        """
        self.open = True
        self._instead = instead
        if self._released is not None and not self._released.done():
            self._released.set_result(None)

    def withdraw(self) -> bytes:
        """Write no more, and return how what has gone began; it may all be released again."""
        self.open = False
        if not self._sent:
            return b""
        self._held, self._sent = [*self._sent, *self._held], []
        return self._held[0]

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
            if self._held or self._instead:
                await self.flush()
            self.wrote = True
            if self._sent is not None:
                self._sent.append(events)
                self._hold(len(events))
            if self._kept is not None:
                self._keep(events)
            await self.sink.write(events)
            return
        self._held.append(events)
        self._hold(len(events))

    def _hold(self, count_bytes: int) -> None:
        """Count what is in memory. Raises ``BadReply``."""
        self._size += count_bytes
        if self._size > HELD_LIMIT_BYTES:
            message = f"the answer is longer than {HELD_LIMIT_BYTES} bytes"
            raise BadReply(message)

    async def flush(self) -> None:
        """Send what was held, after taking back what was sent before it."""
        if self._instead:
            shown, self._instead = self._instead, b""
            if isinstance(self.sink, Retracting):
                await self.sink.retract(shown)
        if self._held:
            held, self._held = b"".join(self._held), []
            if self._sent is not None:
                self._sent.append(held)
            if self._kept is not None:
                self._keep(held)
            self.wrote = True
            await self.sink.write(held)

    def _keep(self, events: bytes) -> None:
        """Keep what goes, while there is room."""
        self._room_bytes -= len(events)
        if self._kept is not None and self._room_bytes >= 0:
            self._kept.append(events)
        else:
            self._kept = None

    def given(self) -> bytes:
        """Return all that has gone, ``b""`` when it was not kept; from now on nothing is kept."""
        kept, self._kept = self._kept, None
        return b"".join(kept) if kept and not self._held and not self._instead else b""
