"""Shadow mode over real sockets: untouched both ways, and whatever breaks behind it."""

import asyncio
import contextlib
import http.client
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest

from metabolic.core.shadow import ShadowRow
from metabolic.testing.fakeserver import FakeServer, serve_in_thread
from metabolic.testing.gateway import Running, config_for, gateway_in_thread

HI: list[Any] = [{"role": "user", "content": "Is 17 prime? Yes or no."}]
PRICES = """
[[deployment]]
name = "big"
base_url = "{big}"
upstream_model = "say:Yes"
tier = "large"
capabilities = ["chat", "completions", "tools", "json", "logprobs"]
input_usd_per_million_tokens = 10.0
output_usd_per_million_tokens = 40.0
[[deployment]]
name = "small"
base_url = "{small}"
upstream_model = "{model}"
tier = "tiny"
capabilities = ["chat", "completions", "tools", "json", "logprobs"]
input_usd_per_million_tokens = 0.1
output_usd_per_million_tokens = 0.4
[[belief]]
deployment = "small"
p_correct = 0.85
p_accept = 0.9
p_correct_accepted = 0.97
evidence = 1000
[[belief]]
deployment = "big"
p_correct = 0.86
evidence = 1000
"""


def config(
    big: str, small: str, folder: Path, *, model: str = "say:Yes", shadow: str = "", more: str = ""
) -> str:
    text = config_for({}, ledger="memory").replace(
        'kind = "memory"', f'kind = "jsonl"\npath = "{folder}/ledger.jsonl"'
    )
    upstream = "" if "upstream" in shadow else 'upstream = "big"\n'
    return (
        text
        + f"[shadow]\nsample_ratio = 1.0\n{upstream}{shadow}\n"
        + PRICES.format(big=big, small=small, model=model)
        + more
    )


class Got(msgspec.Struct, frozen=True):
    """An answer as it came."""

    status: int
    body: bytes
    retry_after: str | None


def ask(
    port: int,
    body: bytes | str = b"",
    *,
    path: str = "/v1/chat/completions",
    headers: dict[str, str] | None = None,
) -> Got:
    """Ask, and return the answer read; ``IncompleteRead`` where it broke off."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as line:
        line.request("POST" if body else "GET", path, body or None, headers or {})
        answer = line.getresponse()
        return Got(answer.status, answer.read(), answer.getheader("retry-after"))


def client_of(running: Running, key: str = "k") -> openai.OpenAI:
    """Return the official client, unmodified."""
    return openai.OpenAI(base_url=running.base_url, api_key=key, max_retries=0)


def rows(folder: Path) -> list[ShadowRow]:
    path = folder / "ledger.shadow.jsonl"
    if not path.exists():
        return []
    return [msgspec.json.decode(line, type=ShadowRow) for line in path.read_bytes().splitlines()]


def settle(running: Running) -> None:
    """Wait until no look is under way."""
    runtime: Any = running.server.app.runtime
    loop = running.server.servers[0].get_loop()
    asyncio.run_coroutine_threadsafe(runtime.settled(), loop).result(20)


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeServer]:
    with serve_in_thread() as server:
        yield server


@pytest.fixture(scope="module")
def small() -> Iterator[FakeServer]:
    with serve_in_thread() as server:
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shadow")


@pytest.fixture(scope="module")
def gateway(upstream: FakeServer, small: FakeServer, folder: Path) -> Iterator[Running]:
    with gateway_in_thread(config(upstream.base_url, small.base_url, folder)) as running:
        yield running


@pytest.fixture
def client(gateway: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=gateway.base_url, api_key="the-client's", max_retries=0) as made:
        yield made


def test_the_official_client_gets_the_upstream_s_answer_and_the_shadow_looks(
    client: openai.OpenAI, gateway: Running, upstream: FakeServer, small: FakeServer, folder: Path
) -> None:
    before = len(rows(folder))
    raw = client.chat.completions.with_raw_response.create(model="say:Yes", messages=HI)
    assert raw.parse().choices[0].message.content == "Yes"
    settle(gateway)
    row = rows(folder)[before]
    assert row.id == raw.headers["metabolic-decision"]
    assert (row.deployment, row.reference, row.served) == ("small", "big", True)
    assert (row.loss, row.labeller, row.propensity) == (0.0, "exact_match", 1.0)
    assert row.base_usd is not None
    assert row.routed_usd is not None
    assert row.routed_usd < row.base_usd / 50
    assert upstream.seen[-1].header("authorization") == "Bearer the-client's"
    assert small.seen[-1].header("authorization") != "Bearer the-client's"


def test_body_and_headers_go_on_byte_for_byte(gateway: Running, upstream: FakeServer) -> None:
    body = b'{ "model":"fake", "messages":[{"role":"user","content":"na\\u00efve"}], "x" : 1.0 }'
    headers = {
        "content-type": "application/json; charset=utf-8",
        "authorization": "Bearer k",
        "openai-organization": "org",
        "x-own": "kept",
        "connection": "x-hop, keep-alive",
        "x-hop": "dropped",
        "metabolic-session": "ours",
    }
    assert ask(gateway.port, body, headers=headers).status == 200
    seen = upstream.seen[-1]
    assert seen.body == body
    names = {name for name, _ in seen.headers}
    assert {"content-type", "authorization", "openai-organization", "x-own"} <= names
    assert seen.header("content-type") == "application/json; charset=utf-8"
    assert not names & {"x-hop", "metabolic-session"}


def test_a_stream_comes_back_byte_for_byte(gateway: Running, upstream: FakeServer) -> None:
    body = json.dumps({"model": "fake", "messages": HI, "stream": True})
    bodies = [ask(port, body).body for port in (upstream.port, gateway.port)]
    assert b"[DONE]" in bodies[0]
    assert bodies[1] == bodies[0]


def test_a_stream_s_answer_is_looked_at_too(
    client: openai.OpenAI, gateway: Running, folder: Path
) -> None:
    before = len(rows(folder))
    parts = list(client.chat.completions.create(model="say:Yes", messages=HI, stream=True))
    assert "".join(part.choices[0].delta.content or "" for part in parts if part.choices) == "Yes"
    settle(gateway)
    row = rows(folder)[before]
    assert (row.loss, row.output_tokens) == (0.0, 1)


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
def test_an_upstream_s_error_comes_back_as_it_is(
    gateway: Running, upstream: FakeServer, folder: Path, status: int
) -> None:
    before = len(rows(folder))
    body = json.dumps({"model": f"fault:{status}", "messages": HI})
    answers = [ask(upstream.port, body), ask(gateway.port, body)]
    assert answers[1] == answers[0]
    assert answers[0].status == status
    settle(gateway)
    assert len(rows(folder)) == before


def test_other_paths_go_on_as_well(
    client: openai.OpenAI, gateway: Running, upstream: FakeServer
) -> None:
    assert [one.id for one in client.models.list()] == ["fake"]
    assert ask(gateway.port, path="/v1/files?limit=2&after=a%20b").status == 404
    assert upstream.seen[-1].path == "/v1/files?limit=2&after=a%20b"


def test_an_upstream_that_breaks_off_breaks_off_here(gateway: Running) -> None:
    body = json.dumps({"model": "fault:cut5", "messages": HI, "stream": True})
    with pytest.raises(http.client.IncompleteRead) as broke:
        ask(gateway.port, body)
    assert b"[DONE]" not in broke.value.partial


def test_an_upstream_that_is_gone_is_a_502(small: FakeServer, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(
            gateway_in_thread(config("http://127.0.0.1:9/v1", small.base_url, tmp_path))
        )
        made = stack.enter_context(client_of(running, "k"))
        with pytest.raises(openai.InternalServerError) as failed:
            made.chat.completions.create(model="big", messages=HI)
    assert failed.value.status_code == 502
    assert failed.value.code == "upstream_unreachable"


def test_a_client_that_leaves_takes_its_upstream_s_call_along(
    gateway: Running, upstream: FakeServer
) -> None:
    gone = len(upstream.gone)
    body = json.dumps({"model": "slow:200", "messages": HI, "stream": True}).encode()
    with socket.create_connection(("127.0.0.1", gateway.port)) as line:
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        line.sendall(head.encode() + body)
        assert line.recv(100)
    end_s = time.monotonic() + 5
    while len(upstream.gone) == gone and time.monotonic() < end_s:
        time.sleep(0.005)
    assert len(upstream.gone) == gone + 1


def test_no_failure_of_ours_fails_a_request(upstream: FakeServer, tmp_path: Path) -> None:
    """The cheaper tier is dead, the classifier breaks, rows cannot be written: nobody notices."""
    text = config(upstream.base_url, "http://127.0.0.1:9/v1", tmp_path)
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(gateway_in_thread(text))
        runtime: Any = running.server.app.runtime
        made = stack.enter_context(client_of(running, "k"))
        for broken in ("none", "classifier", "files"):
            if broken == "classifier":
                runtime._classifier = None
            if broken == "files":
                runtime._files_of_rows.rows = Path("/proc/nowhere/rows")
            answer = made.chat.completions.create(model="say:Yes", messages=HI)
            assert answer.choices[0].message.content == "Yes"
            settle(running)
        counters = dict(runtime.snapshot_counters())
    assert counters["shadow.relayed"] == 3
    assert counters["shadow.failed"] == 2
    assert rows(tmp_path)[0].served is False


def test_a_runtime_that_cannot_start_passes_requests_on(
    upstream: FakeServer, small: FakeServer, tmp_path: Path
) -> None:
    text = config(upstream.base_url, small.base_url, tmp_path)
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr("metabolic.wiring.local.LocalFleet.open", _refuse)
        running = stack.enter_context(gateway_in_thread(text))
        made = stack.enter_context(client_of(running, "k"))
        answer = made.chat.completions.create(model="say:Yes", messages=HI)
        assert answer.choices[0].message.content == "Yes"


def _refuse(_: object) -> None:
    message = "no engines today"
    raise RuntimeError(message)


def test_a_key_of_ours_replaces_the_client_s_and_ours_are_asked_for(
    upstream: FakeServer, small: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPSTREAM_KEY", "ours")
    sha = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
    text = config(
        upstream.base_url,
        small.base_url,
        tmp_path,
        shadow='api_key = "env:UPSTREAM_KEY"',
        more=f'[[key]]\nname = "us"\nsha256 = "{sha}"\n',
    )
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(gateway_in_thread(text))
        stranger = stack.enter_context(client_of(running, "wrong"))
        with pytest.raises(openai.AuthenticationError):
            stranger.chat.completions.create(model="say:Yes", messages=HI)
        made = stack.enter_context(client_of(running, "secret"))
        made.chat.completions.create(model="say:Yes", messages=HI)
    assert upstream.seen[-1].header("authorization") == "Bearer ours"


def test_the_switch_is_one_line(upstream: FakeServer, small: FakeServer, tmp_path: Path) -> None:
    text = config(upstream.base_url, small.base_url, tmp_path, shadow='mode = "route"')
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(gateway_in_thread(text))
        made = stack.enter_context(client_of(running, "k"))
        for name in ("say:Yes", "big", "whatever-else"):
            raw = made.chat.completions.with_raw_response.create(model=name, messages=HI)
            assert raw.headers["metabolic-deployment"] == "small"
            assert raw.parse().choices[0].message.content == "Yes"


def test_feedback_on_an_answer_that_was_passed_on_is_kept(
    client: openai.OpenAI, gateway: Running
) -> None:
    raw = client.chat.completions.with_raw_response.create(model="say:Yes", messages=HI)
    settle(gateway)
    given: Any = {"id": raw.headers["metabolic-decision"], "correct": True}
    kept: Any = client.post("/feedback", body=given, cast_to=object)
    assert kept["kept"] is True


def test_messages_and_responses_are_looked_at_in_their_own_words(
    upstream: FakeServer, small: FakeServer, tmp_path: Path
) -> None:
    """The fake upstream knows neither path; what it refuses comes back and is not looked at."""
    with gateway_in_thread(config(upstream.base_url, small.base_url, tmp_path)) as running:
        for path in ("/v1/messages", "/v1/responses"):
            assert ask(running.port, b'{"model": "fake"}', path=path).status == 404
        settle(running)
    assert rows(tmp_path) == []
