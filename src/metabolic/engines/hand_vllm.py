"""vLLM's sleep mode: weights leave the GPU, the server stays.

Level 1 keeps the weights in the host's memory and wakes within seconds; level 2 drops them, and
waking must load them again. Needs a server started with ``--enable-sleep-mode`` and
``VLLM_SERVER_DEV_MODE=1``; any other counts as always awake, and says so once.

Source: vLLM, docs/features/sleep_mode.md; vllm/entrypoints/serve/sleep/api_router.py.
"""

__all__ = ["Options", "Vllm", "create"]

from typing import Annotated, Literal, cast

from msgspec import Meta, Struct

from metabolic.core.errors import EngineError
from metabolic.core.fleet import Endpoint
from metabolic.engines.control import Answer, ask
from metabolic.engines.hand import Handled, NotOffered, Timing

_ABSENT = frozenset({404, 405})
_HOW = "start it with --enable-sleep-mode and VLLM_SERVER_DEV_MODE=1"


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``level`` 1 keeps the weights in host memory, 2 drops them; ``timing`` bounds every step."""

    level: Literal[1, 2] = 1
    control_url: Annotated[str, Meta(min_length=1)] | None = None
    timing: Timing = Timing()


def create(options: Options, *, endpoint: Endpoint) -> Handled:
    """Return the engine at ``endpoint`` with its hand; nothing is asked yet."""
    return Handled(Vllm(options, endpoint), endpoint, options.timing)


class Vllm:
    """The hand of one vLLM server."""

    def __init__(self, options: Options, endpoint: Endpoint) -> None:
        """Take where it listens; ``control_url`` where that is not its API's origin."""
        root = options.control_url or endpoint.base_url.rstrip("/").removesuffix("/v1")
        self._root, self._key, self._level = root.rstrip("/"), endpoint.api_key, options.level
        self._timing = options.timing

    async def wake(self) -> None:
        """Wake it; at level 2 the weights come back from disk first."""
        self._good(await self._ask("/wake_up", "POST", self._timing.wake_s), "wake up")

    async def rest(self) -> None:
        """Put it to sleep at the level."""
        path = f"/sleep?level={self._level}"
        self._good(await self._ask(path, "POST", self._timing.sleep_s), "sleep")

    async def look(self) -> bool | None:
        """Say whether it is awake."""
        answer = await self._ask("/is_sleeping", "GET", self._timing.look_s)
        self._good(answer, "say whether it sleeps")
        said = answer.body
        if not isinstance(said, dict):
            return True
        return not cast("dict[str, object]", said).get("is_sleeping", False)

    async def _ask(self, path: str, method: str, timeout_s: float) -> Answer:
        """Ask its control plane."""
        return await ask(
            f"{self._root}{path}", method=method, api_key=self._key, timeout_s=timeout_s
        )

    def _good(self, answer: Answer, what: str) -> None:
        """Raise ``EngineError`` unless it did what it was asked."""
        if answer.status in _ABSENT:
            message = f"{self._root} has no sleep mode: {_HOW}"
            raise NotOffered(message)
        if not answer.ok:
            message = f"{self._root} did not {what}: HTTP {answer.status}"
            raise EngineError(message)
