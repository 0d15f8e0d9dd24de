"""Memory does not grow with requests, and requests leave no cycles behind."""

import asyncio
import gc
from pathlib import Path

import pytest

from metabolic.bench import load_memory
from metabolic.bench.load import _series
from metabolic.config import parse
from metabolic.wiring.building import build


def test_a_line_is_found_and_one_sample_has_no_slope():
    assert load_memory._slope([(0, 1.0), (10, 3.0), (20, 5.0)]) == pytest.approx(0.2)
    assert load_memory._slope([(10, 3.0)]) == 0.0


def test_once_memories_are_full_no_block_of_the_heap_is_kept_per_request(tmp_path: Path):
    async def blocks() -> list[int]:
        runtime = build(parse(load_memory._CONFIG.format(path=tmp_path / "l"), source="test"))
        await runtime.start()
        found = []
        try:
            for _ in range(4):  # the same sessions again: theirs is a memory of 10,000
                await load_memory._batch(runtime, 0, 1000)
                gc.collect()
                found.append((await load_memory._sample(runtime, 1000)).blocks)
        finally:
            await runtime.aclose(drain_s=1.0)
        return found

    _, _, full, after = asyncio.run(blocks())
    assert after - full < 0.25 * 1000


def test_a_plain_request_leaves_no_cycles_for_the_collector(tmp_path: Path):
    async def garbage() -> int:
        runtime = build(parse(load_memory._CONFIG.format(path=tmp_path / "l"), source="test"))
        await runtime.start()
        try:
            await load_memory._batch(runtime, 0, 100)
            gc.collect()
            gc.disable()
            await load_memory._batch(runtime, 100, 300)
            return gc.collect()
        finally:
            gc.enable()
            await runtime.aclose(drain_s=1.0)

    assert asyncio.run(garbage()) < 50


@pytest.mark.parametrize("marker", ["[[refused]]", "[[unreachable]]", "[[timed_out]]"])
def test_a_request_that_fails_leaves_no_cycles_either(tmp_path: Path, marker: str):
    async def garbage() -> int:
        runtime = build(parse(load_memory._CONFIG.format(path=tmp_path / "l"), source="test"))
        await runtime.start()
        try:
            assert not await load_memory._one(runtime, 0, text=marker)
            gc.collect()
            gc.disable()
            for number in range(100):
                await load_memory._one(runtime, number, text=f"{number} {marker}")
            return gc.collect()
        finally:
            gc.enable()
            await runtime.aclose(drain_s=1.0)

    assert asyncio.run(garbage()) < 50


def test_growth_is_measured_in_a_process_of_its_own_with_its_series(tmp_path: Path):
    growth = load_memory.grow_apart(256, path=str(tmp_path / "l"))
    assert growth.answered == growth.requests == 256
    assert [one.requests for one in growth.samples] == [64, 128, 192, 256]
    assert growth.last_mb == growth.samples[-1].resident_mb > 0
    assert _series(growth).startswith("resident MB, each 128 requests: ")
