"""A minimal HTTP client that asks the same again and again, and counts what it takes.

One ``asyncio.Protocol`` a connection, the request's bytes made once, the answer read only as far
as its end must be known: the client's own cost stays far below what is measured.
"""

__all__ = ["Load", "ask", "drive", "request"]

import asyncio
import time
from typing import cast

import httptools
from msgspec import Struct


class Load(Struct, frozen=True, kw_only=True):
    """What one run of load did; latencies are sorted, ``events`` counts SSE events."""

    requests: int
    errors: int
    events: int
    seconds: float
    latencies_s: tuple[float, ...]

    def quantile_s(self, share: float) -> float:
        """Return the latency that ``share`` of the requests did not exceed."""
        last = len(self.latencies_s) - 1
        return self.latencies_s[min(last, int(share * len(self.latencies_s)))]


class _Line(asyncio.Protocol):
    """One connection that asks again as soon as it has its answer."""

    def __init__(self, raw: bytes, until_s: float, done: "asyncio.Future[None]") -> None:
        self._raw, self._until_s, self._done = raw, until_s, done
        self._parser = httptools.HttpResponseParser(self)
        self._asked_s = 0.0
        self._last = b""
        self.latencies_s: list[float] = []
        self.events = 0
        self.errors = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if not self._done.done():
            self.errors += 1
            self._done.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.events += body.count(b"data: ")
        self._last = body

    def on_message_complete(self) -> None:
        now_s = time.perf_counter()
        self.latencies_s.append(now_s - self._asked_s)
        if self._parser.get_status_code() != 200 or b'"error"' in self._last:  # noqa: PLR2004
            self.errors += 1
        if now_s < self._until_s:
            self._parser = httptools.HttpResponseParser(self)
            self._ask()
        elif not self._done.done():
            self._done.set_result(None)
            self._transport.close()

    def _ask(self) -> None:
        self._asked_s = time.perf_counter()
        self._transport.write(self._raw)


def request(body: bytes, *, path: str = "/v1/chat/completions", headers: str = "") -> bytes:
    """Return the bytes of a request; ``headers`` are whole lines, each ending in CRLF."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer none\r\n{headers}content-length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body


async def drive(port: int, raw: bytes, *, concurrency: int, seconds: float) -> Load:
    """Ask over ``concurrency`` connections for ``seconds``, and say what came back."""
    loop = asyncio.get_running_loop()
    began_s = time.perf_counter()
    until_s = began_s + seconds
    lines: list[_Line] = []
    ends: list[asyncio.Future[None]] = []
    for _ in range(concurrency):
        end = loop.create_future()
        _, line = await loop.create_connection(
            lambda end=end: _Line(raw, until_s, end), "127.0.0.1", port
        )
        lines.append(line)
        ends.append(end)
    await asyncio.gather(*ends)
    latencies_s = sorted(latency for line in lines for latency in line.latencies_s)
    return Load(
        requests=len(latencies_s),
        errors=sum(line.errors for line in lines),
        events=sum(line.events for line in lines),
        seconds=time.perf_counter() - began_s,
        latencies_s=tuple(latencies_s),
    )


async def ask(port: int, path: str) -> int:
    """Return the status of one ``GET``. Raises ``OSError`` when nobody listens."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n".encode())
    line = await reader.readline()
    writer.close()
    return int(line.split()[1]) if line else 0
