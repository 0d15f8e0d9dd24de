"""The fakes of engines: their pages under the engines' own names, and the model behind them."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import pytest

from metabolic.backends.traits import NAMES, find
from metabolic.testing.enginesim import EngineSim
from metabolic.testing.fakeengines import FakeEngine
from metabolic.testing.fakepages import page

pytestmark = pytest.mark.anyio


class Steps:
    """A clock that jumps: each sleep waits only for its turn."""

    def __init__(self) -> None:
        self.at_s = 0.0

    async def sleep(self, seconds: float) -> None:
        self.at_s += seconds
        await asyncio.sleep(0)


async def drain(answer: AsyncIterator[None]) -> int:
    count = 0
    async for _ in answer:
        count += 1
        await asyncio.sleep(0)
    return count


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vllm", "vllm:kv_cache_usage_perc{"),
        ("vllm", "vllm:num_requests_waiting{"),
        ("vllm", "vllm:spec_decode_num_accepted_tokens_per_pos_total{"),
        ("sglang", "sglang:token_usage{"),
        ("sglang", "sglang:num_queue_reqs{"),
        ("llamacpp", "llamacpp:requests_processing "),
        ("llamacpp", "llamacpp:spec_decode_num_draft_tokens_total "),
        ("tgi", "tgi_queue_size "),
        ("tensorrt-llm", "trtllm_time_to_first_token_seconds_sum{"),
    ],
)
def test_metrics_are_called_as_the_engine_calls_them(name: str, expected: str) -> None:
    traits = find(name)
    assert traits.metrics_path is not None
    text = page(traits, EngineSim(), path=traits.metrics_path, model="m") or b""
    assert any(line.startswith(expected) for line in text.decode().splitlines())


def test_llamacpp_tells_no_share_of_its_cache_but_its_slots() -> None:
    found = find("llamacpp")
    assert found.metrics.kv_used_ratio is None
    sim = EngineSim(slots=2, kv_tokens=1000)
    slots = json.loads(page(found, sim, path="/slots", model="m") or b"")
    assert [(one["n_ctx"], one["n_past"], one["is_processing"]) for one in slots] == [
        (500, 0, False),
        (500, 0, False),
    ]


@pytest.mark.parametrize("name", NAMES)
def test_every_state_page_an_engine_names_is_there(name: str) -> None:
    traits = find(name)
    for path in (traits.metrics_path, traits.state_path):
        if path is not None:
            assert page(traits, EngineSim(), path=path.partition("?")[0], model="m")
    assert page(traits, EngineSim(), path="/nowhere", model="m") is None


async def test_a_prefix_that_came_before_is_a_hit_in_whole_blocks() -> None:
    sim = EngineSim()
    prompt = " ".join(f"w{n}" for n in range(40))
    await drain(sim.run(prompt, 2))
    assert (sim.prefix_queries, sim.prefix_hits) == (40, 0)
    await drain(sim.run(prompt + " more", 2))
    assert (sim.prefix_queries, sim.prefix_hits) == (81, 32)


async def test_more_than_the_slots_wait_and_nothing_is_left_behind() -> None:
    sim = EngineSim(slots=2, decode_tokens_per_s=10.0, clock=Steps())
    tasks = [asyncio.create_task(drain(sim.run("a b", 5))) for _ in range(5)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (sim.running, sim.waiting) == (2, 3)
    assert await asyncio.gather(*tasks) == [5] * 5
    assert (sim.running, sim.waiting, sim.kv_used, sim.output_tokens) == (0, 0, 0, 25)


async def test_a_full_cache_preempts_the_youngest_and_all_are_answered() -> None:
    sim = EngineSim(slots=4, kv_tokens=20, decode_tokens_per_s=10.0, clock=Steps())
    tasks = [asyncio.create_task(drain(sim.run("a b c", 8))) for _ in range(4)]
    assert await asyncio.gather(*tasks) == [8] * 4
    assert sim.preemptions > 0
    assert (sim.running, sim.kv_used) == (0, 0)


async def test_time_passes_at_the_rates_and_slower_in_company() -> None:
    clock = Steps()
    sim = EngineSim(prefill_tokens_per_s=100.0, decode_tokens_per_s=10.0, clock=clock)
    await drain(sim.run("a " * 50, 10))
    assert clock.at_s == pytest.approx(0.5 + 1.0)


async def test_drafts_that_are_kept_save_steps() -> None:
    sim = EngineSim(draft_tokens=4, acceptance=0.5)
    assert await drain(sim.run("a", 9)) == 9
    assert (sim.steps, sim.drafts, sim.drafted, sim.accepted) == (3, 3, 12, 6)


async def test_whoever_leaves_gives_the_room_back() -> None:
    sim = EngineSim(decode_tokens_per_s=10.0, clock=Steps())
    async with contextlib.aclosing(sim.run("a b c", 50)) as answer:
        await anext(answer)
        assert (sim.running, sim.kv_used) == (1, 4)
    assert (sim.running, sim.kv_used) == (0, 0)


async def test_a_fake_listens_with_its_page() -> None:
    async with FakeEngine("vllm") as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        text = await reader.readuntil(b"vllm:num_requests_running")
        assert text.startswith(b"HTTP/1.1 200")
        writer.close()
