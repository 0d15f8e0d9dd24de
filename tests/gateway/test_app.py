"""Paths, methods, the lifespan, and what happens when something breaks."""

import asyncio
import json
import logging
from collections.abc import MutableMapping
from typing import Any

import pytest

from metabolic.core.decision import Candidate, Decision
from metabolic.core.errors import ConfigError, NoCandidate
from metabolic.core.ports import Sink
from metabolic.core.request import Ask, Request
from metabolic.gateway.app import App
from metabolic.testing.asgi import Client
from metabolic.testing.runtime import FakeOutcome, FakeRuntime, events, failing

pytestmark = pytest.mark.anyio


async def test_an_unknown_path_is_openais_404() -> None:
    answered = await Client(App(FakeRuntime())).get("/v1/nothing")
    assert answered.status == 404
    assert answered.error["type"] == "invalid_request_error"
    assert answered.error["code"] == "not_found"
    assert answered.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/v1/chat/completions/", "//v1/models", "/V1/models", "/"])
async def test_paths_are_exact(path: str) -> None:
    assert (await Client(App(FakeRuntime())).get(path)).status == 404


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v1/chat/completions", "POST, OPTIONS"),
        ("DELETE", "/v1/embeddings", "POST, OPTIONS"),
        ("POST", "/v1/models", "GET, HEAD, OPTIONS"),
        ("PUT", "/health", "GET, HEAD, OPTIONS"),
        ("POST", "/v1/receipts/x", "GET, HEAD, OPTIONS"),
    ],
)
async def test_a_wrong_method_is_405_and_says_what_is_allowed(
    method: str, path: str, allow: str
) -> None:
    answered = await Client(App(FakeRuntime())).request(method, path)
    assert answered.status == 405
    assert answered.headers["allow"] == allow
    assert answered.error["code"] == "method_not_allowed"


async def test_options_says_what_is_allowed_and_grants_no_origin() -> None:
    answered = await Client(App(FakeRuntime())).request(
        "OPTIONS", "/v1/chat/completions", headers={"origin": "http://evil.example"}
    )
    assert answered.status == 204
    assert answered.headers["allow"] == "POST, OPTIONS"
    assert not [name for name in answered.headers if name.startswith("access-control")]


async def test_head_is_answered_like_get() -> None:
    answered = await Client(App(FakeRuntime())).request("HEAD", "/health")
    assert answered.status == 200
    assert int(answered.headers["content-length"]) > 0


async def test_what_breaks_in_a_handler_is_a_500_without_its_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(*_: object) -> FakeOutcome:
        msg = "the secret inside"
        raise ZeroDivisionError(msg)

    answered = await Client(App(FakeRuntime(script=broken))).chat()
    assert answered.status == 500
    assert answered.error["type"] == "server_error"
    assert b"secret" not in answered.body
    assert "ZeroDivisionError" in caplog.text


async def test_what_breaks_after_the_stream_began_is_an_error_event_without_done() -> None:
    async def broken(
        request: Request, ask: Ask, sink: Sink, gone: asyncio.Future[None]
    ) -> FakeOutcome:
        await sink.write(events("Hel")[0])
        raise ZeroDivisionError

    answered = await Client(App(FakeRuntime(script=broken))).chat(stream=True)
    assert answered.status == 200
    assert json.loads(answered.pieces[-1].removeprefix(b"data: "))["error"]
    assert b"[DONE]" not in answered.body
    assert answered.whole


async def test_the_lifespan_starts_and_closes_the_runtime() -> None:
    runtime = FakeRuntime()
    said = await _live(App(runtime))
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert runtime.started == 1
    assert runtime.closed_after_s == runtime.config.server.drain_s


async def test_a_runtime_that_does_not_start_stops_the_server() -> None:
    class Broken(FakeRuntime):
        async def start(self) -> None:
            msg = "x.toml: [server] port: taken"
            raise ConfigError(msg)

    assert await _live(App(Broken())) == ["lifespan.startup.failed"]


async def test_a_websocket_is_closed() -> None:
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> dict[str, object]:
        return {"type": "websocket.connect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await App(FakeRuntime())({"type": "websocket"}, receive, send)
    assert sent[0]["type"] == "websocket.close"


async def test_a_request_is_one_log_line_with_fields_and_no_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "metabolic.gateway")
    answered = await Client(App(FakeRuntime())).chat(
        messages=[{"role": "user", "content": "a private matter"}]
    )
    (record,) = [r for r in caplog.records if r.name == "metabolic.gateway"]
    fields = vars(record)
    assert fields["id"] == answered.headers["metabolic-decision"]
    assert (fields["chosen"], fields["escalations"], fields["status"]) == ("small", 1, 200)
    assert fields["energy_j"] == 1.5
    assert fields["ms"] >= 0
    assert "private" not in str(fields)


async def test_no_candidate_lists_every_reason() -> None:
    decision = Decision(
        stages=(), candidates=(Candidate(deployment="small", rejected="context too short"),)
    )
    error = NoCandidate("No deployment may answer.", decision=decision)
    answered = await Client(App(FakeRuntime(script=failing(error)))).chat()
    assert answered.status == 503
    assert answered.json["metabolic"]["rejected"] == [
        {"deployment": "small", "reason": "context too short"}
    ]


async def _live(app: App) -> list[str]:
    """Run the lifespan from start to stop; return what was said."""
    said: list[str] = []

    async def receive() -> dict[str, str]:
        return {"type": "lifespan.shutdown" if said else "lifespan.startup"}

    async def send(message: MutableMapping[str, Any]) -> None:
        said.append(message["type"])

    await app({"type": "lifespan"}, receive, send)
    return said
