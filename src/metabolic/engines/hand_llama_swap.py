"""llama-swap: one of its models is loaded by asking for it, and unloaded by name.

Source: llama-swap, README (``/running``, ``/unload``, ``/upstream/MODEL``) and its API
(``/api/models/unload/MODEL``, since 2025); older ones unload everything or nothing.
"""

__all__ = ["LlamaSwap", "Options", "create"]

from typing import Annotated
from urllib.parse import quote

from msgspec import Meta, Struct

from metabolic.core.errors import EngineError
from metabolic.core.fleet import Endpoint
from metabolic.engines.control import ask, rows
from metabolic.engines.hand import Handled, Timing

_NOT_FOUND = frozenset({404, 405})
_ON_ITS_WAY = frozenset({"starting", "stopping"})


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``model`` is its name there (default: the deployment's); ``timing`` bounds every step."""

    model: Annotated[str, Meta(min_length=1)] | None = None
    timing: Timing = Timing()


def create(options: Options, *, endpoint: Endpoint) -> Handled:
    """Return the engine at ``endpoint`` with its hand; nothing is asked yet."""
    return Handled(LlamaSwap(options, endpoint), endpoint, options.timing)


class LlamaSwap:
    """The hand of one model behind llama-swap."""

    def __init__(self, options: Options, endpoint: Endpoint) -> None:
        """Take where llama-swap listens."""
        self._root = endpoint.base_url.rstrip("/").removesuffix("/v1")
        self._model, self._key = options.model or endpoint.model, endpoint.api_key
        self._timing = options.timing

    async def wake(self) -> None:
        """Ask for its health: llama-swap answers when the model is up."""
        url = f"{self._root}/upstream/{quote(self._model)}/health"
        answer = await ask(url, api_key=self._key, timeout_s=self._timing.wake_s)
        if not answer.ok:
            message = f"llama-swap did not load {self._model}: HTTP {answer.status}"
            raise EngineError(message)

    async def rest(self) -> None:
        """Unload this model alone; an older llama-swap only where nothing else would go too."""
        url = f"{self._root}/api/models/unload/{quote(self._model)}"
        timeout_s = self._timing.sleep_s
        answer = await ask(url, method="POST", api_key=self._key, timeout_s=timeout_s)
        if answer.status in _NOT_FOUND:
            others = sorted(set(await self._running()) - {self._model})
            if others:
                message = f"this llama-swap unloads all or nothing, and {others[0]} is loaded too"
                raise EngineError(message)
            answer = await ask(f"{self._root}/unload", api_key=self._key, timeout_s=timeout_s)
        if not answer.ok:
            message = f"llama-swap did not unload {self._model}: HTTP {answer.status}"
            raise EngineError(message)

    async def look(self) -> bool | None:
        """Say whether its model is loaded."""
        state = (await self._running()).get(self._model)
        return None if state in _ON_ITS_WAY else state is not None

    async def _running(self) -> dict[str, str]:
        """Return the models that are loaded, with their state. Raises ``EngineError``."""
        timeout_s = self._timing.look_s
        answer = await ask(f"{self._root}/running", api_key=self._key, timeout_s=timeout_s)
        found = rows(answer, "running")
        if found is None:
            message = f"{self._root}/running is no list: HTTP {answer.status}"
            raise EngineError(message)
        return {str(row.get("model")): str(row.get("state", "ready")) for row in found}
