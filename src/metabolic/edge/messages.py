"""Parse Anthropic's Messages into a ``Request``: in OpenAI's words, and as it came.

What Metabolic looks at is read from the translation; an upstream that speaks Messages gets the
client's own bytes, so ``cache_control``, thinking signatures and fields of the future reach it
untouched.

Source: Anthropic API reference, "Messages" and "Count Message tokens".
"""

__all__ = ["FORWARDED", "parse_messages"]

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from metabolic.core.request import Native, Request
from metabolic.edge.chat import parse_chat
from metabolic.edge.messages_chat import chat_of
from metabolic.edge.strict import decode, missing, refusal

FORWARDED = (b"anthropic-beta", b"anthropic-version")
"""Headers of this dialect that an upstream which speaks it must see."""

_Json = dict[str, Any]
_MAX_HEADER_BYTES = 4096


class _Turn(Struct, frozen=True, gc=False):
    role: Literal["user", "assistant", "system"]
    content: str | list[_Json]


class _Messages(Struct, frozen=True, gc=False):
    model: Annotated[str, Meta(min_length=1)]
    messages: Annotated[list[_Turn], Meta(min_length=1)]
    max_tokens: Annotated[int, Meta(ge=0)] | None = None
    system: str | list[_Json] | None = None
    tools: list[_Json] | None = None
    tool_choice: _Json | None = None
    stream: bool | None = None
    temperature: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=0)] | None = None
    stop_sequences: list[str] | None = None
    metadata: _Json | None = None
    thinking: _Json | None = None
    output_config: _Json | None = None
    output_format: _Json | None = None


_DECODER = msgspec.json.Decoder(_Messages)
_fields = msgspec.json.Decoder(_Json)


def parse_messages(
    body: bytes,
    *,
    request_id: str,
    headers: Mapping[bytes, bytes],
    counting: bool = False,
) -> Request:
    """Return the request in ``body``; ``counting`` is for ``count_tokens``, which needs no limit.

    Raises:
        RequestError: it is malformed; ``param`` names the field.
    """
    asked = decode(_DECODER, body)
    if asked.max_tokens is None and not counting:
        path = "max_tokens"
        raise missing(path)
    if asked.max_tokens == 0 and not counting:
        text = "Invalid 'max_tokens': an answer has at least one token."
        raise refusal(text, param="max_tokens")
    chat = chat_of(_fields.decode(body))
    if not chat["messages"]:
        text = "Invalid 'messages': there is nothing in them."
        raise refusal(text, param="messages", code="empty_array")
    request = parse_chat(msgspec.json.encode(chat), request_id=request_id)
    native = Native(dialect="messages", body=body, headers=_headers(headers))
    sampling = request.sampling
    if asked.thinking is not None:
        sampling = msgspec.structs.replace(sampling, own_effort=True)
    return msgspec.structs.replace(request, native=native, sampling=sampling)


def _headers(headers: Mapping[bytes, bytes]) -> tuple[tuple[str, str], ...]:
    """Return the dialect's own headers; what no header may hold is refused.

    Raises:
        RequestError: a value is too long or not printable ASCII.
    """
    found: list[tuple[str, str]] = []
    for name in FORWARDED:
        value = headers.get(name)
        if value is None:
            continue
        text = value.decode("latin-1")
        if len(text) > _MAX_HEADER_BYTES or not (text.isascii() and text.isprintable()):
            message = f"The header {name.decode()} is not printable ASCII."
            raise refusal(message, param=name.decode())
        found.append((name.decode(), text))
    return tuple(found)
