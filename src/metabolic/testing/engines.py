"""What every engine must do, as a suite that its author runs.

await check_engine(lambda: create(Options(), spec=spec))
"""

__all__ = ["check_engine"]

import asyncio
from collections.abc import Callable

import psutil

from metabolic.core.fleet import Endpoint, State
from metabolic.core.ports import Engine

_GONE_S = 2.0


async def check_engine(make: Callable[[], Engine]) -> None:
    """Run an engine through its life, twice; ``make`` returns a new one each time.

    Raises:
        AssertionError: it does not keep the contract; the message says which part.
    """
    await _check_life(make())
    await _check_interrupted_start(make())


async def _check_life(engine: Engine) -> None:
    """Start, sleep, wake and stop it."""
    _check(engine, "stopped", "before its first start")
    try:
        first, second = await asyncio.gather(engine.start(), engine.start())
        _require(first == second, "concurrent starts must share one start")
        _check(engine, "warm", "after start")
        _check_endpoint(engine, first)
        _require(await engine.start() == first, "start while warm must change nothing")
        await engine.sleep()
        _check(engine, "asleep", "after sleep")
        _check_gone(first)
        await engine.sleep()
        _check(engine, "asleep", "after a second sleep")
        woken = await engine.start()
        _check(engine, "warm", "after waking")
        _check_endpoint(engine, woken)
    finally:
        await engine.stop()
    _check(engine, "stopped", "after stop")
    _check_gone(woken)
    await engine.stop()
    _check(engine, "stopped", "after a second stop")


async def _check_interrupted_start(engine: Engine) -> None:
    """Stop it while it starts: nothing may be left, nobody may hang."""
    starting = asyncio.ensure_future(engine.start())
    await asyncio.sleep(0)
    await engine.stop()
    _check(engine, "stopped", "after stop during start")
    done, _ = await asyncio.wait({starting}, timeout=_GONE_S)
    _require(bool(done), "a start that was stopped must return or raise EngineError")
    if not starting.cancelled() and starting.exception() is None:
        _check_gone(starting.result())


def _check(engine: Engine, state: State, when: str) -> None:
    """Check the state, and that there is an endpoint exactly when it is warm."""
    _require(engine.state == state, f"{when} its state must be {state}, not {engine.state}")
    has = engine.endpoint is not None
    _require(has == (state == "warm"), f"{when} endpoint must be {'set' if not has else 'None'}")


def _check_endpoint(engine: Engine, endpoint: Endpoint) -> None:
    """Check what a client needs of it."""
    _require(engine.endpoint == endpoint, "start must return the endpoint")
    _require(endpoint.deployment == engine.deployment, "the endpoint must name its deployment")
    _require(bool(endpoint.model), "the endpoint must name the model")
    key = endpoint.api_key
    _require(key is None or key not in repr(endpoint), "a key must not show in repr")
    if endpoint.pid is not None:
        _require(psutil.pid_exists(endpoint.pid), "the endpoint's pid must be a process")


def _check_gone(endpoint: Endpoint) -> None:
    """Check that the engine's process, if it has one of its own, is no more."""
    if endpoint.pid is not None:
        _require(not psutil.pid_exists(endpoint.pid), "its process must be gone and reaped")


def _require(claim: object, message: str) -> None:
    """Raise ``AssertionError`` with ``message`` unless ``claim`` holds."""
    if not claim:
        raise AssertionError(message)
