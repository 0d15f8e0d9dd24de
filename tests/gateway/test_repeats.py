"""A request that is sent again with the same Idempotency-Key."""

import asyncio
import hashlib

import pytest

from metabolic.config import parse
from metabolic.core.errors import MetabolicError, Unreachable
from metabolic.core.request import Ask, Request
from metabolic.gateway.app import App
from metabolic.gateway.repeats import Repeats
from metabolic.testing.asgi import Client
from metabolic.testing.runtime import (
    FakeOutcome,
    FakeRuntime,
    Script,
    failing,
    fake_record,
    saying,
    streaming,
)

pytestmark = pytest.mark.anyio

KEY = {"idempotency-key": "k-1"}


async def ask(app: App, headers: dict[str, str] | None = None, **body: object):
    return await Client(app).chat(headers=KEY if headers is None else headers, **body)


@pytest.mark.parametrize("stream", [False, True])
async def test_the_second_gets_the_bytes_of_the_first_and_nobody_is_asked_again(stream) -> None:
    runtime = FakeRuntime()
    app = App(runtime)
    first, second = await ask(app, stream=stream), await ask(app, stream=stream)
    assert len(runtime.asked) == 1
    assert (second.status, second.body, second.whole) == (200, first.body, True)
    assert second.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert second.headers["x-request-id"] == first.headers["x-request-id"]


async def test_without_a_key_every_request_is_answered() -> None:
    runtime = FakeRuntime()
    app = App(runtime)
    await ask(app, {})
    await ask(app, {})
    assert len(runtime.asked) == 2


async def test_a_key_with_another_request_is_422_and_nothing_is_lost() -> None:
    runtime = FakeRuntime()
    app = App(runtime)
    await ask(app)
    other = await ask(app, temperature=0.5)
    assert (other.status, other.error["code"]) == (422, "idempotency_key_reused")
    assert (await ask(app)).status == 200
    assert len(runtime.asked) == 1


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_what_is_no_key_is_400(key: str) -> None:
    answered = await ask(App(FakeRuntime()), {"idempotency-key": key})
    assert (answered.status, answered.error["code"]) == (400, "invalid_idempotency_key")


@pytest.mark.parametrize("error", [Unreachable("gone"), MetabolicError("odd")])
async def test_a_failure_is_tried_anew(error: MetabolicError) -> None:
    runtime = FakeRuntime(script=failing(error))
    app = App(runtime)
    assert (await ask(app)).status >= 500
    runtime.script = saying("Better.")
    answered = await ask(app)
    assert (answered.status, "idempotent-replayed" in answered.headers) == (200, False)
    assert len(runtime.asked) == 2


async def test_a_stream_that_broke_off_is_tried_anew() -> None:
    event = b'data: {"choices":[{"index":0,"delta":{"content":"Hel"},"finish_reason":null}]}\n\n'
    runtime = FakeRuntime(script=streaming([event], error=Unreachable("gone")))
    app = App(runtime)
    assert b'data: {"error"' in (await ask(app, stream=True)).body
    runtime.script = saying("Better.")
    assert b"Better." in (await ask(app, stream=True)).body


def gate(opened: asyncio.Event, came: asyncio.Event, inner: Script) -> Script:
    async def script(request: Request, ask: Ask, sink, gone: asyncio.Future[None]) -> FakeOutcome:
        came.set()
        await asyncio.wait(
            {gone, opening := asyncio.ensure_future(opened.wait())},
            return_when=asyncio.FIRST_COMPLETED,
        )
        opening.cancel()
        if gone.done():
            return FakeOutcome(record=fake_record(ask, None))
        return await inner(request, ask, sink, gone)

    return script


async def test_a_repeat_waits_for_the_first_that_is_under_way() -> None:
    opened, came = asyncio.Event(), asyncio.Event()
    runtime = FakeRuntime(script=gate(opened, came, saying("Once.")))
    app = App(runtime)
    first = asyncio.create_task(ask(app))
    await came.wait()
    others = [asyncio.create_task(ask(app)) for _ in range(3)]
    await asyncio.sleep(0)
    opened.set()
    bodies = {one.body for one in [await first, *[await other for other in others]]}
    assert (len(bodies), len(runtime.asked)) == (1, 1)


async def test_when_the_first_client_leaves_a_waiting_repeat_is_answered_instead() -> None:
    opened, came = asyncio.Event(), asyncio.Event()
    runtime = FakeRuntime(script=gate(opened, came, saying("Once.")))
    app = App(runtime)
    one = Client(app)
    first = asyncio.create_task(one.chat(headers=KEY))
    await came.wait()
    second = asyncio.create_task(ask(app))
    await asyncio.sleep(0)
    opened_later = saying("Then.")
    runtime.script = opened_later
    one.leave()
    assert (await first).status == 0
    answered = await second
    assert (answered.status, b"Then." in answered.body) == (200, True)


async def test_keys_belong_to_tenants() -> None:
    table = "".join(
        f'[[key]]\nname = "{name}"\nsha256 = "{hashlib.sha256(name.encode()).hexdigest()}"\n'
        for name in ("ann", "bob")
    )
    runtime = FakeRuntime(config=parse(table, source="t"))
    app = App(runtime)
    for name in ("ann", "bob"):
        answered = await ask(app, {**KEY, "authorization": f"Bearer {name}"})
        assert (answered.status, "idempotent-replayed" in answered.headers) == (200, False)
    assert len(runtime.asked) == 2


async def test_answers_are_kept_so_long_and_so_many() -> None:
    runtime = FakeRuntime()
    app = App(runtime)
    now = [0.0]
    app.inference.repeats = Repeats(10.0, clock=lambda: now[0])
    await ask(app)
    now[0] = 9.9
    await ask(app)
    assert len(runtime.asked) == 1
    now[0] = 10.0
    await ask(app)
    assert len(runtime.asked) == 2
    app.inference.repeats = Repeats(10.0, clock=lambda: now[0], most=1)
    await ask(app)
    await ask(app)
    assert len(runtime.asked) == 4, "no room, nothing kept"


async def test_zero_seconds_switch_it_off() -> None:
    runtime = FakeRuntime(config=parse("[server]\nidempotency_s = 0\n", source="t"))
    app = App(runtime)
    await ask(app)
    await ask(app)
    assert len(runtime.asked) == 2
