"""The real fleet, started from the configuration as ``serve`` starts it, or running already."""

__all__ = ["open_fleet"]

import asyncio
from collections.abc import AsyncGenerator, Callable, Container
from contextlib import AsyncExitStack, asynccontextmanager

from metabolic import plugins
from metabolic.bench.answers import Respondent
from metabolic.config import Config
from metabolic.core.errors import ConfigError
from metabolic.core.fleet import Deployment, Endpoint, LaunchSpec
from metabolic.wiring.fleet import Local, assemble, store_of

_CONTEXT_TOKENS = 2048


@asynccontextmanager
async def open_fleet(
    config: Config, *, say: Callable[[str], None], only: Container[str] | None = None
) -> AsyncGenerator[tuple[Respondent, ...]]:
    """Start every deployment of the configuration and give them to ask; all stop at the end.

    ``only`` names those that are wanted (``None``: all).

    Local engines get one thread and one slot each, so that CPU seconds are those of one answer.

    Raises:
        ConfigError: the fleet is empty.
        StoreError: a model cannot be fetched.
        EngineError: an engine does not start.
    """
    store = store_of(config)
    assembled = assemble(config, store=store, say=say)
    deployments = {one.name: one for one in assembled.fleet.deployments}
    async with AsyncExitStack() as stack:
        wanted = deployments if only is None else only
        endpoints = {name: one for name, one in assembled.endpoints.items() if name in wanted}
        for local in assembled.locals:
            if local.deployment.name not in wanted:
                continue
            path = await asyncio.to_thread(store.fetch, local.model_id)
            endpoints[local.deployment.name] = await _start(local, str(path), stack, say=say)
        if not endpoints:
            message = "the configuration has no deployment to measure"
            raise ConfigError(message)
        respondents = [
            await _respondent(deployments[name], endpoint, stack)
            for name, endpoint in sorted(endpoints.items())
        ]
        yield tuple(respondents)


async def _start(
    local: Local, path: str, stack: AsyncExitStack, *, say: Callable[[str], None]
) -> Endpoint:
    """Start one local engine."""
    spec = LaunchSpec(
        deployment=local.deployment.name,
        model_path=path,
        context_tokens=_CONTEXT_TOKENS,
        slots=1,
        threads=1,
    )
    engine = plugins.engine("llamacpp", spec=spec)
    stack.push_async_callback(engine.stop)
    say(f"{local.deployment.name}: starting")
    return await engine.start()


async def _respondent(
    deployment: Deployment, endpoint: Endpoint, stack: AsyncExitStack
) -> Respondent:
    """Return a deployment that can be asked."""
    backend = plugins.backend(endpoint.backend, endpoint=endpoint)
    stack.push_async_callback(backend.aclose)
    return Respondent(deployment=deployment, backend=backend, pid=endpoint.pid)
