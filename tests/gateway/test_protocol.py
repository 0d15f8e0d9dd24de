"""The wire beside ASGI says what ASGI would."""

import asyncio
import json
import logging
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from metabolic.core.ports import Sink
from metabolic.core.request import Ask, Request
from metabolic.gateway.app import App
from metabolic.gateway.protocol import Protocol
from metabolic.testing.runtime import FakeOutcome, FakeRuntime, fake_record

pytestmark = pytest.mark.anyio


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def connect(kind: type[HttpToolsProtocol], app: Any) -> tuple[HttpToolsProtocol, Transport]:
    config = uvicorn.Config(app, http=kind, ws="none", lifespan="off", log_config=None)
    config.load()
    logging.getLogger("uvicorn.access").propagate = False
    state = ServerState()
    state.default_headers = [(b"date", b"today")]
    protocol, transport = kind(config, state, {}), Transport()
    protocol.connection_made(transport)
    return protocol, transport


def raw(*, version: str = "1.1", more: str = "", **body: object) -> bytes:
    text = json.dumps({"model": "auto", "messages": [{"role": "user", "content": "Hi"}], **body})
    head = f"POST /v1/chat/completions HTTP/{version}\r\ncontent-length: {len(text)}\r\n{more}\r\n"
    return (head + text).encode()


async def answered(kind: type[HttpToolsProtocol], sent: bytes) -> tuple[bytes, Transport]:
    protocol, transport = connect(kind, App(FakeRuntime()))
    protocol.data_received(sent)
    await asyncio.gather(*protocol.tasks)
    if protocol.timeout_keep_alive_task is not None:
        protocol.timeout_keep_alive_task.cancel()
    return b"".join(transport.writes), transport


def parts(answer: bytes) -> tuple[list[bytes], bytes]:
    """Return status and header lines, sorted and without the identifiers; and the body."""
    head, _, body = answer.partition(b"\r\n\r\n")
    own = (b"x-request-id", b"metabolic-decision")
    return sorted(line for line in head.split(b"\r\n") if not line.startswith(own)), body


@pytest.mark.parametrize(
    "sent",
    [raw(), raw(version="1.0"), raw(more="connection: close\r\n"), raw(model="no-such-model")],
)
async def test_a_whole_answer_is_the_same_by_either_way(sent: bytes) -> None:
    plain, first = await answered(HttpToolsProtocol, sent)
    wired, second = await answered(Protocol, sent)
    assert parts(wired) == parts(plain)
    assert first.closed == second.closed


async def test_a_whole_answer_is_one_write() -> None:
    _, transport = await answered(Protocol, raw())
    assert len(transport.writes) == 1


async def test_a_stream_is_the_same_but_for_its_identifier() -> None:
    plain, _ = await answered(HttpToolsProtocol, raw(stream=True))
    wired, _ = await answered(Protocol, raw(stream=True))
    assert wired.count(b"\r\n") == plain.count(b"\r\n")
    assert parts(wired)[0] == parts(plain)[0]
    assert len(wired) == len(plain)
    assert wired.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


async def test_a_lost_connection_is_told_at_once() -> None:
    begun = asyncio.Event()

    async def script(
        request: Request, ask: Ask, sink: Sink, gone: "asyncio.Future[None]"
    ) -> FakeOutcome:
        del request, sink
        begun.set()
        await gone
        return FakeOutcome(record=fake_record(ask, None))

    protocol, transport = connect(Protocol, App(FakeRuntime(script=script)))
    protocol.data_received(raw())
    await begun.wait()
    tasks = list(protocol.tasks)
    protocol.connection_lost(None)
    await asyncio.gather(*tasks)
    assert transport.writes == []


async def test_a_second_request_on_the_connection_is_answered_too() -> None:
    protocol, transport = connect(Protocol, App(FakeRuntime()))
    protocol.data_received(raw() + raw())
    while protocol.tasks:
        await asyncio.gather(*protocol.tasks)
    assert b"".join(transport.writes).count(b"HTTP/1.1 200 OK") == 2
    if protocol.timeout_keep_alive_task is not None:
        protocol.timeout_keep_alive_task.cancel()
