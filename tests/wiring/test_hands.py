"""The gateway wakes engines of others when they are asked, and lets what is not needed sleep."""

import asyncio

import msgspec
import pytest

from metabolic.config import parse
from metabolic.core.errors import ConfigError
from metabolic.core.request import Ask, Message, Request, Text
from metabolic.execute.clock import ManualClock
from metabolic.testing.hands import FakeControl
from metabolic.wiring import build

pytestmark = pytest.mark.anyio

CONFIG = """
[models]
fleet = "none"
[ledger]
kind = "memory"
[sense]
enabled = false
[capacity]
scrape_period_s = 0
probe_period_s = 0
[engines]
idle_sleep_s = 600
"""
SERVER = """
[[deployment]]
name = "{name}"
kind = "server"
base_url = "{url}"
upstream_model = "m"
backend = "fake"
[deployment.options]
token_s = 0.0
[deployment.sleep]
hand = "vllm"
idle_w = 110
asleep_w = 10
wake_j = 3000
answers_per_s = 5
{more}
[deployment.sleep.options]
timing = {{ poll_s = 0.01 }}
"""


HI = (Message(role="user", content=(Text(text="hi"),)),)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def configured(*urls, more=""):
    servers = (
        SERVER.format(name=name, url=url, more=more) for name, url in zip("ab", urls, strict=False)
    )
    return parse(CONFIG + "".join(servers), source="test")


def states(runtime):
    return {one.deployment: (one.state, one.leaving) for one in runtime.loads()}


async def until(claim):
    async with asyncio.timeout(10):
        while not claim():  # noqa: ASYNC110 - it waits for work in threads
            await asyncio.sleep(0.01)


async def passed(runtime, clock, seconds):
    """Let so much time go by, with looks at every second."""
    for _ in range(int(seconds)):
        await clock.advance(1.0)
        await asyncio.sleep(0)
        runtime._capacity.refresh()


async def answered(runtime, number=1):
    body = msgspec.json.encode({"model": "auto", "messages": [{"role": "user", "content": "hi"}]})
    request = Request(id=f"r{number}", dialect="chat", model="auto", messages=HI, body=body)
    gone = asyncio.get_running_loop().create_future()
    ask = Ask(id=request.id, at_s=0.0, input_tokens=5, max_output_tokens=5)
    return await runtime.answer(request, ask, sink=None, gone=gone)


async def test_a_replica_that_is_not_needed_gets_no_work_sleeps_and_wakes_again():
    async with FakeControl() as one, FakeControl() as two:
        clock = ManualClock()
        runtime = build(configured(one.base_url, two.base_url), clock=clock)
        await runtime.start()
        try:
            await until(lambda: {state for state, _ in states(runtime).values()} == {"warm"})
            await passed(runtime, clock, 3)
            leaving = [name for name, found in states(runtime).items() if found[1]]
            assert len(leaving) == 1
            outcome = await answered(runtime)
            assert outcome.error is None
            assert outcome.record.attempts[0].call.deployment not in leaving
            await passed(runtime, clock, 40)
            await until(lambda: states(runtime)[leaving[0]][0] == "asleep")
            assert one.awake != two.awake
            await passed(runtime, clock, 700)
            assert one.awake != two.awake  # one stays warm
        finally:
            await runtime.aclose(drain_s=0.0)


async def test_one_that_sleeps_is_woken_by_a_request_and_timed():
    async with FakeControl() as control:
        control.awake = False
        runtime = build(configured(control.base_url), clock=ManualClock())
        await runtime.start()
        try:
            await until(lambda: states(runtime)["a"][0] == "asleep")
            outcome = await answered(runtime)
            assert outcome.error is None
            assert control.awake
            assert "POST /wake_up" in control.asked
            runtime._capacity.refresh()
            assert runtime.loads()[0].wake_s is not None
            assert ("engine.a.starts", 1.0) in tuple(runtime.snapshot_counters())
        finally:
            await runtime.aclose(drain_s=0.0)


async def test_a_control_plane_that_refuses_fails_no_start_of_the_gateway():
    async with FakeControl() as control:
        control.sleepless = True
        runtime = build(configured(control.base_url), clock=ManualClock())
        await runtime.start()
        try:
            await until(lambda: states(runtime)["a"][0] == "warm")
            assert (await answered(runtime)).error is None
        finally:
            await runtime.aclose(drain_s=0.0)


async def test_what_waking_took_is_known_after_a_restart(tmp_path):
    text = CONFIG.replace('kind = "memory"', f'kind = "jsonl"\npath = "{tmp_path}/r.jsonl"')
    async with FakeControl() as control:
        control.awake = False
        server = SERVER.format(name="a", url=control.base_url, more="")
        for _ in range(2):
            runtime = build(parse(text + server, source="test"), clock=ManualClock())
            await runtime.start()
            await until(lambda runtime=runtime: states(runtime)["a"][0] in {"asleep", "warm"})
            if not control.awake:
                await answered(runtime)
            runtime._capacity.refresh()
            known = runtime.loads()[0].wake_s
            await runtime.aclose(drain_s=0.0)
            assert known is not None


def test_a_hand_that_does_not_exist_is_refused_with_its_place():
    config = parse(
        CONFIG + SERVER.format(name="a", url="http://x/v1", more="").replace("vllm", "vlm"),
        source="test",
    )
    with pytest.raises(ConfigError, match=r"a sleep: .*vllm"):
        build(config)


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("kind = 'server'\nbase_url = 'http://x'\n[deployment.sleep]\nidle_w = 1", "is missing"),
        ("kind = 'local'\nmodel = 'm'\n[deployment.sleep]\nhand = 'vllm'", "belongs to others"),
        (
            "kind = 'local'\nmodel = 'm'\n[deployment.sleep]\nidle_w = 1\nasleep_w = 2",
            "more than idle_w",
        ),
    ],
)
def test_a_sleep_that_cannot_be_is_refused(table, problem):
    with pytest.raises(ConfigError, match=problem):
        parse(f"[[deployment]]\nname = 'a'\n{table}", source="test")
