"""Gates, paces and the scraper, in a whole runtime."""

import asyncio

import msgspec
import pytest

from metabolic.config import parse
from metabolic.core.errors import Shed
from metabolic.core.request import Ask, Message, Request, Text
from metabolic.wiring.building import build

CONFIG = """
[sense]
enabled = false
[ledger]
kind = "memory"
[capacity]
queue = 0
scrape_period_s = 0
{capacity}
[[deployment]]
name = "a"
kind = "pool"
base_url = "http://127.0.0.1:9/v1"
backend = "fake"
slots = 1
[deployment.options]
token_s = 0.002
{more}
"""
SECOND = """
[[deployment]]
name = "b"
kind = "pool"
base_url = "http://127.0.0.1:9/v1"
backend = "fake"
slots = 1
"""


def request(number, *, stream=False):
    body = msgspec.json.encode({"model": "auto", "messages": [{"role": "user", "content": "hi"}]})
    return Request(
        id=f"r{number}",
        dialect="chat",
        model="auto",
        messages=(Message(role="user", content=(Text(text="hi"),)),),
        body=body,
        stream=stream,
    )


async def answers(count, *, more="", capacity=""):
    runtime = build(parse(CONFIG.format(more=more, capacity=capacity), source="t"))
    loop = asyncio.get_running_loop()
    made = await asyncio.gather(
        *(
            runtime.answer(
                request(n),
                Ask(id=f"r{n}", at_s=0.0, input_tokens=5),
                sink=None,
                gone=loop.create_future(),
            )
            for n in range(count)
        )
    )
    counters = dict(runtime.snapshot_counters())
    await runtime.aclose(drain_s=0.0)
    return runtime, made, counters


def test_a_call_too_many_is_shed_with_a_time_and_held_against_nobody():
    runtime, made, counters = asyncio.run(answers(6))
    shed = [one.error for one in made if one.error is not None]
    assert 0 < len(shed) < 6
    assert {type(error) for error in shed} == {Shed}
    assert counters["admission.a.shed"] >= 2
    assert runtime.loads()[0].healthy is None


def test_what_one_deployment_sheds_a_sibling_takes():
    _, made, counters = asyncio.run(answers(2, more=SECOND))
    assert [one.error for one in made] == [None, None]
    assert {one.record.receipt.answer.deployment for one in made} == {"a", "b"}
    assert counters["admission.a.admitted"] == counters["admission.b.admitted"] == 1


def test_switched_off_everything_comes_in():
    _, made, counters = asyncio.run(answers(5, capacity="enabled = false"))
    assert [one.error for one in made] == [None] * 5
    assert not any(name.startswith("admission.") for name in counters)


def test_answers_teach_the_pace_that_the_next_decision_sees():
    async def play():
        runtime = build(
            parse(CONFIG.format(more="", capacity="").replace("slots = 1", "slots = 8"), source="t")
        )
        loop = asyncio.get_running_loop()
        for n in range(3):
            await runtime.answer(
                request(n),
                Ask(id=f"r{n}", at_s=0.0, input_tokens=5),
                sink=None,
                gone=loop.create_future(),
            )
        runtime._capacity.refresh()
        load = runtime.loads()[0]
        await runtime.aclose(drain_s=0.0)
        return load

    load = asyncio.run(play())
    assert load.tpot_s is not None
    assert load.tpot_s + (load.tpot_per_answer_s or 0.0) == pytest.approx(0.002, rel=3.0)
    assert load.limit is None
