"""The parts of Anthropic's answers that Metabolic reads, whole and streamed, as msgspec types."""

__all__ = ["Block", "Delta", "Event", "Said", "Tokens", "finish_of", "usage_of"]

from typing import Any

from msgspec import Raw, Struct

from metabolic.core.request import Usage

_FINISH = {
    "end_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "stop",
    "refusal": "content_filter",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
}
"""Source: Anthropic, "Handling stop reasons"; OpenAI, chat completions, ``finish_reason``."""


class Tokens(Struct, frozen=True, gc=False):
    """``usage``: ``input_tokens`` leaves out what was read from, or written to, the cache."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None


class Block(Struct, frozen=True, gc=False):
    """A content block; ``input`` is a tool's arguments as they were written."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: Raw = Raw(b"{}")


class Delta(Struct, frozen=True, gc=False):
    """What an event adds to a block, or to the message."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None


class Said(Struct, frozen=True, gc=False):
    """A whole message, or the beginning of a streamed one."""

    id: str = ""
    model: str = ""
    content: list[Block] | None = None
    stop_reason: str | None = None
    usage: Tokens | None = None
    error: Any = None


class Event(Struct, frozen=True, gc=False):
    """One event of a stream."""

    type: str = ""
    index: int = 0
    message: Said | None = None
    content_block: Block | None = None
    delta: Delta | None = None
    usage: Tokens | None = None
    error: Any = None


def finish_of(reason: str | None) -> str | None:
    """Return a stop reason in OpenAI's words; an unknown one is ``stop``."""
    return None if reason is None else _FINISH.get(reason, "stop")


def usage_of(first: Tokens | None, last: Tokens | None = None) -> Usage:
    """Return the usage; of a stream the last word on each count holds, the first where none is.

    Source: Anthropic, "Prompt caching": all input = read + created + ``input_tokens``.
    """

    def count(name: str) -> int | None:
        for tokens in (last, first):
            value: int | None = None if tokens is None else getattr(tokens, name)
            if value is not None:
                return value
        return None

    fresh, cached = count("input_tokens"), count("cache_read_input_tokens")
    created = count("cache_creation_input_tokens")
    whole = None if fresh is None else fresh + (cached or 0) + (created or 0)
    return Usage(input_tokens=whole, cached_tokens=cached, output_tokens=count("output_tokens"))
