"""uvicorn's HTTP protocol with a ``Wire``: what ASGI leaves out, at a fraction of its price.

By ASGI, a whole answer takes two messages, a check of every header by itself, and a ``receive``
that waits beside it only to learn whether the client has left: 40 µs a request. The protocol knows
all that is needed. It is handed on as ``scope["metabolic.wire"]``; without one, or when it says no
(it cannot write now), the gateway speaks plain ASGI, so any server does.
"""

__all__ = ["Protocol", "Wire"]

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

_OK = b"HTTP/1.1 200 OK\r\n"


class Wire:
    """One exchange on a connection, as the gateway may use it beside ASGI."""

    __slots__ = ("_cycle", "_protocol")

    def __init__(self, protocol: "Protocol", cycle: RequestResponseCycle) -> None:
        """Belong to one request of the connection."""
        self._protocol, self._cycle = protocol, cycle

    def watch(self, gone: "asyncio.Future[None] | None") -> None:
        """Have ``gone`` resolved when the client leaves; ``None`` ends that."""
        self._protocol.gone = gone
        if gone is not None:
            if self._cycle.disconnected:
                gone.set_result(None)
            self._protocol.flow.resume_reading()  # or nothing would tell

    def respond(self, headers: list[tuple[bytes, bytes]], body: bytes) -> bool:
        """Send a whole answer of status 200, ``content-length`` among its headers.

        Returns false, and has done nothing, when it cannot be sent this way.
        """
        cycle = self._cycle
        if cycle.response_started or cycle.disconnected or cycle.flow.write_paused:
            return False
        parts = [_OK]
        for name, value in cycle.default_headers:
            parts += (name, b": ", value, b"\r\n")
        for name, value in headers:
            parts += (name, b": ", value, b"\r\n")
        parts.append(b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n")
        head = b"".join(parts)
        lines = len(cycle.default_headers) + len(headers) + (2 if cycle.keep_alive else 3)
        if head.count(b"\n") != lines or head.count(b"\r") != lines:
            return False  # uvicorn will say what is wrong with it
        cycle.response_started = cycle.response_complete = True
        cycle.transport.write(head + body)
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()
        return True

    def write(self, piece: bytes) -> bool:
        """Send a piece, not empty, of an answer that ASGI began without a length.

        Returns false, and has done nothing, when the client is slow or the answer not so begun.
        """
        cycle = self._cycle
        if cycle.flow.write_paused or not cycle.chunked_encoding or cycle.response_complete:
            return False
        if not cycle.disconnected:
            cycle.transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        return True


class Protocol(HttpToolsProtocol):
    """One connection; ``gone`` is resolved when it is lost."""

    gone: "asyncio.Future[None] | None" = None

    def on_headers_complete(self) -> None:
        """Give the request, which has yet to run, its wire."""
        super().on_headers_complete()
        cycle = self.cycle
        if cycle is not None:  # pyright: ignore[reportUnnecessaryComparison] - it may be
            cycle.scope["metabolic.wire"] = Wire(self, cycle)  # type: ignore[typeddict-unknown-key]

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who watches."""
        super().connection_lost(exc)
        gone = self.gone
        if gone is not None and not gone.done():
            gone.set_result(None)
