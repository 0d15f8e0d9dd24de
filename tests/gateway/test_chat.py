"""The request path over a fake runtime."""

import asyncio
import json
import re
from typing import Any

import pytest

from metabolic.config import Config, ServerTable
from metabolic.core.errors import (
    BadReply,
    MetabolicError,
    Overloaded,
    Refused,
    TimedOut,
    Unreachable,
)
from metabolic.core.ports import Sink
from metabolic.core.request import Ask, Request
from metabolic.gateway.app import App
from metabolic.testing.asgi import Answered, Client
from metabolic.testing.runtime import (
    FakeOutcome,
    FakeRuntime,
    NoSink,
    events,
    failing,
    fake_record,
    saying,
    streaming,
)

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"


def data(answered: Answered) -> list[Any]:
    """Return the stream's events as JSON, ``[DONE]`` as text."""
    found = [line[6:] for line in answered.body.decode().split("\n") if line.startswith("data: ")]
    return [text if text == "[DONE]" else json.loads(text) for text in found]


async def test_a_whole_answer_is_passed_on_with_its_figures_as_headers() -> None:
    answered = await Client(App(FakeRuntime())).chat()
    assert answered.status == 200
    assert answered.json["choices"][0]["message"]["content"] == "Hello."
    headers = answered.headers
    assert headers["metabolic-decision"] == headers["x-request-id"]
    assert re.fullmatch(r"mr-[0-9a-f]{32}", headers["x-request-id"])
    assert headers["metabolic-deployment"] == "small"
    assert headers["metabolic-escalations"] == "1"
    assert headers["metabolic-confidence"] == "0.75"
    assert headers["metabolic-degraded"] == "false"
    assert (headers["metabolic-energy-j"], headers["metabolic-energy-origin"]) == (
        "1.5",
        "modelled",
    )
    assert float(headers["metabolic-cost-usd"]) == 2.5e-7
    assert float(headers["metabolic-carbon-g"]) == 0.0002


async def test_what_is_not_known_has_no_header() -> None:
    answered = await Client(App(FakeRuntime(script=saying("x", confidence=None)))).chat()
    assert "metabolic-confidence" not in answered.headers


async def test_the_body_reaches_the_runtime_as_it_was_sent() -> None:
    runtime = FakeRuntime()
    await Client(App(runtime)).chat(model="auto", unknown={"deep": [1]}, temperature=0.5)
    request, ask = runtime.asked[0]
    assert json.loads(request.body)["unknown"] == {"deep": [1]}
    assert (request.id, request.model) == (ask.id, "auto")


async def test_session_memory_reaches_the_ask() -> None:
    runtime = FakeRuntime()
    await Client(App(runtime)).chat(headers={"metabolic-session": "warm"})
    assert runtime.asked[0][1].warm[0].deployment == "small"


async def test_a_stream_ends_with_the_metabolic_object_and_done() -> None:
    answered = await Client(App(FakeRuntime())).chat(stream=True)
    assert answered.status == 200
    assert answered.headers["content-type"].startswith("text/event-stream")
    first, last, done = data(answered)
    assert first["choices"][0]["delta"]["content"] == "Hello."
    assert "metabolic" not in first
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["metabolic"] == {
        "decision": answered.headers["metabolic-decision"],
        "deployment": "small",
        "escalations": 1,
        "confidence": 0.75,
        "energy_j": 1.5,
        "energy_origin": "modelled",
        "cost_usd": 2.5e-7,
        "carbon_g": 0.0002,
        "degraded": False,
    }
    assert done == "[DONE]"
    assert answered.whole


async def test_the_usage_chunk_is_the_last_when_there_is_one() -> None:
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\n'
    script = streaming([*events("a"), usage])
    answered = await Client(App(FakeRuntime(script=script))).chat(stream=True)
    _, finish, last, _ = data(answered)
    assert "metabolic" not in finish
    assert last["metabolic"]["deployment"] == "small"


async def test_events_in_one_piece_are_told_apart() -> None:
    script = streaming([b"".join((*events("a"), *events("b")))])
    answered = await Client(App(FakeRuntime(script=script))).chat(stream=True)
    told = data(answered)
    assert len(told) == 5
    assert ["metabolic" in one for one in told[:4]] == [False, False, False, True]


async def test_every_event_leaves_in_order_however_they_are_cut_into_pieces() -> None:
    whole = [*events("a"), *events("b"), *events("c")]
    for width in range(1, 7):
        parts = [b"".join(whole[i : i + width]) for i in range(0, 6, width)]
        answered = await Client(App(FakeRuntime(script=streaming(parts)))).chat(stream=True)
        text = "".join(one["choices"][0]["delta"].get("content", "") for one in data(answered)[:-1])
        assert text == "abc"
        assert len(data(answered)) == 7


async def test_an_error_before_the_first_event_is_a_real_status() -> None:
    script = failing(Overloaded("busy", retry_after_s=2.4))
    answered = await Client(App(FakeRuntime(script=script))).chat(stream=True)
    assert answered.status == 429
    assert answered.headers["retry-after"] == "2"
    assert answered.headers["metabolic-decision"]
    assert answered.error["type"] == "rate_limit_error"


async def test_an_error_after_events_is_in_band_and_without_done() -> None:
    script = streaming([events("Hel")[0]], error=Unreachable("the connection broke"))
    answered = await Client(App(FakeRuntime(script=script))).chat(stream=True)
    assert answered.status == 200
    first, error = data(answered)
    assert first["choices"][0]["delta"]["content"] == "Hel"
    assert error["error"]["code"] == "upstream_unreachable"
    assert b"[DONE]" not in answered.body
    assert answered.whole


async def test_a_finish_that_was_held_is_not_sent_when_the_stream_broke() -> None:
    script = streaming(events("Hi"), error=Unreachable("no end"))
    answered = await Client(App(FakeRuntime(script=script))).chat(stream=True)
    assert b'"stop"' not in answered.body


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Unreachable("x"), 502, "upstream_unreachable"),
        (TimedOut("x"), 504, "upstream_timeout"),
        (BadReply("x"), 502, "upstream_bad_reply"),
        (Refused("no", status=422, body=b'{"error":{"message":"too long"}}'), 422, None),
        (Refused("no", status=400, body=b"<html>"), 400, "upstream_refused"),
        (
            Refused("no", status=401, body=b'{"error":{"message":"key"}}'),
            502,
            "upstream_credentials",
        ),
        (Refused("no", status=403, body=b""), 502, "upstream_credentials"),
    ],
)
async def test_errors_become_statuses(error: MetabolicError, status: int, code: str | None) -> None:
    answered = await Client(App(FakeRuntime(script=failing(error)))).chat()
    assert answered.status == status
    assert answered.error.get("code") == code


async def test_no_answer_and_no_reason_is_a_502() -> None:
    async def nothing(
        request: Request, ask: Ask, sink: Sink, gone: asyncio.Future[None]
    ) -> FakeOutcome:
        return FakeOutcome(record=fake_record(ask, None))

    answered = await Client(App(FakeRuntime(script=nothing))).chat()
    assert answered.status == 502


async def test_completions_and_embeddings_have_their_dialects() -> None:
    runtime = FakeRuntime()
    app = App(runtime)
    raw = json.dumps({"model": "auto", "prompt": "x"}).encode()
    assert (await Client(app).request("POST", "/v1/completions", raw)).status == 200
    raw = json.dumps({"model": "auto", "input": "x"}).encode()
    assert (await Client(app).request("POST", "/v1/embeddings", raw)).status == 200
    assert [request.dialect for request, _ in runtime.asked] == ["completions", "embeddings"]
    assert [ask.needs for _, ask in runtime.asked] == [("completions",), ("embeddings",)]


BAD = {
    "empty": b"",
    "not JSON": b"hello",
    "truncated": b'{"model":"auto","messages":[{"role":',
    "an array": b"[]",
    "a number": b"1",
    "null": b"null",
    "bad UTF-8": b'{"model":"auto","messages":[{"role":"user","content":"\xff"}]}',
    "bad UTF-8 where nobody looks": b'{"model":"auto","messages":[{"role":"user","content":"x"}],'
    b'"metadata":"\xff"}',
    "NaN": b'{"model":"auto","messages":[{"role":"user","content":"x"}],"temperature":NaN}',
    "deep": b'{"model":"auto","messages":[{"role":"user","content":"x"}],"x":'
    + b"[" * 20_000
    + b"]" * 20_000
    + b"}",
    "no model": b'{"messages":[{"role":"user","content":"x"}]}',
    "no messages": b'{"model":"auto"}',
    "empty messages": b'{"model":"auto","messages":[]}',
    "messages of text": b'{"model":"auto","messages":"x"}',
    "unknown role": b'{"model":"auto","messages":[{"role":"king","content":"x"}]}',
    "number as content": b'{"model":"auto","messages":[{"role":"user","content":1}]}',
    "text as n": b'{"model":"auto","messages":[{"role":"user","content":"x"}],"n":"1"}',
    "n of zero": b'{"model":"auto","messages":[{"role":"user","content":"x"}],"n":0}',
    "text as stream": b'{"model":"auto","messages":[{"role":"user","content":"x"}],"stream":"yes"}',
    "trailing": b'{"model":"auto","messages":[{"role":"user","content":"x"}]} x',
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_body_is_400_with_an_envelope_and_no_call(name: str) -> None:
    runtime = FakeRuntime()
    answered = await Client(App(runtime)).request("POST", CHAT, BAD[name])
    assert answered.status == 400, answered.body
    assert answered.error["type"] == "invalid_request_error"
    assert answered.error["message"]
    assert runtime.asked == []


async def test_an_unknown_model_is_404_and_a_bad_header_400() -> None:
    runtime = FakeRuntime()
    app = App(runtime)
    answered = await Client(app).chat(model="gpt-9")
    assert (answered.status, answered.error["code"]) == (404, "model_not_found")
    answered = await Client(app).chat(headers={"metabolic-preference": "9"})
    assert (answered.status, answered.error["param"]) == (400, "metabolic-preference")
    assert runtime.asked == []


async def test_a_client_that_leaves_resolves_gone_and_gets_nothing() -> None:
    seen: list[str] = []

    async def slow(
        request: Request, ask: Ask, sink: Sink, gone: asyncio.Future[None]
    ) -> FakeOutcome:
        seen.append("asked")
        one.leave()
        await gone
        seen.append("gone")
        return FakeOutcome(record=fake_record(ask, None))

    app = App(FakeRuntime(script=slow))
    for stream in (False, True):
        one = Client(app)
        answered = await one.chat(stream=stream)
        assert answered.status == 0
    assert seen == ["asked", "gone"] * 2
    assert 'status="499"' in app.inference.metrics.render().decode()
    assert app.inference.in_flight == 0


async def test_keep_alives_come_while_the_answer_is_held() -> None:
    config = Config(server=ServerTable(keep_alive_s=0.01))

    async def held(
        request: Request, ask: Ask, sink: Sink, gone: asyncio.Future[None]
    ) -> FakeOutcome:
        await one.sent.wait()
        for event in events("late"):
            await sink.write(event)
        return await saying("")(request, ask, NoSink(), gone)

    one = Client(App(FakeRuntime(config, held)))
    answered = await one.chat(stream=True)
    assert answered.pieces[0] == b": keep-alive\n\n"
    assert data(answered)[-1] == "[DONE]"
    assert data(answered)[0]["choices"][0]["delta"]["content"] == "late"


async def test_an_error_after_a_keep_alive_is_in_band() -> None:
    config = Config(server=ServerTable(keep_alive_s=0.01))

    async def held(
        request: Request, ask: Ask, sink: Sink, gone: asyncio.Future[None]
    ) -> FakeOutcome:
        await one.sent.wait()
        return FakeOutcome(record=fake_record(ask, None), error=TimedOut("too long"))

    one = Client(App(FakeRuntime(config, held)))
    answered = await one.chat(stream=True)
    assert answered.status == 200
    assert data(answered)[-1]["error"]["code"] == "upstream_timeout"


async def test_above_the_limit_requests_are_refused_and_told_when_to_come_back() -> None:
    config = Config(server=ServerTable(max_in_flight=1))
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(
        request: Request, ask: Ask, sink: Sink, gone: asyncio.Future[None]
    ) -> FakeOutcome:
        begun.set()
        await go_on.wait()
        return await saying("x")(request, ask, sink, gone)

    app = App(FakeRuntime(config, slow))
    first = asyncio.create_task(Client(app).chat())
    await begun.wait()
    refused = await Client(app).chat()
    go_on.set()
    assert (refused.status, refused.error["code"]) == (503, "gateway_busy")
    assert refused.headers["retry-after"] == "1"
    assert (await first).status == 200
    assert (await Client(app).chat()).status == 200
