"""One streamed answer: the beginning, keep-alives, slow clients."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from metabolic.edge import render
from metabolic.gateway import stream as module
from metabolic.gateway.stream import EventStream
from metabolic.testing.runtime import events

pytestmark = pytest.mark.anyio
HEAD = [(b"content-type", b"text/event-stream")]


class Wire:
    """Keeps what is sent; blocks while ``open`` is not set."""

    def __init__(self) -> None:
        self.sent: list[MutableMapping[str, Any]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.came = asyncio.Event()

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        await self.open.wait()
        self.sent.append(message)
        self.came.set()

    @property
    def body(self) -> bytes:
        return b"".join(m["body"] for m in self.sent if m["type"] == "http.response.body")


def stream(
    wire: Wire, *, keep_alive_s: float = 60.0, gone: asyncio.Future[None] | None = None
) -> EventStream:
    gone = gone or asyncio.get_running_loop().create_future()
    return EventStream(wire, head=HEAD, keep_alive_s=keep_alive_s, gone=gone)


async def test_nothing_is_sent_before_the_first_event() -> None:
    wire = Wire()
    one = stream(wire)
    assert not one.begun
    await one.write(events("a")[0])
    assert [m["type"] for m in wire.sent] == ["http.response.start", "http.response.body"]
    one.close()


async def test_the_event_that_finishes_is_held_until_the_end() -> None:
    wire = Wire()
    one = stream(wire)
    said, finish = events("a")
    await one.write(said)
    await one.write(finish)
    assert wire.body == said
    await one.finish(b'{"decision":"x"}')
    assert wire.body.endswith(b'"metabolic":{"decision":"x"}}\n\ndata: [DONE]\n\n')
    assert wire.sent[-1]["more_body"] is False


async def test_a_stream_without_a_finish_still_ends() -> None:
    wire = Wire()
    one = stream(wire)
    await one.write(events("a")[0])
    await one.finish(b"{}")
    assert wire.body == events("a")[0] + b"data: [DONE]\n\n"


async def test_keep_alives_stop_at_the_end() -> None:
    wire = Wire()
    one = stream(wire, keep_alive_s=0.01)
    await wire.came.wait()
    assert wire.body == b": keep-alive\n\n"
    await one.write(events("a")[0])
    await one.finish(b"{}")
    count = len(wire.sent)
    assert one._timer.cancelled()
    assert len(wire.sent) == count


async def test_a_slow_client_holds_the_writer_back() -> None:
    wire = Wire()
    one = stream(wire)
    wire.open.clear()
    write = asyncio.create_task(one.write(events("a")[0]))
    await asyncio.sleep(0)
    assert not write.done()
    wire.open.set()
    await write
    one.close()


async def test_a_client_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STALL_S", 0.02)
    wire = Wire()
    wire.open.clear()
    gone = asyncio.get_running_loop().create_future()

    async def answer() -> None:
        await stream(wire, keep_alive_s=0.01, gone=gone).write(events("a")[0])

    task = asyncio.create_task(answer())
    await gone
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_is_taken_back_is_named_and_its_end_is_never_sent() -> None:
    wire = Wire()
    one = stream(wire)
    said, finish = events("a")
    await one.write(said)
    await one.write(finish)
    await one.retract(said)
    marker = wire.body[len(said) :]
    assert marker == render.replaced(said)
    other, end = events("b")
    await one.write(other)
    await one.write(end)
    await one.finish(b'{"decision":"x"}')
    assert wire.body.count(b'"finish_reason":"stop"') == 1
    assert wire.body.startswith(said + marker + other)
