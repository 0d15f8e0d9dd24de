"""The real fleet of the shadow's benchmark: two llama.cpp engines of the model catalogue."""

__all__ = ["LARGE", "PRICE_RATIO", "SMALL", "engines"]

import asyncio
import contextlib
import os
import threading
from collections.abc import Generator
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from metabolic import plugins
from metabolic.bench.questions import half_of, own_questions
from metabolic.bench.shadow_phases import Phases
from metabolic.config import Config
from metabolic.core.fleet import Endpoint, LaunchSpec
from metabolic.core.ports import Engine
from metabolic.wiring.fleet import store_of

SMALL, LARGE = "qwen2.5-coder-0.5b-instruct", "qwen2.5-coder-1.5b-instruct"

PRICE_RATIO = 3.14
"""The large one's price over the small one's: by active parameters (1.54e9 and 0.49e9)."""

_USD_PER_MILLION = (0.31, 0.62)
"""The large one's prompt and answer tokens."""

_CONTEXT_TOKENS = 2048
_DEPLOYMENT = """
[[deployment]]
name = "{name}"
base_url = "{url}"
engine = "llamacpp"
{key}tier = "{tier}"
context_tokens = 2048
capabilities = ["chat", "json", "logprobs"]
input_usd_per_million_tokens = {price[0]}
output_usd_per_million_tokens = {price[1]}
"""


@contextlib.contextmanager
def engines(
    folder: Path, questions: int, seed: int, *, price_ratio: float = PRICE_RATIO
) -> Generator[Phases]:
    """Start both engines, with one thread and slot each, and stop them at the end.

    ``price_ratio`` is the large one's price over the small one's.

    Raises:
        StoreError: a model cannot be had.
        EngineError: an engine does not start.
    """
    del folder
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    started: dict[str, Engine] = {}
    try:
        places = {name: _start(name, loop, started) for name in (SMALL, LARGE)}
        halves = tuple(
            tuple(one for one in own_questions() if half_of(one.id, seed) == half)[:questions]
            for half in (0, 1)
        )
        yield Phases(
            halves=(halves[0], halves[1]),
            model=LARGE,
            upstream_model=LARGE,
            small_model=SMALL,
            upstream_port=urlsplit(places[LARGE].base_url).port or 80,
            deployments="".join(_table(name, place, price_ratio) for name, place in places.items()),
            key=places[LARGE].api_key,
            prices=(_USD_PER_MILLION[0] / 1e6, _USD_PER_MILLION[1] / 1e6),
            cpu_s=lambda: sum(_cpu_s(one.pid) for one in places.values()),
        )
    finally:
        for engine in started.values():
            asyncio.run_coroutine_threadsafe(engine.stop(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def _start(name: str, loop: asyncio.AbstractEventLoop, started: dict[str, Engine]) -> Endpoint:
    """Start one engine."""
    path = store_of(Config()).fetch(name)
    spec = LaunchSpec(
        deployment=name, model_path=str(path), context_tokens=_CONTEXT_TOKENS, slots=1, threads=1
    )
    engine = started[name] = plugins.engine("llamacpp", spec=spec)
    return asyncio.run_coroutine_threadsafe(engine.start(), loop).result(180)


def _table(name: str, place: Endpoint, price_ratio: float) -> str:
    """Return a deployment's table; its key goes by the environment."""
    key, variable = "", f"METABOLIC_BENCH_KEY_{'SMALL' if name == SMALL else 'LARGE'}"
    if place.api_key is not None:
        os.environ[variable] = place.api_key
        key = f'api_key = "env:{variable}"\n'
    tier = "tiny" if name == SMALL else "small"
    below = price_ratio if name == SMALL else 1.0
    price = tuple(usd / below for usd in _USD_PER_MILLION)
    return _DEPLOYMENT.format(name=name, url=place.base_url, key=key, tier=tier, price=price)


def _cpu_s(pid: int | None) -> float:
    """Return a process's CPU seconds so far; 0 where it is not known."""
    if pid is None:
        return 0.0
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system
