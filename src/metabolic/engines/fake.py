"""An engine in memory that does what it is told, for tests and the simulator."""

__all__ = ["Fake", "Options", "create"]

import asyncio

from msgspec import Struct

from metabolic.core.errors import EngineError
from metabolic.core.fleet import Endpoint, LaunchSpec, State
from metabolic.engines.shared import Shared


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How it behaves: ``fail_starts`` is how many starts fail before one succeeds."""

    base_url: str = "http://127.0.0.1:9/v1"
    backend: str = "fake"
    fail_starts: int = 0
    load_s: float = 1.0


def create(options: Options, *, spec: LaunchSpec) -> "Fake":
    """Return a fake engine for ``spec``."""
    return Fake(options, spec)


class Fake:
    """Counts what is asked of it; can be held while starting, and made to crash.

    ``starts``, ``sleeps`` and ``stops`` count what was done. ``load_s`` is what it says a start
    took. Clear ``gate`` to hold every start until it is set again.
    """

    def __init__(self, options: Options, spec: LaunchSpec) -> None:
        self.deployment = spec.deployment
        self.spec = spec
        self.starts = 0
        self.sleeps = 0
        self.stops = 0
        self.load_s: float | None = None
        self.reason: str | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self._options = options
        self._fail = options.fail_starts
        self._state: State = "stopped"
        self._shared: Shared[Endpoint] = Shared()
        self._down = asyncio.Event()

    @property
    def state(self) -> State:
        """Return where it stands."""
        return self._state

    @property
    def endpoint(self) -> Endpoint | None:
        """Return where it would listen; ``None`` unless warm."""
        if self._state != "warm":
            return None
        return Endpoint(
            deployment=self.deployment,
            base_url=self._options.base_url,
            model=self.deployment,
            backend=self._options.backend,
        )

    @property
    def pid(self) -> int | None:
        """Return ``None``: there is no process."""
        return None

    async def start(self) -> Endpoint:
        """Become warm, once ``gate`` is open.

        Raises:
            EngineError: this start is one of those that are to fail.
        """
        return self.endpoint or await self._shared.run(self._start)

    async def sleep(self) -> None:
        """Fall asleep."""
        await self._end("asleep")
        self.sleeps += 1

    async def stop(self) -> None:
        """Stop."""
        await self._end("stopped")
        self.stops += 1

    async def ended(self) -> None:
        """Return when it is not warm any more."""
        await self._down.wait()

    def crash(self, reason: str = "was killed by SIGKILL") -> None:
        """Die, as a process would."""
        self._state = "failed"
        self.reason = f"{self.deployment} {reason}"
        self._down.set()

    async def _start(self) -> Endpoint:
        """Count, wait for the gate, succeed or fail."""
        self._state, self.reason = "starting", None
        self.starts += 1
        await self.gate.wait()
        if self._fail > 0:
            self._fail -= 1
            self._state, self.reason = "failed", f"{self.deployment} did not start: as told"
            raise EngineError(self.reason)
        self._state, self.load_s, self._down = "warm", self._options.load_s, asyncio.Event()
        endpoint = self.endpoint
        assert endpoint is not None
        return endpoint

    async def _end(self, state: State) -> None:
        """End what runs, and stand at ``state``."""
        await self._shared.cancel()
        self._state = state
        self._down.set()
