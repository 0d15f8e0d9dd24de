"""One keep-alive HTTP/1.1 connection on asyncio's Protocol and httptools' parser.

A connection carries one exchange at a time. The exchange owns its buffer, so a connection that has
delivered a whole response may serve the next request before the first is read. Whatever is odd
(bytes nobody asked for, a head without end, a close in the middle) closes the connection: it is
never used again.
"""

__all__ = ["Connection", "Exchange", "Owner"]

import asyncio
import socket
from typing import Protocol, cast

import httptools

from metabolic.backends.transport import Headers
from metabolic.core.errors import BackendError, BadReply, Unreachable

MAX_HEAD_BYTES = 65_536
"""Status line and headers; httptools has no bound of its own."""

HIGH_WATER_BYTES = 262_144
"""A stream's unread bytes at which reading from the socket pauses."""

_CONTINUE, _SWITCHING, _OK = 100, 101, 200
_KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
"""Seconds, seconds, probes: a peer that vanished is noticed within a minute of silence."""


class Owner(Protocol):
    """Whoever keeps connections: is told when one is free, and when one is gone."""

    def release(self, connection: "Connection") -> None:
        """Take back a connection that can be used again."""
        ...

    def lost(self, connection: "Connection") -> None:
        """Forget a connection."""
        ...


class Exchange:
    """One request and its response: a buffer and a single waiter.

    ``streamed`` wakes the waiter at the head and at every piece of the body; otherwise it is woken
    once, when the response is whole or the exchange has failed.
    """

    __slots__ = (
        "_waiter",
        "complete",
        "connection",
        "error",
        "headed",
        "headers",
        "limit",
        "parts",
        "paused",
        "size",
        "stale",
        "status",
        "streamed",
    )

    def __init__(self, connection: "Connection", *, streamed: bool, limit: int) -> None:
        """``limit`` bounds the bytes of a whole response's body."""
        self.connection = connection
        self.streamed = streamed
        self.limit = limit
        self.status = 0
        self.headers: Headers = ()
        self.parts: list[bytes] = []
        self.size = 0
        self.headed = self.complete = self.stale = self.paused = False
        self.error: BackendError | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        """Wait for the next thing to happen; being cancelled closes the connection."""
        self._waiter = waiter = self.connection.loop.create_future()
        try:
            await waiter
        except asyncio.CancelledError:
            self.close()
            raise

    def wake(self) -> None:
        """Wake the waiter, if there is one."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def head(self) -> None:
        """Wait until status and headers are known (not streamed: until all of it is)."""
        while not (self.headed if self.streamed else self.complete):
            if self.error is not None:
                raise self.error
            await self.wait()

    async def read(self) -> bytes:
        """Return the next bytes of the body, ``b""`` at its end; what came is given first."""
        while not self.parts:
            if self.complete:
                return b""
            if self.error is not None:
                raise self.error
            await self.wait()
        parts = self.parts
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        self.parts, self.size = [], 0
        if self.paused:
            self.paused = False
            self.connection.resume()
        return data

    async def drain(self, seconds: float) -> None:
        """Wait a little for the end of the body; then close if it has not come."""
        if self.complete:
            return
        try:
            async with asyncio.timeout(seconds):
                while await self.read():
                    pass
        except (TimeoutError, BackendError):
            self.close()

    def close(self) -> None:
        """Close the connection unless the response is whole."""
        if not self.complete:
            self.error = self.error or Unreachable("the call was closed")
            self.connection.abort()


class Connection(asyncio.Protocol):
    """The asyncio side: feeds the parser, and keeps the rules of the exchange under way."""

    __slots__ = (
        "_buffer",
        "_exchange",
        "_head_bytes",
        "_headers",
        "_keep_alive",
        "_owner",
        "_parser",
        "_transport",
        "closed",
        "idle_since_s",
        "loop",
    )

    _transport: asyncio.Transport

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop) -> None:
        """Belong to ``owner``."""
        self._owner = owner
        self.loop = loop
        self._parser = httptools.HttpResponseParser(self)
        self._exchange: Exchange | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._keep_alive = False
        self.closed = False
        self.idle_since_s = 0.0

    def begin(self, head: bytes, body: bytes, *, streamed: bool, limit: int) -> Exchange:
        """Send a request and return its exchange."""
        self._exchange = exchange = Exchange(self, streamed=streamed, limit=limit)
        self._headers = []
        self._head_bytes = 0
        self._transport.write(head + body)
        return exchange

    @property
    def usable(self) -> bool:
        """Say whether another request may be sent."""
        return not self.closed and not self._transport.is_closing()

    def abort(self) -> None:
        """Close at once, dropping what is buffered."""
        self.closed = True
        self._transport.abort()

    def resume(self) -> None:
        """Read on from the socket."""
        if not self.closed:
            self._transport.resume_reading()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; let the kernel probe a silent peer."""
        self._transport = cast("asyncio.Transport", transport)
        sock = cast("socket.socket | None", transport.get_extra_info("socket"))
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in _KEEPALIVE:
                if hasattr(socket, name):
                    sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; then finish, fail or wake the exchange."""
        exchange = self._exchange
        if exchange is None:
            self.abort()
            return
        if not exchange.headed:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if not exchange.complete:
                self._fail(BadReply("the deployment did not answer in HTTP"))
                return
            self._keep_alive = False
        if exchange.complete:
            self._finish(exchange)
        elif exchange.headed:
            self._check_room(exchange)
        elif self._head_bytes > MAX_HEAD_BYTES:
            self._fail(BadReply(f"the deployment's headers exceed {MAX_HEAD_BYTES} bytes"))

    def connection_lost(self, exc: Exception | None) -> None:
        """End the exchange under way: whole if its body ended by closing, else broken."""
        self.closed = True
        exchange, self._exchange = self._exchange, None
        self._owner.lost(self)
        if exchange is None or exchange.complete or exchange.error is not None:
            return
        if exchange.headed and exc is None and self._ends_by_closing():
            exchange.complete = True
        else:
            exchange.stale = not self._head_bytes
            exchange.error = Unreachable(_how_it_broke(exchange, self._head_bytes))
        exchange.wake()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Note a second response nobody asked for."""
        if self._exchange is None or self._exchange.complete:
            self._keep_alive = False
            self.closed = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; trailers are dropped."""
        exchange = self._exchange
        if exchange is not None and not exchange.headed:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Publish status and headers, unless they are interim (1xx)."""
        exchange = self._exchange
        status = self._parser.get_status_code()
        if exchange is None or exchange.complete:
            return
        if status < _OK and status != _SWITCHING:
            self._headers = []
            return
        exchange.status = status
        exchange.headers = tuple(self._headers)
        exchange.headed = True
        self._keep_alive = self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        """Buffer a piece of the body."""
        exchange = self._exchange
        if exchange is not None and not exchange.complete:
            exchange.parts.append(body)
            exchange.size += len(body)

    def on_message_complete(self) -> None:
        """Mark the response as whole, unless it was interim."""
        exchange = self._exchange
        if exchange is not None and exchange.headed:
            exchange.complete = True

    # Rules.

    def _finish(self, exchange: Exchange) -> None:
        """Give the connection back, or close it; then wake whoever waits."""
        self._exchange = None
        if exchange.paused:
            exchange.paused = False
            self._transport.resume_reading()
        sent = not self._transport.get_write_buffer_size()
        if self._keep_alive and sent and not self.closed:
            self._owner.release(self)
        else:
            self.abort()
        exchange.wake()

    def _check_room(self, exchange: Exchange) -> None:
        """Pause a stream that is not read; refuse a whole body beyond the limit."""
        if exchange.streamed:
            if exchange.size > HIGH_WATER_BYTES and not exchange.paused:
                exchange.paused = True
                self._transport.pause_reading()
            exchange.wake()
        elif exchange.size > exchange.limit:
            self._fail(BadReply(f"the deployment's answer exceeds {exchange.limit} bytes"))

    def _fail(self, error: BackendError) -> None:
        exchange, self._exchange = self._exchange, None
        self.abort()
        if exchange is not None:
            exchange.error = error
            exchange.wake()

    def _ends_by_closing(self) -> bool:
        """Say whether the body has neither a length nor chunks (RFC 9112, 6.3)."""
        return not any(
            name in {b"content-length", b"transfer-encoding"} for name, _ in self._headers
        )


def _how_it_broke(exchange: Exchange, head_bytes: int) -> str:
    if exchange.headed:
        return "the deployment broke off in the middle of its answer"
    if head_bytes:
        return "the deployment broke off in the middle of its headers"
    return "the deployment closed the connection without an answer"
