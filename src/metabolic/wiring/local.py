"""The local part of a fleet: fetch its models, supervise its engines, keep them warm."""

__all__ = ["Arriving", "LocalFleet"]

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from metabolic.config import Config
from metabolic.core.errors import EngineError, StoreError
from metabolic.core.fleet import Deployment, Endpoint, LaunchSpec, Situation, State
from metabolic.core.ports import Clock, Engine
from metabolic.decide.provision import Rules
from metabolic.engines import supervisor
from metabolic.engines.store import ModelStore
from metabolic.execute.keeper import Keeper
from metabolic.plugins import engine as make_engine
from metabolic.wiring.fleet import Local

_LOG = logging.getLogger("metabolic.wiring")


class Arriving:
    """An engine whose model file may still be on its way: ``absent`` until it has come."""

    def __init__(self, engine: Engine, *, here: bool) -> None:
        """Wrap ``engine``; ``here``: its file is there already."""
        self._engine = engine
        self.deployment = engine.deployment
        self.here = here
        self.problem: str | None = None

    @property
    def state(self) -> State:
        """Return ``absent`` while the file is missing, else the engine's state."""
        return self._engine.state if self.here else "absent"

    @property
    def endpoint(self) -> Endpoint | None:
        """Return where it listens."""
        return self._engine.endpoint

    async def start(self) -> Endpoint:
        """Start the engine. Raises ``EngineError``, also while the file is missing."""
        if not self.here:
            why = self.problem or "its model file is still being fetched"
            message = f"{self.deployment}: {why}"
            raise EngineError(message)
        return await self._engine.start()

    async def sleep(self) -> None:
        """Put the engine to sleep."""
        await self._engine.sleep()

    async def stop(self) -> None:
        """Stop the engine."""
        await self._engine.stop()


class LocalFleet:
    """Models, engines and keeper of the local deployments."""

    def __init__(
        self,
        config: Config,
        locals_: tuple[Local, ...],
        *,
        store: ModelStore,
        clock: Clock,
        situation: Callable[[], Situation],
    ) -> None:
        """Make what is needed; nothing starts before ``open``."""
        self._store = store
        self._locals = locals_
        self._fetching: asyncio.Task[None] | None = None
        options = supervisor.Options(
            reserve_bytes=config.engines.memory_reserve_bytes,
            threads=config.engines.threads,
            slots=config.engines.slots,
            context_tokens=config.engines.context_tokens,
            start_timeout_s=config.engines.start_timeout_s,
        )
        self.supervisor = supervisor.create(
            options,
            launches=tuple(self._launch(one) for one in locals_),
            clock=clock,
            on_change=self._changed,
        )
        models = {one.deployment.name: one.model_id for one in locals_}
        self.engines: Mapping[str, Arriving] = {
            name: Arriving(engine, here=store.path(models[name]) is not None)
            for name, engine in self.supervisor.engines.items()
        }
        self.keeper = Keeper(
            self.engines,
            tuple(one.deployment for one in locals_),
            clock=clock,
            situation=situation,
            free_bytes=supervisor.free_bytes,
            rules=Rules(
                idle_s=config.engines.idle_sleep_s,
                reserve_bytes=config.engines.memory_reserve_bytes,
            ),
        )

    def open(self) -> None:
        """Begin to fetch what is missing and to keep engines warm."""
        self.keeper.open()
        if any(not one.here for one in self.engines.values()):
            self._fetching = asyncio.create_task(self._fetch(), name="models")

    async def aclose(self) -> None:
        """Stop fetching and stop every engine."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)
        await self.keeper.aclose()
        try:
            await self.supervisor.stop_all()
        except EngineError as exc:
            _LOG.warning("engines did not stop", extra={"reason": str(exc)})

    def deployments(self) -> tuple[Deployment, ...]:
        """Return the local deployments."""
        return tuple(one.deployment for one in self._locals)

    def _launch(self, local: Local) -> supervisor.Launch:
        """Return what the supervisor starts for a local deployment."""
        table = local.table
        return supervisor.Launch(
            deployment=local.deployment,
            model_path=str(self._file(local.model_id)),
            make=_llamacpp,
            embeddings="embeddings" in local.deployment.capabilities,
            slots=None if table is None else table.slots,
            context_tokens=None if table is None else table.context_tokens,
        )

    def _file(self, model_id: str) -> Path:
        """Return where the model's file is, or will be."""
        return self._store.status([model_id])[0].path

    async def _fetch(self) -> None:
        """Fetch what is missing, small ones first; each may answer as soon as it has come."""
        missing = {
            one.model_id: one.deployment.name
            for one in self._locals
            if not self.engines[one.deployment.name].here
        }
        try:
            async for arrival in self._store.arrivals(missing):
                arriving = self.engines[missing[arrival.id]]
                if arrival.path is None:
                    arriving.problem = arrival.problem
                    _LOG.error("model not fetched", extra={"reason": arrival.problem})
                    continue
                arriving.here = True
                self.keeper.poke()
        except StoreError as exc:
            for name in missing.values():
                self.engines[name].problem = str(exc)
            _LOG.error("models not fetched", extra={"reason": str(exc)})

    def _changed(self, deployment: str, state: State, reason: str | None) -> None:
        """Let the keeper look again; it is made after the supervisor."""
        _LOG.info("engine", extra={"deployment": deployment, "state": state, "reason": reason})
        keeper: Keeper | None = getattr(self, "keeper", None)
        if keeper is not None:
            keeper.poke()


def _llamacpp(spec: LaunchSpec) -> Engine:
    """Return a llama.cpp engine for a launch."""
    return make_engine("llamacpp", spec=spec)
