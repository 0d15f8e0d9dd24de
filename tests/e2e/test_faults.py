"""What the gateway promises when an upstream breaks or a client leaves."""

import json
import socket
import time
from typing import Any

import openai
import pytest

from metabolic.testing.fakeanswers import TEXT
from metabolic.testing.fakeserver import FakeServer
from metabolic.testing.gateway import Running

HI: list[Any] = [{"role": "user", "content": "Hi there"}]
LIMIT_S = 0.1
"""A client that leaves cancels the upstream within this."""


def send(
    gateway: Running, body: bytes, *, head: str = "", path: str = "/v1/chat/completions"
) -> socket.socket:
    """Send a request over a socket of its own."""
    line = socket.create_connection(("127.0.0.1", gateway.port), timeout=10)
    length = "" if "transfer-encoding" in head else f"content-length: {len(body)}\r\n"
    text = f"POST {path} HTTP/1.1\r\nhost: x\r\n{head}{length}\r\n"
    line.sendall(text.encode() + body)
    return line


def chat(model: str, **more: object) -> bytes:
    """Return a chat request."""
    return json.dumps({"model": model, "messages": HI, **more}).encode()


def answer(line: socket.socket) -> tuple[int, bytes]:
    """Return status and body of an answer, and close the connection."""
    with line:
        return _read(line)


def _read(line: socket.socket) -> tuple[int, bytes]:
    """Read until the connection closes or the answer is whole."""
    got = b""
    while True:
        head, end, body = got.partition(b"\r\n\r\n")
        if end:
            lengths = [
                int(field.split(b":")[1])
                for field in head.lower().split(b"\r\n")
                if field.startswith(b"content-length")
            ]
            if (lengths and len(body) >= lengths[0]) or body.endswith(b"0\r\n\r\n"):
                return int(head.split()[1]), body
        piece = line.recv(65536)
        if not piece:
            return int(head.split()[1]) if head else 0, body
        got += piece


def wait(condition: Any, *, limit_s: float = 10.0) -> None:
    """Wait until a condition in another thread holds."""
    end_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end_s, "waited in vain"
        time.sleep(0.001)


@pytest.mark.parametrize("delivery", ["stream", "hold"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_cancels_the_upstream_within_100_ms(
    gateway: Running, upstream: FakeServer, delivery: str, *, stream: bool
) -> None:
    for _ in range(5):
        seen, gone = len(upstream.seen), len(upstream.gone)
        head = f"metabolic-delivery: {delivery}\r\n"
        line = send(gateway, chat("slow", stream=stream), head=head)
        if stream and delivery == "stream":
            assert line.recv(100)
        else:
            wait(lambda seen=seen: len(upstream.seen) > seen)
        left_s = time.monotonic()
        line.close()
        wait(lambda gone=gone: len(upstream.gone) > gone)
        assert upstream.gone[-1].at_s - left_s <= LIMIT_S


def test_a_client_that_leaves_before_its_request_is_whole_costs_nothing(
    gateway: Running, upstream: FakeServer
) -> None:
    seen = len(upstream.seen)
    line = socket.create_connection(("127.0.0.1", gateway.port))
    line.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n{")
    line.close()
    with openai.OpenAI(base_url=gateway.base_url, api_key="x") as client:
        client.chat.completions.create(model="good", messages=HI)
    assert len(upstream.seen) == seen + 1


def test_an_upstream_that_dies_mid_stream_is_an_error_event_without_done(
    faulty: Running,
) -> None:
    line = send(faulty, chat("cut", stream=True), head="metabolic-delivery: stream\r\n")
    status, body = answer(line)
    assert status == 200
    assert b"word01" in body
    assert b'data: {"error":' in body
    assert b"[DONE]" not in body
    assert body.endswith(b"0\r\n\r\n")


def test_the_official_client_raises_when_a_stream_breaks(faulty_client: openai.OpenAI) -> None:
    stream = faulty_client.chat.completions.create(
        model="cut-too", messages=HI, stream=True, extra_headers={"metabolic-delivery": "stream"}
    )
    with pytest.raises(openai.APIError):
        list(stream)


def test_a_held_stream_that_breaks_is_a_real_status(faulty: Running) -> None:
    line = send(faulty, chat("cut-held", stream=True), head="metabolic-delivery: hold\r\n")
    status, body = answer(line)
    assert status == 502
    assert json.loads(body)["error"]["code"].startswith("upstream")


def test_two_answers_are_never_concatenated(faulty_client: openai.OpenAI) -> None:
    answer = faulty_client.chat.completions.create(model="shaky", messages=HI, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in answer) == TEXT


def test_a_deadline_ends_what_stalls(faulty_client: openai.OpenAI) -> None:
    began_s = time.monotonic()
    with pytest.raises(openai.InternalServerError) as caught:
        faulty_client.chat.completions.create(
            model="stalled", messages=HI, extra_headers={"metabolic-deadline": "0.2"}
        )
    assert caught.value.status_code == 504
    assert time.monotonic() - began_s < 2


def test_a_slow_client_slows_the_upstream_down(faulty: Running, upstream: FakeServer) -> None:
    before = upstream.sent_bytes
    line = send(faulty, chat("flooding", stream=True), head="metabolic-delivery: stream\r\n")
    assert line.recv(10)
    last, at_s = -1, time.monotonic()
    while last != upstream.sent_bytes and time.monotonic() - at_s < 10:
        last = upstream.sent_bytes
        time.sleep(0.2)
    assert upstream.sent_bytes - before < 32 << 20
    line.close()


BAD = {
    "not JSON": b"hello",
    "bad UTF-8": b'{"model":"good","messages":[{"role":"user","content":"\xff"}]}',
    "deep": b'{"model":"good","messages":[{"role":"user","content":"x"}],"x":'
    + b"[" * 20_000
    + b"]" * 20_000
    + b"}",
    "an array": b"[1]",
    "wrong types": b'{"model":"good","messages":{"role":"user"}}',
    "no messages": b'{"model":"good"}',
    "NaN": b'{"model":"good","messages":[{"role":"user","content":"x"}],"temperature":NaN}',
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_body_is_400_and_never_reaches_the_upstream(
    gateway: Running, upstream: FakeServer, name: str
) -> None:
    seen = len(upstream.seen)
    status, body = answer(send(gateway, BAD[name]))
    assert status == 400
    assert json.loads(body)["error"]["type"] == "invalid_request_error"
    assert len(upstream.seen) == seen


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_413_even_while_it_is_being_sent(
    gateway: Running, upstream: FakeServer, *, chunked: bool
) -> None:
    seen = len(upstream.seen)
    large = b" " * (17 << 20)
    if chunked:
        large = (
            b"".join(b"100000\r\n" + b" " * (1 << 20) + b"\r\n" for _ in range(17)) + b"0\r\n\r\n"
        )
    head = "transfer-encoding: chunked\r\n" if chunked else ""
    status, body = answer(send(gateway, large, head=head))
    assert status == 413
    assert json.loads(body)["error"]["code"] == "request_too_large"
    assert len(upstream.seen) == seen


@pytest.mark.parametrize(
    "raw",
    [
        b"NONSENSE\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        (
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n"
            b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
)
def test_what_is_not_http_is_refused_and_the_gateway_lives(gateway: Running, raw: bytes) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=5) as line:
        line.sendall(raw)
        got = line.recv(100)
    assert got == b"" or b" 400 " in got
    with openai.OpenAI(base_url=gateway.base_url, api_key="x") as client:
        assert client.chat.completions.create(model="good", messages=HI).choices


def test_every_bad_input_left_no_request_in_flight(gateway: Running, faulty: Running) -> None:
    for running in (gateway, faulty):
        wait(lambda running=running: running.server.app.inference.in_flight == 0)
