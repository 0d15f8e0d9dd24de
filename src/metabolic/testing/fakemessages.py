"""Deterministic answers of a fake that speaks Anthropic's Messages, whole and streamed.

Thinking comes with a signature, which a client must return unchanged; the usage counts half of
the prompt as read from the cache.
"""

__all__ = ["SIGNATURE", "message_body", "message_events", "plain"]

from collections.abc import Iterator, Mapping
from typing import Any, cast

import msgspec

from metabolic.testing.fakeanswers import Told

Json = dict[str, Any]
Ask = Mapping[str, Any]

SIGNATURE = "c2lnbmVkIGJ5IGEgZmFrZQ=="
"""What the fake signs its thinking with."""

_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_encode = msgspec.json.encode


def plain(ask: Ask) -> Json:
    """Return a request as the teller of OpenAI's answers understands it."""
    tools = [
        {"function": {"name": tool.get("name", ""), "parameters": tool.get("input_schema")}}
        for tool in ask.get("tools") or ()
    ]
    asked: Json = {
        "model": ask.get("model", ""),
        "messages": [_message(one) for one in ask.get("messages") or ()],
        "max_tokens": ask.get("max_tokens"),
        "stop": ask.get("stop_sequences"),
        "tools": tools,
        "tool_choice": _choice(ask.get("tool_choice") or {}),
    }
    wanted: Json = cast("Json", ask.get("output_config") or {}).get("format") or {}
    if wanted:
        asked["response_format"] = {"type": "json_schema", "json_schema": wanted}
    return asked


def message_body(ask: Ask, told: Told) -> bytes:
    """Return a whole message."""
    head = _head(ask) | {"content": list(_blocks(ask, told)), "stop_reason": _STOPS[told.finish]}
    return _encode(head | {"stop_sequence": None, "usage": _usage(told, output=True)})


def message_events(ask: Ask, told: Told) -> Iterator[bytes]:
    """Yield the events of a streamed message, a ping among them, up to ``message_stop``."""
    started: Json = {"content": [], "stop_reason": None, "usage": _usage(told, output=False)}
    yield _event("message_start", {"message": _head(ask) | started})
    yield _event("ping", {})
    for index, block in enumerate(_blocks(ask, told)):
        empty, deltas = _pieces(block, told)
        yield _event("content_block_start", {"index": index, "content_block": empty})
        for delta in deltas:
            yield _event("content_block_delta", {"index": index, "delta": delta})
        yield _event("content_block_stop", {"index": index})
    ended = {"stop_reason": _STOPS[told.finish], "stop_sequence": None}
    yield _event("message_delta", {"delta": ended, "usage": {"output_tokens": _output(told)}})
    yield _event("message_stop", {})


def _message(message: Ask) -> Json:
    """Return a turn with its text alone; a turn of tool results is no question."""
    content: Any = message.get("content")
    if isinstance(content, str):
        return {"role": message.get("role"), "content": content}
    parts = cast("list[Json]", content or [])
    text = " ".join(str(part.get("text", "")) for part in parts)
    results = any(part.get("type") == "tool_result" for part in parts)
    return {"role": "tool" if results else message.get("role"), "content": text}


def _choice(choice: Ask) -> object:
    match choice.get("type"):
        case "any":
            return "required"
        case "none":
            return "none"
        case "tool":
            return {"function": {"name": choice.get("name")}}
        case _:
            return None


def _blocks(ask: Ask, told: Told) -> Iterator[Json]:
    thinks = cast("Json", ask.get("thinking") or {}).get("type") == "enabled"
    if thinks or told.reasoning:
        yield {"type": "thinking", "thinking": "Let me think.", "signature": SIGNATURE}
    if told.tool is None:
        yield {"type": "text", "text": told.text}
    else:
        name, arguments = told.tool
        given: Any = msgspec.json.decode(arguments)
        yield {"type": "tool_use", "id": "toolu_1", "name": name, "input": given}


def _pieces(block: Json, told: Told) -> tuple[Json, list[Json]]:
    """Return a block as it starts, and what is added to it."""
    if block["type"] == "thinking":
        thought = {"type": "thinking_delta", "thinking": block["thinking"]}
        signed = {"type": "signature_delta", "signature": block["signature"]}
        return {"type": "thinking", "thinking": "", "signature": ""}, [thought, signed]
    if block["type"] == "text":
        return {"type": "text", "text": ""}, [
            {"type": "text_delta", "text": token} for token in told.tokens
        ]
    text = _encode(block["input"]).decode()
    half = len(text) // 2
    parts = ["", text[:half], text[half:]]
    deltas = [{"type": "input_json_delta", "partial_json": part} for part in parts]
    return block | {"input": {}}, deltas


def _output(told: Told) -> int:
    return len(told.tokens) + (1 if told.tool else 0)


def _usage(told: Told, *, output: bool) -> Json:
    cached = told.prompt_tokens // 2
    return {
        "input_tokens": told.prompt_tokens - cached,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": 0,
        "output_tokens": _output(told) if output else 1,
    }


def _head(ask: Ask) -> Json:
    return {"id": "msg_fake", "type": "message", "role": "assistant", "model": ask.get("model")}


def _event(kind: str, fields: Json) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + _encode({"type": kind} | fields) + b"\n\n"
