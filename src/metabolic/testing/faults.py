"""The faults the fake server can commit; ``metabolic.testing.faultnames`` has their names."""
# ruff: noqa: ARG001 - every fault has the same arguments, whichever it needs

__all__ = [
    "Fault",
    "Line",
    "SSE",
    "Scene",
    "after",
    "chunk",
    "close_idle",
    "crlf",
    "cut",
    "cut_bytes",
    "drip",
    "early",
    "filtered",
    "flood",
    "giant_header",
    "giant_headers",
    "go_on",
    "head",
    "huge",
    "late",
    "linger",
    "long_length",
    "no_done",
    "no_finish",
    "paced",
    "refuse",
    "reset",
    "reset_headers",
    "say",
    "short_length",
    "stall",
    "streamed",
    "too_many_date",
    "until_close",
    "until_reset",
]

import asyncio
import email.utils
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from msgspec import Struct


class Line(Protocol):
    """The connection a fault is committed on."""

    def send(self, data: bytes) -> None:
        """Write bytes as they are."""
        ...

    async def drained(self) -> None:
        """Wait until the peer has taken what was written."""
        ...

    def reset(self) -> None:
        """Close with a TCP reset."""
        ...

    def close(self) -> None:
        """Close after what was written has left."""
        ...


class Scene(Struct, frozen=True, kw_only=True):
    """What a healthy server would have answered: the whole body, or the events of a stream."""

    streamed: bool
    body: bytes
    events: Sequence[bytes]


Fault = Callable[[Line, Scene], Awaitable[None]]

_JSON = b"content-type: application/json\r\n"
SSE = b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"


def head(status: int, headers: bytes = _JSON, *, length: int | None = None) -> bytes:
    """Return a response head with these header lines."""
    size = b"" if length is None else b"content-length: %d\r\n" % length
    return b"HTTP/1.1 %d X\r\n" % status + headers + size + b"\r\n"


def chunk(data: bytes) -> bytes:
    """Return one chunk of a chunked body; of ``b""``, the end of the body."""
    return b"%x\r\n" % len(data) + data + b"\r\n"


def refuse(status: int, headers: bytes = b"", *, code: bytes = b"null") -> Fault:
    """Return the fault that answers with an error envelope; ``code`` is JSON."""

    async def fault(line: Line, scene: Scene) -> None:
        error = b'{"message":"fault %d","type":"fault","param":null,"code":%b}' % (status, code)
        body = b'{"error":%b}' % error
        line.send(head(status, _JSON + headers, length=len(body)) + body)

    return fault


def say(data: bytes, *, close: bool = False) -> Fault:
    """Return the fault that sends exactly these bytes."""

    async def fault(line: Line, scene: Scene) -> None:
        line.send(data)
        if close:
            line.close()

    return fault


def cut(events: int, *, then: str = "close") -> Fault:
    """Return the fault that stops after some events (or in the middle of a whole answer)."""

    async def fault(line: Line, scene: Scene) -> None:
        if scene.streamed:
            line.send(head(200, SSE) + b"".join(chunk(event) for event in scene.events[:events]))
        else:
            line.send(head(200, length=len(scene.body)) + scene.body[: len(scene.body) // 2])
        await line.drained()
        await asyncio.sleep(0.01)
        if then == "close":
            line.close()
        elif then == "reset":
            line.reset()
        else:
            await asyncio.Event().wait()

    return fault


def cut_bytes(count: int) -> Fault:
    """Return the fault that closes a stream after so many bytes, wherever that is."""

    async def fault(line: Line, scene: Scene) -> None:
        line.send(head(200, SSE) + chunk(b"".join(scene.events)[:count]))
        await line.drained()
        await asyncio.sleep(0.01)
        line.close()

    return fault


async def reset(line: Line, scene: Scene) -> None:
    """Reset without a byte."""
    line.reset()


async def reset_headers(line: Line, scene: Scene) -> None:
    """Reset in the middle of the headers."""
    line.send(b"HTTP/1.1 200 OK\r\ncontent-ty")
    await asyncio.sleep(0.02)
    line.reset()


async def stall(line: Line, scene: Scene) -> None:
    """Take the request and never answer."""
    await asyncio.Event().wait()


async def giant_headers(line: Line, scene: Scene) -> None:
    """Send header lines without end."""
    line.send(b"HTTP/1.1 200 OK\r\n")
    for number in range(4096):
        line.send(b"x-%d: %s\r\n" % (number, b"v" * 1000))
        await line.drained()
        await asyncio.sleep(0)


async def giant_header(line: Line, scene: Scene) -> None:
    """Send one header line without end."""
    line.send(b"HTTP/1.1 200 OK\r\nx: ")
    for _ in range(4096):
        line.send(b"v" * 1000)
        await line.drained()
        await asyncio.sleep(0)


async def short_length(line: Line, scene: Scene) -> None:
    """Announce fewer bytes than are sent."""
    line.send(head(200, length=len(scene.body) - 20) + scene.body)


async def long_length(line: Line, scene: Scene) -> None:
    """Announce more bytes than are sent, and close."""
    line.send(head(200, length=len(scene.body) + 20) + scene.body)
    line.close()


async def drip(line: Line, scene: Scene) -> None:
    """Send the answer a few bytes at a time."""
    if scene.streamed:
        whole = head(200, SSE) + b"".join(chunk(event) for event in (*scene.events, b""))
    else:
        whole = head(200, length=len(scene.body)) + scene.body
    step = max(7, len(whole) // 200)
    for start in range(0, len(whole), step):
        line.send(whole[start : start + step])
        await asyncio.sleep(0)


async def until_close(line: Line, scene: Scene) -> None:
    """Send a whole body without a length, ended by closing, as HTTP/1.0 servers do."""
    body = b"".join(scene.events) if scene.streamed else scene.body
    line.send(b"HTTP/1.0 200 OK\r\n" + _JSON + b"\r\n" + body)
    line.close()


async def until_reset(line: Line, scene: Scene) -> None:
    """Send half a body without a length, and reset."""
    line.send(b"HTTP/1.0 200 OK\r\n" + _JSON + b"\r\n" + scene.body[: len(scene.body) // 2])
    await line.drained()
    await asyncio.sleep(0.02)
    line.reset()


async def huge(line: Line, scene: Scene) -> None:
    """Send a body without end."""
    line.send(head(200, _JSON + b"transfer-encoding: chunked\r\n"))
    for _ in range(4096):
        line.send(chunk(b" " * 65536))
        await line.drained()
        await asyncio.sleep(0)


async def filtered(line: Line, scene: Scene) -> None:
    """Answer, and say that a content filter has ended it."""
    old, new = b'"finish_reason":"stop"', b'"finish_reason":"content_filter"'
    events = tuple(event.replace(old, new) for event in scene.events)
    body = scene.body.replace(old, new)
    await streamed(events)(line, Scene(streamed=scene.streamed, body=body, events=events))


def late(wait_s: float) -> Fault:
    """Return the fault that is silent for a while and then answers."""

    async def fault(line: Line, scene: Scene) -> None:
        await asyncio.sleep(wait_s)
        await streamed(scene.events)(line, scene)

    return fault


async def early(line: Line, scene: Scene) -> None:
    """Refuse and close, as a server does that will not read the rest of a body."""
    body = b'{"error":{"message":"too large","type":"fault","param":null,"code":null}}'
    line.send(head(413, _JSON + b"connection: close\r\n", length=len(body)) + body)
    line.close()


async def close_idle(line: Line, scene: Scene) -> None:
    """Answer, then close the kept-alive connection without having said so."""
    await streamed(scene.events)(line, scene)
    line.close()


async def linger(line: Line, scene: Scene) -> None:
    """Send all events, but the end of the chunked body never."""
    line.send(head(200, SSE) + b"".join(chunk(event) for event in scene.events))
    await asyncio.Event().wait()


async def go_on(line: Line, scene: Scene) -> None:
    """Send ``100 Continue`` first, and then answer."""
    line.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    await streamed(scene.events)(line, scene)


async def flood(line: Line, scene: Scene) -> None:
    """Send events as fast as they are taken, 64 MiB in all."""
    line.send(head(200, SSE))
    event = b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n' % (b"x" * 65536)
    for _ in range(1024):
        line.send(chunk(event))
        await line.drained()
    line.send(b"".join(chunk(event) for event in (*scene.events, b"")))


def streamed(events: Sequence[bytes]) -> Fault:
    """Stream these events, or give the healthy whole answer."""

    async def fault(line: Line, scene: Scene) -> None:
        if scene.streamed:
            parts = (*events, b"") if events else (b"",)
            line.send(head(200, SSE) + b"".join(chunk(event) for event in parts))
        else:
            line.send(head(200, length=len(scene.body)) + scene.body)

    return fault


def paced(wait_s: float) -> Fault:
    """Return the healthy stream with a wait before each event."""

    async def fault(line: Line, scene: Scene) -> None:
        line.send(head(200, SSE))
        for event in scene.events:
            await asyncio.sleep(wait_s)
            line.send(chunk(event))
        line.send(chunk(b""))

    return fault


def after(events: int, *last: bytes) -> Fault:
    """Return the fault that sends some good events and then ``last``."""

    async def fault(line: Line, scene: Scene) -> None:
        await streamed((*scene.events[:events], *last))(line, scene)

    return fault


async def no_done(line: Line, scene: Scene) -> None:
    """End a whole stream without ``[DONE]``."""
    await streamed(scene.events[:-1])(line, scene)


async def no_finish(line: Line, scene: Scene) -> None:
    """End the body of a stream properly, but before the answer was whole."""
    await streamed(scene.events[:5])(line, scene)


async def crlf(line: Line, scene: Scene) -> None:
    """Stream with CRLF line ends and comments between the events."""
    events = [b": note\r\n\r\n" + event.replace(b"\n", b"\r\n") for event in scene.events]
    await streamed(events)(line, scene)


def _late() -> bytes:
    return email.utils.formatdate(time.time() + 30, usegmt=True).encode()


async def too_many_date(line: Line, scene: Scene) -> None:
    """Answer 429 with a date half a minute away in ``Retry-After``."""
    await refuse(429, b"retry-after: " + _late() + b"\r\n")(line, scene)
