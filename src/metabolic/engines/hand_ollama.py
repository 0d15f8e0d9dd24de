"""Ollama: a model is loaded by an empty prompt and unloaded by ``keep_alive`` 0.

While it is kept awake its ``keep_alive`` is endless, so that when it sleeps is decided here; who
asks Ollama directly sets it anew with every request.

Source: Ollama, docs/api.md (load a model, unload a model, list running models).
"""

__all__ = ["Ollama", "Options", "create"]

from typing import Annotated

from msgspec import Meta, Struct

from metabolic.core.errors import EngineError
from metabolic.core.fleet import Endpoint
from metabolic.engines.control import ask, rows
from metabolic.engines.hand import Handled, Timing

_FOR_EVER, _NOT_AT_ALL = -1, 0


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``model`` is its tag there (default: the deployment's); ``timing`` bounds every step."""

    model: Annotated[str, Meta(min_length=1)] | None = None
    timing: Timing = Timing()


def create(options: Options, *, endpoint: Endpoint) -> Handled:
    """Return the engine at ``endpoint`` with its hand; nothing is asked yet."""
    return Handled(Ollama(options, endpoint), endpoint, options.timing)


class Ollama:
    """The hand of one model of an Ollama."""

    def __init__(self, options: Options, endpoint: Endpoint) -> None:
        """Take where Ollama listens."""
        self._root = endpoint.base_url.rstrip("/").removesuffix("/v1")
        self._model, self._key = options.model or endpoint.model, endpoint.api_key
        self._timing = options.timing

    async def wake(self) -> None:
        """Load it, to stay."""
        await self._keep(_FOR_EVER, self._timing.wake_s)

    async def rest(self) -> None:
        """Unload it."""
        await self._keep(_NOT_AT_ALL, self._timing.sleep_s)

    async def look(self) -> bool | None:
        """Say whether it is in memory."""
        timeout_s = self._timing.look_s
        answer = await ask(f"{self._root}/api/ps", api_key=self._key, timeout_s=timeout_s)
        found = rows(answer, "models")
        if found is None:
            message = f"{self._root}/api/ps is no list: HTTP {answer.status}"
            raise EngineError(message)
        names = {str(one.get("name")) for one in found}
        return bool(names & {self._model, f"{self._model}:latest"})

    async def _keep(self, keep_alive: int, timeout_s: float) -> None:
        """Ask for nothing, with how long to keep the model."""
        answer = await ask(
            f"{self._root}/api/generate",
            method="POST",
            body={"model": self._model, "keep_alive": keep_alive, "stream": False},
            api_key=self._key,
            timeout_s=timeout_s,
        )
        if not answer.ok:
            message = f"Ollama did not take keep_alive for {self._model}: HTTP {answer.status}"
            raise EngineError(message)
