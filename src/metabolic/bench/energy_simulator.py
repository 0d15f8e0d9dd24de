"""A batching server with power of its own: whose joules are known, because they were made here.

Nothing of the accounting's formula is in it. Time goes by iterations: each takes a chunk of prompts
(up to a token budget) and one token of every sequence that decodes. An iteration lasts as long as
the slower of arithmetic and memory, a part of the faster, and a launch time; arithmetic is less
efficient in small pieces and grows with the *context* of each sequence (attention), memory traffic
is the weights and each sequence's own cache. Power saturates in both, ``P = idle + (top - idle) x
(1 - exp(-(a x arithmetic + b x memory)))``, and drifts with temperature.

What an iteration drew above idle belongs to arithmetic and memory as their terms in the exponent
(Aumann and Shapley's way to share a function of a sum); arithmetic's to sequences by their
operations, the caches' traffic to their owners, the weights' equally to all in the iteration.
"""

__all__ = ["LOADS", "Request", "Simulated", "simulate"]

from math import exp, floor, sin
from random import Random

from msgspec import Struct

LOADS = (("light", 1.0), ("busy", 5.0), ("heavy", 11.0))
"""Name and requests per second; the server is full at about 14."""

_PARAMETERS, _LAYERS, _WIDTH = 8e9, 32, 4096
_WEIGHT_BYTES, _CACHE_BYTES = 1.6e10, 131_072.0
_FLOPS, _BYTES_PER_S = 9.89e14, 3.35e12
_LAUNCH_S, _OVERLAP = 2e-3, 0.15
_CHUNK, _SLOTS = 1024, 64
_TOP_W, _ARITHMETIC, _MEMORY = 690.0, 1.9, 1.1
IDLE_W = 90.0
"""An 8e9 model in bf16 on a GPU like an H100."""


class Request(Struct):
    """One request as the server sees it, and the joules above idle it really took."""

    name: str
    at_s: float
    prompt: int
    cached: int
    output: int
    leaves_after: int | None
    began_s: float = 0.0
    first_s: float | None = None
    ended_s: float = 0.0
    filled: int = 0
    said: int = 0
    true_j: float = 0.0


class Simulated(Struct, frozen=True, kw_only=True):
    """A run: requests as they ended, and the counter at the end of every window."""

    load: str
    requests: tuple[Request, ...]
    active_j: tuple[tuple[float, float], ...]
    seconds: float


def simulate(load: str, rate: float, *, seconds: float, seed: int) -> Simulated:
    """Serve requests that come at ``rate`` a second; joules above idle are read once a second."""
    draw = Random(f"{load}/{seed}")
    coming, now_s, total_j = _arrivals(draw, rate, seconds), 0.0, 0.0
    waiting: list[Request] = []
    running: list[Request] = []
    done: list[Request] = []
    readings: list[tuple[float, float]] = [(0.0, 0.0)]
    while coming or waiting or running:
        while coming and coming[0].at_s <= now_s:
            waiting.append(coming.pop(0))
        while waiting and len(running) < _SLOTS:
            running.append(waiting.pop(0))
        if not running:
            until_s = coming[0].at_s
            _read(readings, now_s, until_s, total_j, 0.0)
            now_s = until_s
            continue
        length_s, joules = _iterate(running, now_s)
        _read(readings, now_s, now_s + length_s, total_j, joules)
        now_s, total_j = now_s + length_s, total_j + joules
        over = [one for one in running if _over(one, now_s)]
        done += over
        running = [one for one in running if one not in over]
    readings.append((float(floor(now_s) + 1), total_j))
    return Simulated(load=load, requests=tuple(done), active_j=tuple(readings), seconds=now_s)


def _arrivals(draw: Random, rate: float, seconds: float) -> list[Request]:
    """Return the requests to come: long-tailed prompts and answers, some with a warm prefix."""
    at_s, found = 0.0, list[Request]()
    while True:
        at_s += draw.expovariate(rate)
        if at_s >= seconds:
            return found
        prompt = int(min(8000, max(16, draw.lognormvariate(6.2, 1.1))))
        cached = int(prompt * draw.random()) if draw.random() < 0.3 else 0  # noqa: PLR2004
        output = int(min(2000, max(4, draw.lognormvariate(4.9, 0.9))))
        leaves = draw.randrange(1, output + 1) if draw.random() < 0.04 else None  # noqa: PLR2004
        name = f"{len(found)}/c0"
        found.append(Request(name, at_s, prompt, cached, output, leaves, began_s=at_s))


def _iterate(running: list[Request], now_s: float) -> tuple[float, float]:
    """Run one iteration: its seconds and joules above idle; charge them to whose they were."""
    budget, work = _CHUNK, list[tuple[Request, int, int]]()
    for one in running:
        left = one.prompt - one.cached - one.filled
        if left > 0:
            tokens = min(left, budget)
            budget -= tokens
            if tokens:
                work.append((one, tokens, one.cached + one.filled))
                one.filled += tokens
        else:
            one.said += 1
            work.append((one, 1, one.prompt + one.said))
    flops = [
        2 * _PARAMETERS * tokens + 4 * _LAYERS * _WIDTH * tokens * (context + tokens / 2)
        for _, tokens, context in work
    ]
    caches = [_CACHE_BYTES * (context + tokens) for _, tokens, context in work]
    tokens = sum(tokens for _, tokens, _ in work)
    arithmetic_s = sum(flops) / (_FLOPS * 0.6 * tokens / (tokens + 192))
    memory_s = (_WEIGHT_BYTES + sum(caches)) / (_BYTES_PER_S * 0.8)
    length_s = max(arithmetic_s, memory_s) + _OVERLAP * min(arithmetic_s, memory_s) + _LAUNCH_S
    heat = _ARITHMETIC * arithmetic_s / length_s, _MEMORY * memory_s / length_s
    drift = 1 + 0.03 * sin(now_s / 40)
    joules = (_TOP_W - IDLE_W) * (1 - exp(-sum(heat))) * drift * length_s
    by_arithmetic = joules * heat[0] / sum(heat)
    traffic = _WEIGHT_BYTES + sum(caches)
    for (one, _, _), own_flops, own_bytes in zip(work, flops, caches, strict=True):
        one.true_j += by_arithmetic * own_flops / sum(flops)
        one.true_j += (joules - by_arithmetic) * (
            own_bytes / traffic + _WEIGHT_BYTES / traffic / len(work)
        )
    return length_s, joules


def _over(one: Request, now_s: float) -> bool:
    """Note a first token and an end at the end of an iteration; say whether it is over."""
    if one.filled >= one.prompt - one.cached and one.first_s is None:
        one.first_s = now_s
    if one.said >= (one.output if one.leaves_after is None else one.leaves_after):
        one.ended_s = now_s
        return True
    return False


def _read(
    readings: list[tuple[float, float]], from_s: float, to_s: float, total_j: float, more_j: float
) -> None:
    """Read the counter at every full second within ``(from_s, to_s]``."""
    next_s = readings[-1][0] + 1.0
    while next_s <= to_s:
        part = (next_s - from_s) / (to_s - from_s) if to_s > from_s else 1.0
        readings.append((next_s, total_j + more_j * part))
        next_s += 1.0
