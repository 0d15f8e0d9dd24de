"""What a fake server says, and where: OpenAI's dialect, which the fakes of others change."""

__all__ = ["CHAT", "TEXT", "VECTORS", "Dialect", "Seen"]

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from metabolic.testing import fakeanswers, faults

CHAT, TEXT, VECTORS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"


class Seen(Struct, frozen=True, kw_only=True):
    """One request as it came in; ``at_s`` is monotonic time, header names are lower case."""

    at_s: float
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    model: str = ""

    def header(self, name: str) -> str | None:
        """Return a header's value; ``None`` when it was not sent."""
        return next((value for key, value in self.headers if key == name), None)


class Dialect:
    """OpenAI's dialect; a server is one, so that a fake of another overrides what differs.

    It goes on with an answer where it is asked to (``continue_final_message``), as vLLM does;
    ``continues``: from any last assistant message, as llama.cpp does.
    """

    continues = False

    def __init__(
        self,
        *,
        answers: Mapping[str, str] | None = None,
        api_key: str | None = None,
        models: tuple[str, ...] = ("fake",),
    ) -> None:
        """``answers`` go by the model's name; with ``api_key`` a request without it is a 401."""
        self.answers = dict(answers or {})
        self.api_key = api_key
        self.models = models
        self.healthy = True

    def page(self, path: str) -> tuple[int, bytes] | None:
        """Return status and body of a page that is read; ``None``: there is none."""
        match path:
            case "/health":
                return (200 if self.healthy else 503), b'{"status":"ok"}'
            case "/v1/models":
                names = [{"id": name, "object": "model"} for name in self.models]
                return 200, msgspec.json.encode({"object": "list", "data": names})
            case _:
                return None

    def kind_of(self, path: str) -> str | None:
        """Return what is asked for at a path; ``None``: nothing is served there."""
        return path if path in {CHAT, TEXT, VECTORS} else None

    def admits(self, seen: Seen) -> bool:
        """Say whether a request shows the key, if one is needed."""
        return self.api_key is None or seen.header("authorization") == f"Bearer {self.api_key}"

    def model_of(self, ask: Mapping[str, Any], seen: Seen) -> str:  # noqa: ARG002 - others look
        """Return the model a request names."""
        return str(ask.get("model", ""))

    def error_body(self, status: int, message: str) -> bytes:  # noqa: ARG002 - others say it
        """Return an error as this dialect says it."""
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
        return msgspec.json.encode({"error": error})

    def scene(self, ask: dict[str, Any], kind: str, *, model: str) -> faults.Scene:
        """Return the healthy answer to a request."""
        if kind == VECTORS:
            return faults.Scene(streamed=False, body=fakeanswers.embeddings_body(ask), events=())
        text, logprob = self.says(model)
        text = self.goes_on(ask, text)
        told = fakeanswers.tell(ask, text=text, logprob=logprob)
        chat = kind == CHAT
        streamed = ask.get("stream") is True
        return faults.Scene(
            streamed=streamed,
            body=b"" if streamed else fakeanswers.chat_body(ask, told, chat=chat),
            events=tuple(fakeanswers.chat_events(ask, told, chat=chat)) if streamed else (),
        )

    def goes_on(self, ask: Mapping[str, Any], text: str) -> str:
        """Return the rest of a text where a request brings its beginning, else all of it."""
        given = fakeanswers.going_on(ask, by_itself=self.continues)
        return fakeanswers.rest(text, given, str(ask.get("prompt") or ""))

    def says(self, model: str) -> tuple[str, float]:
        """Return a model's text and the log-probability of each token."""
        word, _, said = model.partition(":")
        text = said if word == "say" else self.answers.get(model, fakeanswers.TEXT)
        return text, -3.0 if word == "doubt" else -0.05

    def turn(
        self,
        ask: Mapping[str, Any],  # noqa: ARG002 - others look at it
        scene: faults.Scene,  # noqa: ARG002 - others look at it
    ) -> Callable[[faults.Line], Awaitable[None]] | None:
        """Return how a healthy answer is given if it takes its time; ``None``: at once."""
        return None
