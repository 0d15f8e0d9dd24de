"""What no model's name can commit: processes stopped and killed while they answer.

An upstream stopped with SIGSTOP keeps its connections and says nothing: half-open sockets. The
real engines are two llama.cpp servers of the smallest model; one is killed, or stopped, while
both answer. Their answer before the outage is what every later one must say.
"""

__all__ = ["Outages"]

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from metabolic.bench.processes import Child, free_port
from metabolic.bench.report import Missing, Row, progress
from metabolic.bench.upstreams import KNOWN_TEXT, Answer, Gateway, verdict
from metabolic.config import load
from metabolic.wiring.fleet import store_of

_MODEL = "smollm2-135m-instruct"
_AT_ONCE, _TOKENS = 12, 24
_WARM_S = 120.0


class Outages:
    """Stops and kills; ``missing`` says what could not be tried here, and why."""

    def __init__(self, folder: Path, *, quick: bool) -> None:
        """Work in ``folder``; a quick run leaves the real engines out."""
        self._folder, self._quick = folder, quick
        self.missing: list[Missing] = []

    async def measure(self) -> list[Row]:
        """Return a row for every answer asked for during an outage."""
        rows = await self._half_open()
        if self._quick:
            self.missing.append(Missing(figure="llama.cpp outages", why="not in a quick run"))
        elif store_of(load()).path(_MODEL) is None:
            why = f"{_MODEL} is not there; fetch it with `metabolic models pull`"
            self.missing.append(Missing(figure="llama.cpp outages", why=why))
        else:
            rows += await self._real("kill -9", lambda pid: os.kill(pid, signal.SIGKILL))
            rows += await self._real("SIGSTOP", lambda pid: os.kill(pid, signal.SIGSTOP))
        return rows

    async def _half_open(self) -> list[Row]:
        """Stop one of two fake upstreams; its connections stay open."""
        logs = [self._folder / name for name in ("one.log", "two.log")]
        with (
            Child("metabolic.testing.fakeserver", core=None, log=logs[0]) as first,
            Child("metabolic.testing.fakeserver", core=None, log=logs[1]) as second,
        ):
            config = _REMOTE.format(port=free_port(), first=first.line(), second=second.line())
            async with Gateway(self._folder, config) as gateway:
                warm = await gateway.ask("auto", mode="whole")
                os.kill(first.pid, signal.SIGSTOP)
                try:
                    answers = [warm, *await _all(gateway, 3, max_tokens=64)]
                finally:
                    os.kill(first.pid, signal.SIGCONT)
        return _rows("half-open (upstream SIGSTOP)", "fake", answers, text=KNOWN_TEXT)

    async def _real(self, fault: str, hit: Callable[[int], None]) -> list[Row]:
        """Hit one of two real engines while both answer."""
        progress(f"llama.cpp: {fault}")
        config = _LOCAL.format(port=free_port(), model=_MODEL)
        async with Gateway(self._folder, config) as gateway:
            await _until_warm(gateway)
            text = (await gateway.ask("first", mode="whole", max_tokens=_TOKENS)).text
            victim = _engine_of(gateway.child.pid, "first")
            running = asyncio.create_task(_all(gateway, _AT_ONCE, max_tokens=_TOKENS))
            await asyncio.sleep(0.3)
            hit(victim)
            answers = await running
            await _until_warm(gateway)
            answers.append(await gateway.ask("first", mode="whole", max_tokens=_TOKENS))
        return _rows(fault, "llama.cpp", answers, text=text)


async def _all(gateway: Gateway, count: int, *, max_tokens: int) -> list[Answer]:
    """Ask so many times at once, in every mode."""
    modes = ("whole", "held", "stream")
    return list(
        await asyncio.gather(
            *(gateway.ask("auto", mode=modes[i % 3], max_tokens=max_tokens) for i in range(count))
        )
    )


async def _until_warm(gateway: Gateway) -> None:
    """Wait until every engine is up."""
    end_s = time.monotonic() + _WARM_S
    while set((await gateway.states()).values()) != {"warm"}:
        if time.monotonic() > end_s:
            return
        await asyncio.sleep(0.1)


def _engine_of(parent: int, deployment: str) -> int:
    """Return the process of an engine by the name on its command line."""
    for child in psutil.Process(parent).children(recursive=True):
        if deployment in child.cmdline():
            return child.pid
    message = f"no engine of {deployment} is running"
    raise RuntimeError(message)


def _rows(fault: str, engine: str, answers: list[Answer], *, text: str) -> list[Row]:
    """Return a row for each answer."""
    return [
        {
            "fault": fault,
            "engine": engine,
            "mode": "under load",
            "sibling": True,
            "verdict": verdict(one, text=text),
            "status": one.status,
            "seconds": round(one.seconds, 3),
        }
        for one in answers
    ]


_REMOTE = """
[server]
port = {port}
[models]
fleet = "none"
[ledger]
kind = "memory"
[routing]
kind = "best"
connect_timeout_s = 2.0
first_token_timeout_s = 2.0
stall_timeout_s = 1.5
stage_timeout_s = 4.0
[[deployment]]
name = "first"
base_url = "{first}"
capabilities = ["chat", "logprobs"]
[[deployment]]
name = "second"
base_url = "{second}"
capabilities = ["chat", "logprobs"]
[[belief]]
deployment = "first"
p_correct = 0.9
evidence = 1000
[[belief]]
deployment = "second"
p_correct = 0.8
evidence = 1000
"""
_LOCAL = """
[server]
port = {port}
[ledger]
kind = "memory"
[engines]
threads = 1
context_tokens = 1024
[[deployment]]
name = "first"
kind = "local"
model = "{model}"
[[deployment]]
name = "second"
kind = "local"
model = "{model}"
"""
