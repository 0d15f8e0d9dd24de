"""One running call that everybody who asks for it shares."""

__all__ = ["Shared"]

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from metabolic.core.errors import EngineError

Result = TypeVar("Result")


class Shared(Generic[Result]):
    """Runs a coroutine once for all who ask while it runs.

    A caller that is cancelled leaves the others waiting; the work itself ends only by ``cancel``.
    """

    def __init__(self) -> None:
        self._task: asyncio.Task[Result] | None = None

    @property
    def running(self) -> bool:
        """Say whether the work is under way."""
        return self._task is not None and not self._task.done()

    async def run(self, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Return the result of the running call, or of a new one.

        Raises:
            EngineError: ``cancel`` ended the call.
        """
        task = self._task
        if task is None or task.done():
            task = asyncio.create_task(work())
            task.add_done_callback(_retrieve)
            self._task = task
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            asking = asyncio.current_task()
            if not task.cancelled() or (asking is not None and asking.cancelling()):
                raise
            message = "it was stopped while it started"
            raise EngineError(message) from None

    async def cancel(self) -> None:
        """End the work, if any, and wait until it has cleaned up."""
        task, self._task = self._task, None
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait({task})


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Look at the exception, so that nobody complains that nobody did."""
    if not task.cancelled():
        task.exception()
