"""uvicorn's HTTP protocol with a ``Wire``: what ASGI leaves out, at a fraction of its price.

By ASGI, a whole answer takes two messages, a check of every header by itself, and a ``receive``
that waits beside it only to learn whether the client has left: 40 µs a request. The protocol knows
all that is needed. It is handed on as ``scope["metabolic.wire"]``; without one, or when it says no
(it cannot write now), the gateway speaks plain ASGI, so any server does.
"""

__all__ = ["Protocol", "Wire"]

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

_OK = b"HTTP/1.1 200 OK\r\n%b%bcontent-type: application/json\r\ncontent-length: %d\r\n%b"

_Headers = list[tuple[bytes, bytes]]


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

    def take(self) -> bytes | None:
        """Return the request's body if it is all here and the client waits for no 100."""
        cycle = self._cycle
        if cycle.more_body or cycle.waiting_for_100_continue or cycle.disconnected:
            return None
        return bytes(cycle.body)

    def respond(self, head: bytes, body: bytes) -> bool:
        """Send a whole JSON answer of status 200; ``head`` has more lines of headers.

        Returns false, and has done nothing, when it cannot be sent this way.
        """
        cycle = self._cycle
        if cycle.response_started or cycle.disconnected or cycle.flow.write_paused:
            return False
        if head.count(b"\n") != head.count(b": ") or head.count(b"\r") != head.count(b"\n"):
            return False  # uvicorn will say what is wrong with it
        common = self._protocol.common(cycle.default_headers)
        last = b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n"
        cycle.response_started = cycle.response_complete = True
        cycle.transport.write(_OK % (common, head, len(body), last) + body)
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
    _known: tuple[_Headers, bytes] | None = None

    def common(self, headers: _Headers) -> bytes:
        """Return the headers of every answer as lines; uvicorn makes them anew each second."""
        known = self._known
        if known is None or known[0] is not headers:
            lines = b"".join(b"%b: %b\r\n" % header for header in headers)
            self._known = known = (headers, lines)
        return known[1]

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
