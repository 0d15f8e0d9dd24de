"""Answers and errors in Anthropic's words. No I/O.

Source: Anthropic API reference, "Messages" and "Errors".
"""

__all__ = ["STOPS", "error_json", "is_native", "message_of", "tokens_json", "usage_json"]

from typing import Any

import msgspec
from msgspec import Raw, Struct

from metabolic.edge.answered import Call, Message, Tokens, read

Json = dict[str, Any]

STOPS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_CODES = {"upstream_overloaded": "overloaded_error", "upstream_timeout": "timeout_error"}
_CLIENT, _SERVER = 400, 500

_encode = msgspec.json.encode


class _Kind(Struct, frozen=True, gc=False):
    type: str = ""


class _Error(Struct, frozen=True, gc=False):
    message: str = ""
    code: str | int | None = None


class _Envelope(Struct, frozen=True, gc=False):
    error: _Error = _Error()
    type: str = ""
    metabolic: Raw = Raw(b"")


_kind = msgspec.json.Decoder(_Kind)
_envelope = msgspec.json.Decoder(_Envelope)


def is_native(body: bytes) -> bool:
    """Say whether an answer is a message already, as an upstream of this dialect gives it."""
    try:
        return _kind.decode(body).type == "message"
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False


def message_of(body: bytes, *, identity: str) -> bytes:
    """Return a whole chat completion as a message; one that is a message comes back as it is."""
    if is_native(body):
        return body
    answer = read(body)
    choice = answer.choices[0] if answer.choices else None
    said = (choice.message if choice else None) or Message()
    reason = (choice.finish_reason if choice else None) or "stop"
    made: Json = {
        "id": f"msg_{identity}",
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": _content(said),
        "stop_reason": STOPS.get(reason, "end_turn"),
        "stop_sequence": None,
        "usage": usage_json(answer.usage),
    }
    return _encode(made)


def usage_json(tokens: Tokens | None) -> Json:
    """Return the usage: Anthropic leaves cached tokens out of ``input_tokens``."""
    found = tokens or Tokens()
    return {
        "input_tokens": max(0, found.prompt_tokens - found.cached),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": found.cached,
        "output_tokens": found.completion_tokens,
    }


def error_json(status: int, body: bytes, *, identity: str) -> bytes:
    """Return OpenAI's error envelope in Anthropic's; one that is Anthropic's comes back as is."""
    try:
        found = _envelope.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        found = _Envelope()
    if found.type == "error":
        return body
    fallback = "invalid_request_error" if _CLIENT <= status < _SERVER else "api_error"
    kind = _TYPES.get(status) or _CODES.get(str(found.error.code), fallback)
    error: Json = {"type": kind, "message": found.error.message}
    made: Json = {"type": "error", "error": error, "request_id": identity}
    if bytes(found.metabolic):
        made["metabolic"] = found.metabolic
    return _encode(made)


def tokens_json(tokens: int) -> bytes:
    """Return the answer of ``count_tokens``."""
    return _encode({"input_tokens": tokens})


def _content(said: Message) -> list[Json]:
    blocks: list[Json] = list(said.thinking_blocks or ())
    if not blocks and said.thought:
        # No signature: an upstream of this dialect did not write it, and none will take it back.
        blocks.append({"type": "thinking", "thinking": said.thought, "signature": ""})
    text = said.text or said.refusal or ""
    if text or not said.tool_calls:
        blocks.append({"type": "text", "text": text})
    blocks.extend(_tool_use(call, index) for index, call in enumerate(said.tool_calls or ()))
    return blocks


def _tool_use(call: Call, index: int) -> Json:
    function = call.function
    given: object = {}
    if function is not None and function.arguments:
        try:
            given = msgspec.json.decode(function.arguments)
        except msgspec.DecodeError:
            given = {"_raw": function.arguments}
    name = function.name if function is not None else ""
    return {"type": "tool_use", "id": call.id or f"toolu_{index}", "name": name, "input": given}
