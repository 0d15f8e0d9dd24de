"""An engine that somebody else runs: any OpenAI-compatible base URL.

There is nothing to start: it is warm as soon as it is asked for. Whether it answers is for its
backend's health check to say.
"""

__all__ = ["External", "Options", "create"]

from msgspec import Struct

from metabolic.core.errors import EngineError
from metabolic.core.fleet import Endpoint, LaunchSpec, State


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where it listens; ``model`` is its name there, ``None`` the deployment's own.

    ``base_url`` ends in ``/v1`` as a rule. ``api_key`` is the key itself.
    """

    base_url: str
    model: str | None = None
    api_key: str | None = None
    backend: str = "openai"

    def __repr__(self) -> str:
        """Show all but the key."""
        return f"Options({self.base_url!r}, model={self.model!r}, backend={self.backend!r})"


def create(options: Options, *, spec: LaunchSpec) -> "External":
    """Return the engine; of ``spec`` only the deployment's name matters."""
    return External(options, spec)


class External:
    """A server that is already running."""

    def __init__(self, options: Options, spec: LaunchSpec) -> None:
        self.deployment = spec.deployment
        self._state: State = "stopped"
        self._endpoint = Endpoint(
            deployment=spec.deployment,
            base_url=options.base_url.rstrip("/"),
            model=options.model or spec.deployment,
            api_key=options.api_key,
            backend=options.backend,
        )

    @property
    def state(self) -> State:
        """Return whether it is in use: there is nothing of it here."""
        return self._state

    @property
    def endpoint(self) -> Endpoint | None:
        """Return where it listens; ``None`` unless warm."""
        return self._endpoint if self._state == "warm" else None

    async def start(self) -> Endpoint:
        """Return where it listens.

        Raises:
            EngineError: the base URL is not one of HTTP.
        """
        if not self._endpoint.base_url.startswith(("http://", "https://")):
            message = f"{self.deployment}: {self._endpoint.base_url} is not an HTTP URL"
            raise EngineError(message)
        self._state = "warm"
        return self._endpoint

    async def sleep(self) -> None:
        """Do not use it for now; it goes on running."""
        self._state = "asleep"

    async def stop(self) -> None:
        """Do not use it any more; it goes on running."""
        self._state = "stopped"
