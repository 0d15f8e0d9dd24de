"""A systemd unit: started to wake, stopped to sleep, of the user or of the system.

A user's units need no rights. For the system's, let the gateway's account manage this one unit by
a polkit rule; without it ``systemctl`` refuses, which is said and harms nobody.
"""

__all__ = ["Options", "Systemd", "create"]

from typing import Annotated, Literal

from msgspec import Meta, Struct

from metabolic.core.errors import EngineError
from metabolic.core.fleet import Endpoint
from metabolic.engines.control import ask, command
from metabolic.engines.hand import Handled, Timing

_UNIT = r"^[A-Za-z0-9][A-Za-z0-9:_.\\@-]*$"
_UP, _DOWN = frozenset({"active", "reloading"}), frozenset({"inactive", "failed", "deactivating"})


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``unit`` with its suffix; ``scope`` whose it is. ``health`` is a path from the origin.

    A unit that is active and answers its health path is awake; ``None``: active is enough.
    """

    unit: Annotated[str, Meta(pattern=_UNIT, max_length=256)]
    scope: Literal["user", "system"] = "user"
    systemctl: Annotated[str, Meta(min_length=1)] = "systemctl"
    health: Annotated[str, Meta(pattern="^/")] | None = "/health"
    timing: Timing = Timing()


def create(options: Options, *, endpoint: Endpoint) -> Handled:
    """Return the engine at ``endpoint`` with its hand; nothing is asked yet."""
    return Handled(Systemd(options, endpoint), endpoint, options.timing)


class Systemd:
    """The hand of one unit."""

    def __init__(self, options: Options, endpoint: Endpoint) -> None:
        """Take the unit and where it listens."""
        self._options = options
        self._root = endpoint.base_url.rstrip("/").removesuffix("/v1")

    async def wake(self) -> None:
        """Start the unit."""
        await self._do("start", self._options.timing.wake_s)

    async def rest(self) -> None:
        """Stop the unit."""
        await self._do("stop", self._options.timing.sleep_s)

    async def look(self) -> bool | None:
        """Say whether the unit is active and its engine answers."""
        said = await self._say("is-active", self._options.timing.look_s)
        state = said.splitlines()[-1].strip() if said else ""
        if state in _DOWN:
            return False
        if state not in _UP:
            if state == "activating":
                return None
            message = f"systemctl does not know {self._options.unit}: {said or 'no answer'}"
            raise EngineError(message)
        return await self._healthy()

    async def _healthy(self) -> bool | None:
        """Say whether the engine of an active unit answers yet."""
        if self._options.health is None:
            return True
        try:
            answer = await ask(
                f"{self._root}{self._options.health}", timeout_s=self._options.timing.look_s
            )
        except EngineError:
            return None
        return True if answer.ok else None

    async def _do(self, verb: str, timeout_s: float) -> None:
        """Start or stop it. Raises ``EngineError``."""
        status, said = await command(self._argv(verb), timeout_s=timeout_s)
        if status:
            message = f"systemctl {verb} {self._options.unit}: {said or f'status {status}'}"
            raise EngineError(message)

    async def _say(self, verb: str, timeout_s: float) -> str:
        """Return what systemctl says of it; its status is told by the words too."""
        _, said = await command(self._argv(verb), timeout_s=timeout_s)
        return said

    def _argv(self, verb: str) -> tuple[str, ...]:
        """Return the command."""
        options = self._options
        return options.systemctl, f"--{options.scope}", "--no-ask-password", verb, options.unit
