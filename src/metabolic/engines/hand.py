"""An engine that somebody else started and that Metabolic may put to sleep: its *hand*.

A hand knows three things: to wake it, to put it to sleep, and to look which it is. The engine
around it is the same for all: starts are shared, every step has a time limit, what goes wrong is
an ``EngineError``, and nothing here ever fails a request that the engine could answer. What the
gateway lets go of goes on running: ``stop`` leaves the engine as it stands.

Waking is timed only when it really slept, and ends when the engine is seen awake, not when the
order was taken.
"""

__all__ = ["Hand", "Handled", "NotOffered", "Timing"]

import asyncio
from collections.abc import Awaitable
from typing import Protocol, TypeVar

from msgspec import Struct

from metabolic.core.errors import EngineError
from metabolic.core.fleet import Endpoint, State
from metabolic.engines.shared import Shared

Result = TypeVar("Result")


class NotOffered(EngineError):
    """The engine runs, and has no sleep to offer: it counts as awake."""


class Timing(Struct, frozen=True, kw_only=True):
    """Seconds: for waking, for falling asleep, for one look, and between looks while it wakes."""

    wake_s: float = 300.0
    sleep_s: float = 60.0
    look_s: float = 5.0
    poll_s: float = 0.25


class Hand(Protocol):
    """What differs between hands. All raise ``EngineError``, and ``NotOffered`` where it is."""

    async def wake(self) -> None:
        """Order it to wake; it may take longer than this."""
        ...

    async def rest(self) -> None:
        """Put it to sleep."""
        ...

    async def look(self) -> bool | None:
        """Say whether it is awake; ``None``: it is on its way."""
        ...


class Handled:
    """An engine with a hand; ``load_s`` is how long its last waking took, ``None`` if it was up.

    ``reason`` says why it failed, or why it cannot sleep.
    """

    def __init__(self, hand: Hand, endpoint: Endpoint, timing: Timing) -> None:
        """Take the hand; nothing is asked before ``look`` or ``start``."""
        self.deployment = endpoint.deployment
        self.load_s: float | None = None
        self.reason: str | None = None
        self.start_timeout_s = timing.wake_s
        self._hand, self._endpoint, self._timing = hand, endpoint, timing
        self._state: State = "stopped"
        self._shared: Shared[Endpoint] = Shared()

    @property
    def state(self) -> State:
        """Return where it stood when it was last looked at."""
        return self._state

    @property
    def endpoint(self) -> Endpoint | None:
        """Return where it listens; ``None`` unless warm."""
        return self._endpoint if self._state == "warm" else None

    async def look(self) -> State:
        """See whether others have woken it or put it to sleep; never raises."""
        if self._shared.running:
            return self._state
        before = self._state
        try:
            awake = await self._in_time(self._hand.look(), self._timing.look_s, "to say its state")
        except NotOffered as exc:
            awake, self.reason = True, str(exc)
        except EngineError as exc:
            self._state, self.reason = "failed", str(exc)
            return self._state
        if not self._shared.running and self._state == before:
            self._state = "warm" if awake else "starting" if awake is None else "asleep"
        return self._state

    async def start(self) -> Endpoint:
        """Wake it, unless it is awake.

        Raises:
            EngineError: it cannot be reached, refuses, or takes too long.
        """
        return self.endpoint or await self._shared.run(self._start)

    async def sleep(self) -> None:
        """Put it to sleep; one that has no sleep to offer stays warm.

        Raises:
            EngineError: it refuses or takes too long; it is looked at again before its next use.
        """
        await self._shared.cancel()
        if self._state == "asleep":
            return
        try:
            await self._in_time(self._hand.rest(), self._timing.sleep_s, "to fall asleep")
        except EngineError as exc:
            self.reason = str(exc)
            raise
        self._state = "asleep"

    async def stop(self) -> None:
        """Let go of it; it goes on running, or sleeping."""
        await self._shared.cancel()
        self._state = "stopped"

    async def _start(self) -> Endpoint:
        """Look; wake it if it sleeps; wait until it is seen awake."""
        self._state, self.load_s, self.reason = "starting", None, None
        loop = asyncio.get_running_loop()
        try:
            began_s = loop.time()
            slept = await self._in_time(self._wake(), self._timing.wake_s, "to wake")
        except EngineError as exc:
            self._state, self.reason = "failed", str(exc)
            raise
        except asyncio.CancelledError:
            self._state = "stopped"
            raise
        self._state, self.load_s = "warm", loop.time() - began_s if slept else None
        return self._endpoint

    async def _wake(self) -> bool:
        """Wake it and wait; return whether it had slept."""
        if await self._awake():  # a unit that is stopped may not answer at all: waking will tell
            return False
        await self._hand.wake()
        awake = await self._awake()
        while not awake:
            await asyncio.sleep(self._timing.poll_s)
            awake = await self._awake()
        return True

    async def _awake(self) -> bool:
        """Say whether it is seen awake; who does not answer yet is not."""
        try:
            return bool(await self._hand.look())
        except NotOffered as exc:
            self.reason = str(exc)
            return True
        except EngineError:
            return False

    async def _in_time(self, work: Awaitable[Result], seconds: float, what: str) -> Result:
        """Wait so long. Raises ``EngineError``."""
        try:
            async with asyncio.timeout(seconds):
                return await work
        except TimeoutError as exc:
            message = f"{self.deployment} took longer than {seconds:g} s {what}"
            raise EngineError(message) from exc
