"""An answer in OpenAI's words, whole or a chunk, as the renderers of other dialects read it."""

__all__ = ["Call", "Choice", "Completion", "Function", "Message", "Tokens", "read", "read_events"]

from typing import Any

import msgspec
from msgspec import Raw, Struct


class Function(Struct, frozen=True, gc=False):
    """What a tool call names."""

    name: str | None = None
    arguments: str | None = None


class Call(Struct, frozen=True, gc=False):
    """A tool call, or a piece of one."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None


class Message(Struct, frozen=True, gc=False):
    """A message, or what a chunk adds to it; ``thinking_blocks`` are Anthropic's, signed."""

    content: str | list[dict[str, Any]] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[Call] | None = None
    thinking_blocks: list[dict[str, Any]] | None = None

    @property
    def text(self) -> str:
        """Return the content as one text, however it is written."""
        if isinstance(self.content, list):
            return "".join(str(part.get("text") or "") for part in self.content)
        return self.content or ""

    @property
    def thought(self) -> str:
        """Return the reasoning, by whichever name."""
        return self.reasoning_content or self.reasoning or ""


class Choice(Struct, frozen=True, gc=False):
    """One choice."""

    index: int = 0
    message: Message | None = None
    delta: Message | None = None
    finish_reason: str | None = None


class _InputDetails(Struct, frozen=True, gc=False):
    cached_tokens: int | None = None


class _OutputDetails(Struct, frozen=True, gc=False):
    reasoning_tokens: int | None = None


class Tokens(Struct, frozen=True, gc=False):
    """``usage``; details that are absent are 0."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None

    @property
    def cached(self) -> int:
        """Return the input tokens that came from the prompt cache."""
        details = self.prompt_tokens_details
        return (details.cached_tokens or 0) if details is not None else 0

    @property
    def reasoned(self) -> int:
        """Return the output tokens that were reasoning."""
        details = self.completion_tokens_details
        return (details.reasoning_tokens or 0) if details is not None else 0


class Completion(Struct, frozen=True, gc=False):
    """A chat completion, or a chunk of one; ``type`` is only in Anthropic's own messages."""

    id: str = ""
    type: str = ""
    model: str = ""
    created: float = 0
    choices: list[Choice] | None = None
    usage: Tokens | None = None
    metabolic: Raw = Raw(b"")


_decoder = msgspec.json.Decoder(Completion)


def read(body: bytes) -> Completion:
    """Return a whole answer. Raises ``msgspec.MsgspecError`` when it is none."""
    return _decoder.decode(body)


def read_events(events: bytes) -> list[Completion]:
    """Return the chunks in whole SSE events; what holds none is left out."""
    return [
        _decoder.decode(line[5:])
        for line in events.splitlines()
        if line.startswith(b"data:") and not line.endswith(b"[DONE]")
    ]
