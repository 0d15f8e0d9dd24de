"""The parts of OpenAI's answers that Metabolic reads, whole and streamed, as msgspec types.

Everything else in an answer is skipped. The same types read what llama.cpp, vLLM, SGLang, Ollama
and the hosted APIs write; where they differ, both spellings are fields.
"""

__all__ = [
    "Answered",
    "AnsweredTops",
    "Chunk",
    "ChunkChoice",
    "ChunkTops",
    "Lean",
    "Logprobs",
    "Said",
    "Timings",
    "Tokens",
    "ToolDelta",
    "drafts_of",
    "text_of",
    "usage_of",
]

from typing import Any

from msgspec import Raw, Struct

from metabolic.core.request import Usage
from metabolic.core.speculation import Drafts


class _InputDetails(Struct, frozen=True, gc=False):
    cached_tokens: int | None = None


class _OutputDetails(Struct, frozen=True, gc=False):
    reasoning_tokens: int | None = None


class Tokens(Struct, frozen=True, gc=False):
    """``usage``; DeepSeek says ``prompt_cache_hit_tokens`` for cached tokens."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None
    prompt_cache_hit_tokens: int | None = None


class Timings(Struct, frozen=True, gc=False):
    """llama.cpp's own count: ``prompt_n`` are the tokens it computed, ``cache_n`` those it had.

    ``draft_n`` is there only when something was drafted.
    """

    cache_n: int | None = None
    prompt_n: int | None = None
    predicted_n: int | None = None
    predicted_ms: float | None = None
    draft_n: int | None = None
    draft_n_accepted: int | None = None


class _Token(Struct, frozen=True, gc=False):
    logprob: float | None = None


class Logprobs(Struct, frozen=True, gc=False):
    """Chat says ``content``, text completions say ``token_logprobs``."""

    content: list[_Token] | None = None
    token_logprobs: list[float | None] | None = None

    def values(self) -> list[float]:
        """Return the log-probabilities in nats; tokens without one are left out."""
        if self.content is not None:
            return [token.logprob for token in self.content if token.logprob is not None]
        return [value for value in self.token_logprobs or () if value is not None]

    def tops(self) -> list[tuple[float, ...]]:
        """Return the log-probabilities of the likeliest tokens; nothing unless they were read."""
        return []

    def tokens(self) -> list[str]:
        """Return the text of each token; nothing unless it was read."""
        return []


class _Function(Struct, frozen=True, gc=False):
    name: str | None = None
    arguments: str | None = None


class ToolDelta(Struct, frozen=True, gc=False):
    """A tool call, or a piece of one; ``index`` says which."""

    index: int | None = None
    id: str | None = None
    function: _Function | None = None
    custom: _Function | None = None


class _Part(Struct, frozen=True, gc=False):
    text: str | None = None


class Said(Struct, frozen=True, gc=False):
    """A message, or what a chunk adds to it."""

    content: str | list[_Part] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolDelta] | None = None
    function_call: _Function | None = None


class ChunkChoice(Struct, frozen=True, gc=False):
    """A choice: ``message`` in a whole answer, ``delta`` in a chunk, ``text`` in completions."""

    index: int = 0
    message: Said | None = None
    delta: Said | None = None
    text: str | None = None
    logprobs: Logprobs | None = None
    finish_reason: str | None = None


class Chunk(Struct, frozen=True, gc=False):
    """One chunk of a stream, in full."""

    choices: list[ChunkChoice] | None = None
    usage: Tokens | None = None
    timings: Timings | None = None
    error: Any = None


class _Top(Struct, frozen=True, gc=False):
    logprob: float | None = None
    token: str = ""
    top_logprobs: list[_Token] | None = None


class _Tops(Logprobs, frozen=True, gc=False):
    """Log-probabilities with the likeliest tokens: read only where they were asked for."""

    content: list[_Top] | None = None  # pyright: ignore[reportIncompatibleVariableOverride]

    def tops(self) -> list[tuple[float, ...]]:
        """Return the log-probabilities of the likeliest tokens at each position."""
        return [
            tuple([top.logprob for top in one.top_logprobs or () if top.logprob is not None])
            for one in self.content or ()
            if one.logprob is not None
        ]

    def tokens(self) -> list[str]:
        """Return the text of each token."""
        return [one.token for one in self.content or () if one.logprob is not None]


class _TopsChoice(ChunkChoice, frozen=True, gc=False):
    logprobs: _Tops | None = None


class ChunkTops(Chunk, frozen=True, gc=False):
    """A chunk with the likeliest tokens."""

    choices: list[_TopsChoice] | None = None  # pyright: ignore[reportIncompatibleVariableOverride]


class Answered(Chunk, frozen=True, gc=False):
    """A whole answer; ``data`` are an embeddings answer's vectors, which are not read."""

    data: list[Raw] | None = None


class AnsweredTops(Answered, frozen=True, gc=False):
    """A whole answer with the likeliest tokens."""

    choices: list[_TopsChoice] | None = None  # pyright: ignore[reportIncompatibleVariableOverride]


class _LeanChoice(Struct, frozen=True, gc=False):
    index: int = 0
    finish_reason: str | None = None


class Lean(Struct, frozen=True, gc=False):
    """One chunk of a stream that is only passed on."""

    choices: list[_LeanChoice] | None = None
    usage: Tokens | None = None
    timings: Timings | None = None
    error: Any = None


def text_of(content: str | list[_Part] | None) -> str:
    """Return content as one text, however it is written."""
    if isinstance(content, list):
        return "".join(part.text or "" for part in content)
    return content or ""


def usage_of(tokens: Tokens | None, timings: Timings | None) -> Usage:
    """Return the usage as reported; llama.cpp's timings fill what ``usage`` leaves open."""
    cached = reasoning = given = taken = None
    if tokens is not None:
        given, taken = tokens.prompt_tokens, tokens.completion_tokens
        if tokens.prompt_tokens_details is not None:
            cached = tokens.prompt_tokens_details.cached_tokens
        if cached is None:
            cached = tokens.prompt_cache_hit_tokens
        if tokens.completion_tokens_details is not None:
            reasoning = tokens.completion_tokens_details.reasoning_tokens
    if timings is not None:
        cached = timings.cache_n if cached is None else cached
        taken = timings.predicted_n if taken is None else taken
        if given is None and timings.prompt_n is not None:
            given = timings.prompt_n + (timings.cache_n or 0)
    return Usage(
        input_tokens=_count(given),
        cached_tokens=_count(cached),
        output_tokens=_count(taken),
        reasoning_tokens=_count(reasoning),
    )


def _count(tokens: int | None) -> int | None:
    """Return a count that is one; a negative one says that nobody counted."""
    return None if tokens is None or tokens < 0 else tokens


def drafts_of(timings: Timings | None) -> Drafts | None:
    """Return what llama.cpp says of drafting; ``None`` where it drafted nothing."""
    if timings is None or timings.draft_n is None:
        return None
    took_ms = timings.predicted_ms
    return Drafts(
        drafted_tokens=timings.draft_n,
        accepted_tokens=min(timings.draft_n, timings.draft_n_accepted or 0),
        decode_s=None if took_ms is None else round(took_ms / 1000, 4),
    )
