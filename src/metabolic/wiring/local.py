"""The local part of a fleet: fetch its models, supervise its engines, keep them warm.

Without local deployments there is a keeper of nothing, and no supervisor: ``engines`` and what it
needs are not even imported.
"""

__all__ = ["LocalFleet"]

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from metabolic.config import Config
from metabolic.core.errors import EngineError, StoreError
from metabolic.core.fleet import Deployment, LaunchSpec, Situation, State
from metabolic.core.hardware import HardwareState
from metabolic.core.ports import Clock, Engine
from metabolic.core.receipt import Window
from metabolic.decide.provision import Rules
from metabolic.execute.keeper import Keeper
from metabolic.execute.meters import Meters
from metabolic.plugins import engine as make_engine
from metabolic.wiring.fleet import Assembled, Local
from metabolic.wiring.governor import governor_of
from metabolic.wiring.hands import Sleepers
from metabolic.wiring.twins import launch_of

if TYPE_CHECKING:
    from metabolic.engines.store import ModelStore
    from metabolic.engines.supervisor import EngineInfo, Launch, Supervisor

_LOG = logging.getLogger("metabolic.wiring")


class LocalFleet:
    """Models, engines and keeper of the local deployments."""

    def __init__(
        self,
        config: Config,
        assembled: Assembled,
        *,
        clock: Clock,
        situation: Callable[[], Situation],
        meters: Meters,
        hardware: Callable[[], HardwareState],
    ) -> None:
        """Make what is needed; nothing starts before ``open``.

        There is no store only without local deployments. Raises ``ConfigError``: a hand
        that does not exist, or cannot be made of its options.
        """
        fleet = {one.name: one for one in assembled.fleet.deployments}
        self._sleepers = Sleepers(
            config, fleet, assembled.endpoints, meters=meters, hardware=hardware
        )
        self.kept = frozenset(self._sleepers.engines)
        self._governor = governor_of(config, clock=clock, state=lambda: situation().metabolic)
        self._governing: asyncio.Task[None] | None = None
        locals_, store = assembled.locals, assembled.store
        self._locals = locals_
        self._fetching: asyncio.Task[None] | None = None
        self._missing: dict[str, list[str]] = {}
        self._store = store
        self._supervisor: Supervisor | None = None
        if store is None or not locals_:
            self.keeper = self._keeper_of(config, {}, clock, situation, free=None)
            return
        self._supervise(config, store, clock, situation)

    def _supervise(
        self,
        config: Config,
        store: "ModelStore",
        clock: Clock,
        situation: Callable[[], Situation],
    ) -> None:
        """Make supervisor and keeper of the local deployments."""
        from metabolic.engines import supervisor  # noqa: PLC0415 - only for local models

        options = supervisor.Options(
            reserve_bytes=config.engines.memory_reserve_bytes,
            threads=config.engines.threads,
            slots=config.engines.slots,
            context_tokens=config.engines.context_tokens,
            start_timeout_s=config.engines.start_timeout_s,
        )
        self._supervisor = supervisor.create(
            options,
            launches=tuple(self._launch(one, store) for one in self._locals),
            clock=clock,
            on_change=self._changed,
        )
        self._missing = {}
        for one in self._locals:
            if store.path(one.model_id) is None:
                self._missing.setdefault(one.model_id, []).append(one.deployment.name)
        self.keeper = self._keeper_of(
            config, self._supervisor.engines, clock, situation, free=supervisor.free_bytes
        )

    def _keeper_of(
        self,
        config: Config,
        engines: Mapping[str, Engine],
        clock: Clock,
        situation: Callable[[], Situation],
        *,
        free: Callable[[], int | None] | None,
    ) -> Keeper:
        """Return the keeper of local engines and of those that others started."""
        hands = self._sleepers
        return Keeper(
            {**engines, **hands.engines},
            (*self.deployments(), *hands.deployments),
            clock=clock,
            situation=situation,
            free_bytes=free,
            rules=Rules(
                idle_s=config.engines.idle_sleep_s,
                reserve_bytes=config.engines.memory_reserve_bytes,
            ),
            rooms=hands.rooms,
            hints=hands.hints,
            wakes=hands.wakes,
            energy=hands.energy,
        )

    def open(self) -> None:
        """Begin to fetch what is missing and to keep engines warm."""
        self.keeper.open()
        if self._governor is not None:
            self._governing = asyncio.create_task(self._governor.run(), name="limits")
        if self._missing and self._store is not None and self._supervisor is not None:
            fetch = self._fetch(self._store, self._supervisor)
            self._fetching = asyncio.create_task(fetch, name="models")

    async def aclose(self) -> None:
        """Stop fetching and stop every engine."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)
        await self._lift()
        await self.keeper.aclose()
        await asyncio.to_thread(self.save)
        if self._supervisor is None:
            return
        try:
            await self._supervisor.stop_all()
        except EngineError as exc:
            _LOG.warning("engines did not stop", extra={"reason": str(exc)})

    async def _lift(self) -> None:
        """Put every limit of the machine back."""
        if self._governing is not None:
            self._governing.cancel()
            await asyncio.gather(self._governing, return_exceptions=True)
        if self._governor is not None:
            await self._governor.aclose()

    def saw(self, window: Window) -> None:
        """Learn from a meter's window what devices draw with nothing to do."""
        self._sleepers.saw(window, self.keeper)

    def save(self) -> bool:
        """Keep what is known of waking; return whether that was possible. Blocks."""
        return self._sleepers.save()

    def deployments(self) -> tuple[Deployment, ...]:
        """Return the local deployments."""
        return tuple(one.deployment for one in self._locals)

    def info(self) -> "tuple[EngineInfo, ...]":
        """Return what the supervisor knows of its engines."""
        return () if self._supervisor is None else self._supervisor.info()

    def _launch(self, local: Local, store: "ModelStore") -> "Launch":
        """Return what the supervisor starts for a local deployment."""
        from metabolic.engines.supervisor import Launch  # noqa: PLC0415 - only for local models

        table, path = local.table, store.path(local.model_id)
        drafting = launch_of(local, store)
        if drafting is not None and drafting.method == "draft" and drafting.draft_path is None:
            path = None  # it is absent until its draft model was fetched and the gateway restarted
        drafter = local.deployment.drafting
        return Launch(
            speculation=drafting,
            extra_bytes=0 if drafter is None else drafter.extra_bytes or 0,
            deployment=local.deployment,
            model_path=None if path is None else str(path),
            make=_llamacpp,
            embeddings="embeddings" in local.deployment.capabilities,
            slots=None if table is None else table.slots,
            context_tokens=None if table is None else table.context_tokens,
        )

    async def _fetch(self, store: "ModelStore", supervisor: "Supervisor") -> None:
        """Fetch what is missing, small ones first; each may answer as soon as it has come."""
        try:
            async for arrival in store.arrivals(self._missing):
                if arrival.path is None:
                    _LOG.error("model not fetched", extra={"reason": arrival.problem})
                    continue
                for name in self._missing[arrival.id]:
                    supervisor.arrived(name, str(arrival.path))
                self.keeper.poke()
        except StoreError as exc:
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
