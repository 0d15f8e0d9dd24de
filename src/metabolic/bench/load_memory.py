"""Whether memory grows with requests: the whole runtime in this process, on the fake backend."""

__all__ = ["Growth", "grow"]

import asyncio
from collections.abc import Sequence

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
_MB = 1024 * 1024


class Growth(Struct, frozen=True, kw_only=True):
    """Resident memory over requests: the slope of a line through it, per 100,000 requests."""

    requests: int
    slope_mb_per_100k: float
    first_mb: float
    last_mb: float
    answered: int


def grow(requests: int, *, path: str) -> Growth:
    """Answer so many requests, 64 at once, and watch resident memory after the first fifth."""
    return asyncio.run(_grow(requests, path))


async def _grow(requests: int, path: str) -> Growth:
    """Run it."""
    runtime = build(parse(_CONFIG.format(path=path), source="bench load"))
    await runtime.start()
    process, samples, answered = psutil.Process(), list[tuple[float, float]](), 0
    step = max(_AT_ONCE, requests // _SAMPLES)
    try:
        for begun in range(0, requests, step):
            answered += await _batch(runtime, begun, min(step, requests - begun))
            samples.append((begun + step, process.memory_info().rss / _MB))
        progress(f"load: {requests} requests through the runtime")
    finally:
        await runtime.aclose(drain_s=1.0)
    kept = samples[int(_WARM_SHARE * len(samples)) :]
    return Growth(
        requests=requests,
        slope_mb_per_100k=_slope(kept) * 100_000,
        first_mb=kept[0][1],
        last_mb=kept[-1][1],
        answered=answered,
    )


async def _batch(runtime: Runtime, begun: int, count: int) -> int:
    """Answer ``count`` requests, 64 at once; return how many had an answer."""
    numbers = iter(range(begun, begun + count))

    async def client() -> int:
        return sum([await _one(runtime, number) for number in numbers])

    return sum(await asyncio.gather(*(client() for _ in range(_AT_ONCE))))


async def _one(runtime: Runtime, number: int) -> bool:
    """Answer one request; each is of its own session."""
    text = f"question {number}"
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
