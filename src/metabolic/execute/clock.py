"""Time: the real one, and one that tests move."""

__all__ = ["ManualClock", "RealClock"]

import asyncio
import heapq
import time


class RealClock:
    """The machine's clock."""

    now_s = staticmethod(time.time)
    monotonic_s = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class ManualClock:
    """A clock that stands still until ``advance`` moves it."""

    def __init__(self, at_s: float = 1_000_000.0) -> None:
        """Start at ``at_s``, for both kinds of time."""
        self._at_s = at_s
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def now_s(self) -> float:
        """Return seconds since the epoch."""
        return self._at_s

    def monotonic_s(self) -> float:
        """Return seconds that never go back."""
        return self._at_s

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock was moved that far."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self._at_s + seconds, self._count, future))
        await future

    async def advance(self, seconds: float) -> None:
        """Move the clock, waking sleepers in order and letting each run."""
        until_s = self._at_s + seconds
        while self._sleepers and self._sleepers[0][0] <= until_s:
            self._at_s, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)
            for _ in range(5):
                await asyncio.sleep(0)
        self._at_s = until_s
        await asyncio.sleep(0)
