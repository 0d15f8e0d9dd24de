"""What a request needs of a deployment, and about how many tokens it is."""

__all__ = ["estimate_tokens", "measure", "needs"]

from metabolic.core.request import (
    Block,
    Image,
    Opaque,
    Request,
    Text,
    Thinking,
    ToolResult,
    ToolUse,
)

_BYTES_PER_TOKEN = 4
"""UTF-8 bytes a token: about four letters of English, a little over one character of Chinese.
Source: OpenAI, "What are tokens and how to count them" (1 token ~ 4 characters in English)."""

_TOKENS_PER_MESSAGE = 3
"""Role and separators. Source: OpenAI cookbook, "How to count tokens with tiktoken"."""

_TOKENS_PER_REPLY = 3
"""The start of the answer, which every prompt ends with. Source: as above."""

_TOKENS_PER_IMAGE = 765
"""An image of 1024 × 1024 at high detail: 4 tiles × 170 + 85.
Source: OpenAI, "Images and vision", calculating costs."""


def measure(request: Request) -> tuple[tuple[str, ...], int]:
    """Return ``needs`` and ``estimate_tokens`` of a request.

    Most requests are a few messages of text, which one walk measures.
    """
    shape = request.response_format
    if (
        request.dialect != "chat"
        or request.tools
        or request.sampling.logprobs
        or shape.kind != "text"
        or shape.schema is not None
    ):
        return needs(request), estimate_tokens(request)
    size, messages = 0, request.messages
    for message in messages:
        for block in message.content:
            if type(block) is not Text:
                return needs(request), estimate_tokens(request)
            text = block.text
            size += len(text) if text.isascii() else _bytes(text)
    return (), _TOKENS_PER_REPLY + _TOKENS_PER_MESSAGE * len(messages) - (-size // _BYTES_PER_TOKEN)


def needs(request: Request) -> tuple[str, ...]:
    """Return the capabilities a deployment must have, sorted.

    A conversation with tool calls in it needs ``tools`` even when no more are offered.
    """
    found: set[str] = set()
    if request.dialect != "chat":
        found.add(request.dialect)
    if request.tools:
        found.add("tools")
    if request.sampling.logprobs:
        found.add("logprobs")
    if request.response_format.kind == "json_object":
        found.add("json")
    elif request.response_format.kind == "json_schema":
        found.add("json_schema")
    for message in request.messages:
        for block in message.content:
            kind = type(block)
            if kind is Image:
                found.add("vision")
            elif kind is ToolUse or kind is ToolResult:
                found.add("tools")
    return tuple(sorted(found)) if found else ()


def estimate_tokens(request: Request) -> int:
    """Return about how many input tokens the request is, without a tokenizer.

    The rule: a token for each 4 bytes of UTF-8 text, rounded up per request; 3 for each message
    and 3 for the reply; 765 for an image; a prompt given as tokens is counted. The error is within
    about a quarter for English prose, more for code and other scripts.
    """
    size, tokens = 0, _TOKENS_PER_REPLY
    for message in request.messages:
        tokens += _TOKENS_PER_MESSAGE
        for block in message.content:
            if type(block) is Text:
                size += _bytes(block.text)
            elif type(block) is Image:
                tokens += _TOKENS_PER_IMAGE
            elif type(block) is Opaque:
                return tokens + _opaque(request, size)
            else:
                size += _other(block)
    for tool in request.tools:
        size += len(tool.name) + len(tool.parameters or b"")
    size += len(request.response_format.schema or b"")
    return tokens - (-size // _BYTES_PER_TOKEN)


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def _other(block: Block) -> int:
    match block:
        case ToolUse():
            return _bytes(block.name) + _bytes(block.arguments)
        case ToolResult() | Thinking():
            return _bytes(block.text)
        case _:
            return 0


def _opaque(request: Request, size: int) -> int:
    """Count a prompt of token numbers by its commas; take other parts by the body's size."""
    if request.dialect != "chat":
        return request.body.count(b",") + 1
    return max(size, len(request.body)) // _BYTES_PER_TOKEN
