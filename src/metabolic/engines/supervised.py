"""One engine that is started again when it dies.

A process that dies is started again after a pause that doubles with each failure. After too many
it is left alone for a while, ``failed``, with the reason; asking for it then is answered with that
reason at once. It counts as sound again once it has run for ``stable_s``.
"""

__all__ = ["Backoff", "OnChange", "Supervised", "Watched"]

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Protocol, runtime_checkable

from msgspec import Struct

from metabolic.core.errors import EngineError
from metabolic.core.fleet import Endpoint, LaunchSpec, State
from metabolic.core.ports import Clock, Engine
from metabolic.engines.shared import Shared

_POLL_S = 0.25

OnChange = Callable[[str, State, str | None], None]
"""Told of deployment, new state and, when it failed, why."""


class Backoff(Struct, frozen=True, kw_only=True):
    """How long to wait before the n-th start in a row: ``first_s × 2^(n-1)``, at most ``most_s``.

    After ``limit`` failures in a row it is left alone for ``cool_off_s``. Having run for
    ``stable_s``, it starts from the beginning.
    """

    first_s: float = 0.25
    most_s: float = 30.0
    limit: int = 6
    cool_off_s: float = 300.0
    stable_s: float = 60.0

    def delay_s(self, failures: int) -> float:
        """Return the pause after so many failures in a row."""
        if failures > self.limit:
            return self.cool_off_s
        return min(self.most_s, self.first_s * 2.0 ** max(0, failures - 1))


@runtime_checkable
class Watched(Protocol):
    """An engine that can say when it is down; others are looked at now and then."""

    def ended(self) -> Awaitable[None]:
        """Return when it is not warm any more."""
        ...


class Supervised:
    """An engine, made and sized anew for each start, that comes back when it dies.

    ``launch`` returns what to start it with, now, or raises ``EngineError`` when there is no room.
    Without ``present`` its model file is yet to come: it is ``absent`` until ``arrive`` is called.
    ``restarts`` counts the times it came back, ``load_s`` is how long the last start took.
    """

    def __init__(  # noqa: PLR0913 - six things that only the supervisor knows
        self,
        deployment: str,
        *,
        make: Callable[[LaunchSpec], Engine],
        launch: Callable[[], LaunchSpec],
        clock: Clock,
        backoff: Backoff,
        on_change: OnChange,
        present: bool = True,
    ) -> None:
        self.deployment = deployment
        self.restarts = 0
        self.load_s: float | None = None
        self.reason: str | None = None
        self.spec: LaunchSpec | None = None
        self._make = make
        self._launch = launch
        self._clock = clock
        self._backoff = backoff
        self._on_change = on_change
        self._present = present
        self._engine: Engine | None = None
        self._failures = 0
        self._not_before_s = 0.0
        self._warm_since_s = 0.0
        self._shared: Shared[Endpoint] = Shared()
        self._minding: asyncio.Task[None] | None = None

    @property
    def state(self) -> State:
        """Return where it stands; ``failed`` also while it waits to be started again."""
        if self._engine is not None:
            return self._engine.state
        return "stopped" if self._present else "absent"

    @property
    def endpoint(self) -> Endpoint | None:
        """Return where it listens; ``None`` unless warm."""
        return self._engine.endpoint if self._engine is not None else None

    def arrive(self) -> None:
        """Note that its model file is there."""
        if not self._present:
            self._present = True
            self._tell()

    async def start(self) -> Endpoint:
        """Start or wake it; while it is coming back, wait for that.

        Raises:
            EngineError: it did not start, or failed so lately that it is not tried again yet.
        """
        if self.endpoint is not None:
            return self.endpoint
        if self.state == "absent":
            message = f"the model file of {self.deployment} is not there yet"
            raise EngineError(message)
        if not self._shared.running:
            wait_s = self._not_before_s - self._clock.monotonic_s()
            if self._failures and wait_s > 0:
                message = f"{self.reason}; not tried again for {wait_s:.0f} s"
                raise EngineError(message)
        return await self._shared.run(self._start)

    async def sleep(self) -> None:
        """Free its memory; nothing happens to one that is not running."""
        await self._leave()
        if self._engine is not None and self._engine.state != "stopped":
            await self._engine.sleep()
            self._tell()

    async def stop(self) -> None:
        """Stop it for good, also while it is coming back."""
        await self._leave()
        if self._engine is not None:
            await self._engine.stop()
            self._tell()

    async def _leave(self) -> None:
        """Stop minding it and end a start that is under way."""
        minding, self._minding = self._minding, None
        if minding is not None:
            minding.cancel()
            await asyncio.wait({minding})
        await self._shared.cancel()

    async def _start(self) -> Endpoint:
        """Start it once, and mind it from then on."""
        endpoint = await self._attempt()
        if self._minding is None or self._minding.done():
            self._minding = asyncio.create_task(self._mind(), name=f"mind {self.deployment}")
        return endpoint

    async def _attempt(self) -> Endpoint:
        """Size it, start it and note how that went."""
        began_s = self._clock.monotonic_s()
        try:
            engine = await self._fresh(self._launch())
            self._on_change(self.deployment, "starting", None)
            endpoint = await engine.start()
        except EngineError as exc:
            self._note_failure(str(exc))
            raise
        self._warm_since_s = self._clock.monotonic_s()
        said: float | None = getattr(engine, "load_s", None)
        self.load_s = said if said is not None else self._warm_since_s - began_s
        self.reason = None
        self._tell()
        return endpoint

    async def _fresh(self, spec: LaunchSpec) -> Engine:
        """Return an engine for ``spec``: the one there is, if it is of that size."""
        if self._engine is not None and spec == self.spec:
            return self._engine
        if self._engine is not None:
            await self._engine.stop()
        self._engine, self.spec = self._make(spec), spec
        return self._engine

    async def _mind(self) -> None:
        """Wait for it to die, and bring it back, until it is put to rest or given up."""
        while True:
            await self._down()
            if self.state != "failed":
                return
            if self._clock.monotonic_s() - self._warm_since_s >= self._backoff.stable_s:
                self._failures = 0
            self._note_failure(_reason(self._engine) or f"{self.deployment} died")
            try:
                await self._shared.run(self._come_back)
            except EngineError:  # given up: it says why to whoever asks for it
                return

    async def _come_back(self) -> Endpoint:
        """Start it again and again, with growing pauses.

        Raises:
            EngineError: it failed too often in a row.
        """
        while self._failures <= self._backoff.limit:
            await self._clock.sleep(self._backoff.delay_s(self._failures))
            with contextlib.suppress(EngineError):
                endpoint = await self._attempt()
                self.restarts += 1
                return endpoint
        message = f"{self.reason}; it failed {self._failures} times in a row"
        raise EngineError(message)

    async def _down(self) -> None:
        """Return when it is not warm any more."""
        engine = self._engine
        if isinstance(engine, Watched):
            await engine.ended()
            return
        while self.state == "warm":
            await self._clock.sleep(_POLL_S)

    def _note_failure(self, reason: str) -> None:
        """Count a failure, and when it may be tried again."""
        self._failures += 1
        self.reason = reason
        delay_s = self._backoff.delay_s(self._failures)
        self._not_before_s = self._clock.monotonic_s() + delay_s
        self._tell()

    def _tell(self) -> None:
        """Tell whoever wants to know where it stands."""
        self._on_change(self.deployment, self.state, self.reason)


def _reason(engine: Engine | None) -> str | None:
    """Return why it died, if it can say."""
    said: str | None = getattr(engine, "reason", None)
    return said
