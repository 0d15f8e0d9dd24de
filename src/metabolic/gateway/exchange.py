"""One HTTP request and its answer, while they last."""

__all__ = ["Exchange", "Identities"]

import os
import time

from metabolic.gateway.body import discard
from metabolic.gateway.reply import Response
from metabolic.gateway.seam import Receive, Scope, Send, Wire
from metabolic.gateway.stream import EventStream

_RANDOM_BYTES = 10
_AT_ONCE = 256


class Identities:
    """Makes identifiers that sort by time and cannot be guessed.

    48 bits of milliseconds and 80 random bits, as in a UUIDv7. The random bits are drawn from
    the system many at a time. Source: RFC 9562, section 5.7.
    """

    __slots__ = ("_drawn", "_next")

    def __init__(self) -> None:
        """Draw nothing yet."""
        self._drawn, self._next = "", 0

    def __call__(self) -> str:
        """Return the next identifier."""
        begin = self._next
        if begin >= len(self._drawn):
            self._drawn, begin = os.urandom(_RANDOM_BYTES * _AT_ONCE).hex(), 0
        self._next = end = begin + 2 * _RANDOM_BYTES
        return f"mr-{time.time_ns() // 1_000_000:012x}{self._drawn[begin:end]}"


class Exchange:
    """What the handlers of one request share."""

    __slots__ = (
        "began_s",
        "begun",
        "headers",
        "id",
        "method",
        "path",
        "receive",
        "send",
        "stream",
        "wire",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, identity: str) -> None:
        """Read the scope; of a header given twice the last one counts."""
        self.path: str = scope["path"]
        self.method: str = scope["method"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.receive, self.send = receive, send
        self.id = identity
        self.began_s = time.perf_counter()
        # Taken out, else it would hold the scope that holds it.
        self.wire: Wire | None = scope.pop("metabolic.wire", None)
        self.stream: EventStream | None = None
        self.begun = False

    def seconds(self) -> float:
        """Return the seconds since the request came."""
        return time.perf_counter() - self.began_s

    async def respond(self, response: Response) -> None:
        """Send a whole answer; a refused body is read away first, so that the refusal is seen."""
        body, self.begun = response.body, True
        headers = [
            (b"content-type", response.content_type),
            (b"content-length", b"%d" % len(body)),
            *response.headers,
        ]
        if not any(name == b"x-request-id" for name, _ in response.headers):
            headers.append((b"x-request-id", self.id.encode("ascii")))
        if response.close:
            headers.append((b"connection", b"close"))
        await self.send(
            {"type": "http.response.start", "status": response.status, "headers": headers}
        )
        if response.close:
            await self.send({"type": "http.response.body", "body": body, "more_body": True})
            await discard(self.receive)
            body = b""
        await self.send({"type": "http.response.body", "body": body, "more_body": False})
