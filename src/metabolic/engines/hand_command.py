"""Commands of one's own: scale a Kubernetes deployment, start a virtual machine, run a script.

Three argument lists; no shell reads them. In each argument ``{deployment}``, ``{model}`` and
``{base_url}`` are replaced. ``wake`` and ``sleep`` succeed with status 0. ``look`` says by its
status: 0 is awake, anything else asleep; without one, a health path is asked.
"""

__all__ = ["Command", "Options", "create"]

from typing import Annotated

from msgspec import Meta, Struct

from metabolic.core.errors import EngineError
from metabolic.core.fleet import Endpoint
from metabolic.engines.control import ask, command
from metabolic.engines.hand import Handled, Timing

Argv = Annotated[tuple[str, ...], Meta(min_length=1, max_length=64)]


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The commands; ``health`` is a path from the origin that a waking engine must answer."""

    wake: Argv
    sleep: Argv
    look: Argv | None = None
    health: Annotated[str, Meta(pattern="^/")] | None = "/health"
    timing: Timing = Timing()


def create(options: Options, *, endpoint: Endpoint) -> Handled:
    """Return the engine at ``endpoint`` with its hand; nothing is run yet."""
    return Handled(Command(options, endpoint), endpoint, options.timing)


class Command:
    """The hand of an engine that commands wake and put to sleep."""

    def __init__(self, options: Options, endpoint: Endpoint) -> None:
        """Fill the names into the commands."""
        self._options, self._endpoint = options, endpoint
        self._root = endpoint.base_url.rstrip("/").removesuffix("/v1")

    async def wake(self) -> None:
        """Run ``wake``."""
        await self._do(self._options.wake, self._options.timing.wake_s)

    async def rest(self) -> None:
        """Run ``sleep``."""
        await self._do(self._options.sleep, self._options.timing.sleep_s)

    async def look(self) -> bool | None:
        """Run ``look``, and ask the health path of what should be awake."""
        timing = self._options.timing
        if self._options.look is not None:
            status, _ = await command(self._argv(self._options.look), timeout_s=timing.look_s)
            if status:
                return False
        if self._options.health is None:
            return True
        try:
            answer = await ask(f"{self._root}{self._options.health}", timeout_s=timing.look_s)
        except EngineError:
            return False if self._options.look is None else None
        return True if answer.ok else None

    async def _do(self, argv: tuple[str, ...], timeout_s: float) -> None:
        """Run one. Raises ``EngineError``."""
        status, said = await command(self._argv(argv), timeout_s=timeout_s)
        if status:
            message = f"{argv[0]} for {self._endpoint.deployment}: {said or f'status {status}'}"
            raise EngineError(message)

    def _argv(self, argv: tuple[str, ...]) -> list[str]:
        """Return the arguments with the names filled in."""
        names = {
            "{deployment}": self._endpoint.deployment,
            "{model}": self._endpoint.model,
            "{base_url}": self._endpoint.base_url,
        }
        return [_filled(one, names) for one in argv]


def _filled(text: str, names: dict[str, str]) -> str:
    """Return an argument with every placeholder replaced."""
    for mark, name in names.items():
        text = text.replace(mark, name)
    return text
