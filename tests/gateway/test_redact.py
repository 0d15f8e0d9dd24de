"""No secret leaves as text: not in errors, not in logs, not in metrics."""

import asyncio
import hashlib
import io
import logging

import pytest

from metabolic.config import Config, KeyTable, parse
from metabolic.core.errors import Refused, Unreachable
from metabolic.core.ports import Sink
from metabolic.core.request import Ask, Request
from metabolic.gateway.app import App
from metabolic.gateway.log import RedactingFormatter
from metabolic.gateway.redact import MASK, Redactor, secrets_of
from metabolic.testing.asgi import Client
from metabolic.testing.runtime import FakeOutcome, FakeRuntime, events, failing, streaming

CANARY = "canary-9f3b2c71d0e84a56"
CONFIG = parse(
    '[models]\nfleet = "none"\n[[deployment]]\nname = "small"\n'
    'base_url = "https://api.example/v1"\napi_key = "env:UPSTREAM"\n',
    source="test.toml",
    environ={"UPSTREAM": CANARY},
)


def test_secrets_of_the_configuration_are_found() -> None:
    assert secrets_of(CONFIG) == (CANARY,)
    assert CANARY not in repr(CONFIG)


@pytest.mark.parametrize(
    "text",
    [
        f"key {CANARY} refused",
        f'{{"authorization":"Bearer {CANARY}"}}',
        f"https://api.example/v1?api_key={CANARY}&x=1",
        f"https://user:{CANARY}@api.example/v1",
        CANARY * 2,
    ],
)
def test_a_known_secret_is_masked_wherever_it_stands(text: str) -> None:
    assert CANARY not in Redactor((CANARY,))(text)
    assert MASK in Redactor((CANARY,))(text)


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: sk-proj-abcdefgh12345678",
        "Authorization: Bearer abc.def.ghi",
        "authorization: bearer s3cr3t",
        "GET /v1/x?key=AIzaSyabcdefgh",
        "AIzaSyabcdefghijklmnopqrstuvwxyz",
        "hf_abcdefghijkl",
        "https://me:pass@host/v1",
    ],
)
def test_what_looks_like_a_secret_is_masked_too(text: str) -> None:
    assert MASK in Redactor()(text)


@pytest.mark.parametrize("text", ["the task is done", "a bearer of news", "monkey business", "key"])
def test_ordinary_words_are_left_alone(text: str) -> None:
    assert Redactor()(text).replace(MASK, "of") == text or Redactor()(text) == text


@pytest.mark.anyio
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429])
async def test_an_upstream_that_repeats_our_key_does_not_reach_the_client(
    *, stream: bool, status: int
) -> None:
    body = b'{"error":{"message":"Incorrect key: %s","type":"x"}}' % CANARY.encode()
    error = Refused(f"refused: {CANARY}", status=status, body=body)
    answered = await Client(App(FakeRuntime(CONFIG, failing(error)))).chat(stream=stream)
    assert answered.status >= 400
    assert CANARY.encode() not in answered.body


@pytest.mark.anyio
async def test_nor_inside_a_stream() -> None:
    script = streaming([events("x")[0]], error=Unreachable(f"https://h/?key={CANARY} broke"))
    answered = await Client(App(FakeRuntime(CONFIG, script))).chat(stream=True)
    assert CANARY.encode() not in answered.body


@pytest.mark.anyio
async def test_a_clients_key_is_in_no_answer_no_log_and_no_metric() -> None:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(RedactingFormatter(Redactor(secrets_of(CONFIG))))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    config = Config(keys=(KeyTable(name="k", sha256=hashlib.sha256(CANARY.encode()).hexdigest()),))

    async def broken(
        request: Request, ask: Ask, sink: Sink, gone: asyncio.Future[None]
    ) -> FakeOutcome:
        msg = f"cannot reach https://x?api_key={CANARY}"
        raise RuntimeError(msg)

    try:
        for script in (None, broken):
            app = App(FakeRuntime(config, script))
            for key in (CANARY, CANARY[:-1] + "x"):
                answered = await Client(app).chat(headers={"authorization": f"Bearer {key}"})
                assert key.encode() not in answered.body
                assert key not in str(answered.headers)
            assert CANARY not in app.inference.metrics.render().decode()
    finally:
        root.removeHandler(handler)
        root.setLevel(logging.WARNING)
    assert "request failed" in out.getvalue()
    assert CANARY not in out.getvalue()


def test_a_log_line_has_its_fields_and_no_secret() -> None:
    formatter = RedactingFormatter(Redactor((CANARY,)))
    record = logging.LogRecord("metabolic", logging.INFO, "f", 1, "request", (), None)
    record.id, record.chosen, record.note = "mr-1", None, CANARY
    line = formatter.format(record)
    assert "id=mr-1" in line
    assert "chosen=None" in line
    assert CANARY not in line
