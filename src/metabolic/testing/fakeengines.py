"""A fake of each engine: its paths, its key's header, its metrics page, its errors, its pace.

``async with FakeEngine("vllm") as engine`` listens on loopback. What it says is the fake server's,
faults included; how long it takes, and what its metrics say, is a model of slots and KV cache, see
``EngineSim``. ``base_url`` is what a ``[[deployment]]`` of that ``engine`` takes.
"""

__all__ = ["FakeEngine"]

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from metabolic.backends.traits import find
from metabolic.testing import fakeanswers, fakemessages, fakepages, faults
from metabolic.testing.enginesim import EngineSim
from metabolic.testing.fakedialect import CHAT, TEXT, VECTORS, Seen
from metabolic.testing.fakeserver import FakeServer

MESSAGES = "/v1/messages"
_GEMINI = "/v1beta/openai"
_KINDS = {"/chat/completions": CHAT, "/completions": TEXT, "/embeddings": VECTORS}


class FakeEngine(FakeServer):
    """A server of one dialect; ``sim`` is its load."""

    def __init__(
        self,
        engine: str,
        *,
        sim: EngineSim | None = None,
        answers: Mapping[str, str] | None = None,
        api_key: str | None = None,
        models: tuple[str, ...] = ("fake",),
    ) -> None:
        """Prepare a fake of ``engine``. Raises ``ConfigError`` when there is none of that name."""
        super().__init__(answers=answers, api_key=api_key, models=models)
        self.traits = find(engine)
        self.sim = sim or EngineSim()
        self.continues = self.traits.continues == ()

    @property
    def base_url(self) -> str:
        """Return the address a deployment of this engine is configured with."""
        prefix = {"azure": "", "gemini": _GEMINI}.get(self.traits.name, "/v1")
        return f"http://127.0.0.1:{self.port}{prefix}"

    def page(self, path: str) -> tuple[int, bytes] | None:
        """Return a page as this engine has it."""
        bare = path.partition("?")[0]
        if bare == self.traits.health:
            return (200 if self.healthy else 503), b'{"status":"ok"}'
        if bare == "/health":
            return None
        if bare == self._models_path():
            return super().page("/v1/models")
        found = fakepages.page(self.traits, self.sim, path=bare, model=self.models[0])
        return None if found is None else (200, found)

    def kind_of(self, path: str) -> str | None:
        """Return what is asked for at a path of this engine."""
        bare = path.partition("?")[0]
        if self.traits.name == "anthropic":
            return MESSAGES if bare == MESSAGES else None
        if self.traits.name == "azure":
            versioned = "api-version=" in path and bare.startswith("/openai/deployments/")
            return _KINDS.get("/" + bare.split("/", 4)[-1]) if versioned else None
        if self.traits.name == "gemini":
            return _KINDS.get(bare.removeprefix(_GEMINI)) if bare.startswith(_GEMINI) else None
        return super().kind_of(path)

    def admits(self, seen: Seen) -> bool:
        """Say whether the key is in this dialect's header; Anthropic demands a version, too."""
        if self.traits.name == "anthropic" and seen.header("anthropic-version") is None:
            return False
        if self.traits.auth == "authorization" or self.api_key is None:
            return super().admits(seen)
        return seen.header(self.traits.auth) == self.api_key

    def model_of(self, ask: Mapping[str, Any], seen: Seen) -> str:
        """Return the model: Azure's is in the path."""
        if self.traits.name == "azure" and seen.path.startswith("/openai/deployments/"):
            return seen.path.split("/")[3].replace("%3A", ":")
        return super().model_of(ask, seen)

    def error_body(self, status: int, message: str) -> bytes:
        """Return an error as this dialect says it."""
        match self.traits.name:
            case "anthropic":
                kind = "authentication_error" if status == 401 else "invalid_request_error"  # noqa: PLR2004
                error = {"type": kind, "message": message}
                return msgspec.json.encode({"type": "error", "error": error})
            case "tgi":
                return msgspec.json.encode({"error": message, "error_type": "validation"})
            case "gemini":
                return b"[" + super().error_body(status, message) + b"]"
            case _:
                return super().error_body(status, message)

    def scene(self, ask: dict[str, Any], kind: str, *, model: str) -> faults.Scene:
        """Return the healthy answer in this dialect."""
        if not self.traits.logprobs:
            ask = {name: value for name, value in ask.items() if name != "logprobs"}
        if kind != MESSAGES:
            return super().scene(ask, kind, model=model)
        text, logprob = self.says(model)
        asked = fakemessages.plain(ask)
        told = fakeanswers.tell(asked, text=self.goes_on(asked, text), logprob=logprob)
        streamed = ask.get("stream") is True
        return faults.Scene(
            streamed=streamed,
            body=b"" if streamed else fakemessages.message_body(ask, told),
            events=tuple(fakemessages.message_events(ask, told)) if streamed else (),
        )

    def turn(
        self, ask: Mapping[str, Any], scene: faults.Scene
    ) -> Callable[[faults.Line], Awaitable[None]] | None:
        """Let the answer take the time the model of the engine gives it."""
        prompt = str(ask.get("messages") or ask.get("prompt") or ask.get("input") or "")
        events = scene.events if scene.streamed else ()

        async def turn(line: faults.Line) -> None:
            limit = ask.get("max_completion_tokens") or ask.get("max_tokens") or len(prompt)
            if not scene.streamed:
                tokens = min(len(fakeanswers.TEXT.split()), int(limit))
                async for _ in self.sim.run(prompt, tokens):
                    pass
                line.send(faults.head(200, length=len(scene.body)) + scene.body)
                return
            line.send(faults.head(200, faults.SSE))
            sent = 0
            async for _ in self.sim.run(prompt, len(events)):
                line.send(faults.chunk(events[sent]))
                sent += 1
            line.send(faults.chunk(b""))

        return turn

    def _models_path(self) -> str:
        if self.traits.name == "azure":
            return "/openai/models"
        return f"{_GEMINI}/models" if self.traits.name == "gemini" else "/v1/models"
