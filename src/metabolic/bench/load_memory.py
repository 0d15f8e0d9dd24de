"""Whether memory grows with requests: the whole runtime, on the fake backend.

In a process of its own: memory that other work has left free would hide growth. Resident memory
is what the operating system sees, in steps of whatever the allocator asks for; the interpreter's
own count of blocks in use tells a leak from a heap that is still finding its size.
"""

__all__ = ["Growth", "Sample", "grow", "grow_apart"]

import asyncio
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import msgspec
import psutil
from msgspec import Struct

from metabolic.bench.report import progress
from metabolic.config import parse
from metabolic.core.request import Ask, Message, Request, Text
from metabolic.wiring.building import build
from metabolic.wiring.runtime import Runtime

_CONFIG = """
[sense]
enabled = false
[ledger]
kind = "jsonl"
path = "{path}"
[capacity]
probe_period_s = 0

[[deployment]]
name = "a"
kind = "server"
base_url = "http://127.0.0.1:9/v1"
backend = "fake"
slots = 64
[[deployment]]
name = "b"
kind = "server"
base_url = "http://127.0.0.1:9/v1"
backend = "fake"
slots = 64
"""
_AT_ONCE = 64
_WARM_SHARE = 0.2
_SAMPLES = 40
_PATIENCE, _PAUSE_S = 500, 0.01
_MB = 1024 * 1024


class Sample(Struct, frozen=True, kw_only=True):
    """Memory after so many requests; nothing waits for the ledger."""

    requests: int
    resident_mb: float
    blocks: int


class Growth(Struct, frozen=True, kw_only=True):
    """Resident memory over requests: slopes of lines through it, per 100,000 requests.

    ``slope_mb_per_100k`` and ``blocks_per_request`` after the first fifth, ``late_mb_per_100k``
    in the second half alone: a heap that fills has less there, a leak has not.
    """

    requests: int
    slope_mb_per_100k: float
    late_mb_per_100k: float
    blocks_per_request: float
    first_mb: float
    last_mb: float
    answered: int
    samples: tuple[Sample, ...]


def grow_apart(requests: int, *, path: str) -> Growth:
    """Do ``grow`` in a new process."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as other:
        return other.submit(grow, requests, path=path).result()


def grow(requests: int, *, path: str) -> Growth:
    """Answer so many requests, 64 at once, and watch memory after the first fifth."""
    return asyncio.run(_grow(requests, path))


async def _grow(requests: int, path: str) -> Growth:
    """Run it."""
    runtime = build(parse(_CONFIG.format(path=path), source="bench load"))
    await runtime.start()
    samples, answered = list[Sample](), 0
    step = max(_AT_ONCE, requests // _SAMPLES)
    try:
        for begun in range(0, requests, step):
            count = min(step, requests - begun)
            answered += await _batch(runtime, begun, count)
            samples.append(await _sample(runtime, begun + count))
        progress(f"load: {requests} requests through the runtime")
    finally:
        await runtime.aclose(drain_s=1.0)
    kept = samples[int(_WARM_SHARE * len(samples)) :]
    late = samples[len(samples) // 2 :]
    return Growth(
        requests=requests,
        slope_mb_per_100k=_slope([(one.requests, one.resident_mb) for one in kept]) * 100_000,
        late_mb_per_100k=_slope([(one.requests, one.resident_mb) for one in late]) * 100_000,
        blocks_per_request=_slope([(one.requests, one.blocks) for one in kept]),
        first_mb=kept[0].resident_mb,
        last_mb=kept[-1].resident_mb,
        answered=answered,
        samples=tuple(samples),
    )


async def _sample(runtime: Runtime, requests: int) -> Sample:
    """Measure once the ledger has written what was queued, or after five seconds."""
    for _ in range(_PATIENCE):
        if not dict(runtime.snapshot_counters())["ledger.queued"]:
            break
        await asyncio.sleep(_PAUSE_S)
    resident_mb = psutil.Process().memory_info().rss / _MB
    return Sample(requests=requests, resident_mb=resident_mb, blocks=sys.getallocatedblocks())


async def _batch(runtime: Runtime, begun: int, count: int) -> int:
    """Answer ``count`` requests, 64 at once; return how many had an answer."""
    numbers = iter(range(begun, begun + count))

    async def client() -> int:
        return sum([await _one(runtime, number) for number in numbers])

    return sum(await asyncio.gather(*(client() for _ in range(_AT_ONCE))))


async def _one(runtime: Runtime, number: int, text: str = "") -> bool:
    """Answer one request; each is of its own session."""
    text = text or f"question {number}"
    body = msgspec.json.encode({"model": "auto", "messages": [{"role": "user", "content": text}]})
    request = Request(
        id=f"r{number}",
        dialect="chat",
        model="auto",
        messages=(Message(role="user", content=(Text(text=text),)),),
        body=body,
    )
    ask = Ask(id=request.id, at_s=0.0, input_tokens=5, session=f"s{number}")
    gone = asyncio.get_running_loop().create_future()
    outcome = await runtime.answer(request, ask, sink=None, gone=gone)
    return outcome.error is None


def _slope(samples: Sequence[tuple[float, float]]) -> float:
    """Return the slope of a least squares line; 0 with one sample."""
    mean_x = sum(x for x, _ in samples) / len(samples)
    mean_y = sum(y for _, y in samples) / len(samples)
    spread = sum((x - mean_x) ** 2 for x, _ in samples)
    return sum((x - mean_x) * (y - mean_y) for x, y in samples) / spread if spread else 0.0
