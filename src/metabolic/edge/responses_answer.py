"""A whole answer as a Responses object. No I/O.

Source: OpenAI API reference, "The response object".
"""

__all__ = [
    "call_item",
    "ended",
    "frame",
    "items_of",
    "message_item",
    "response_of",
    "usage_json",
]

from typing import Any

import msgspec

from metabolic.edge.answered import Call, Message, Tokens, read

Json = dict[str, Any]

_ECHOED = (
    "instructions",
    "max_output_tokens",
    "metadata",
    "parallel_tool_calls",
    "reasoning",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_p",
    "truncation",
    "user",
)
_DEFAULTS: Json = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "reasoning": {"effort": None, "summary": None},
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}

_fields = msgspec.json.Decoder(Json)
_encode = msgspec.json.encode


def frame(asked: bytes, *, identity: str, created_s: int) -> Json:
    """Return what every response object says of its request; ``asked`` is the client's body."""
    fields = _fields.decode(asked)
    echoed = {
        name: fields[name] if fields.get(name) is not None else _DEFAULTS[name] for name in _ECHOED
    }
    return {
        "id": f"resp_{identity}",
        "object": "response",
        "created_at": created_s,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": fields.get("model", ""),
        "output": [],
        "previous_response_id": None,
        "store": False,
        "usage": None,
        **echoed,
    }


def response_of(body: bytes, *, asked: bytes, identity: str, created_s: int) -> bytes:
    """Return a whole chat completion as a response."""
    answer = read(body)
    choice = answer.choices[0] if answer.choices else None
    said = (choice.message if choice else None) or Message()
    finish = choice.finish_reason if choice else None
    made = frame(asked, identity=identity, created_s=created_s)
    made["model"] = answer.model or made["model"]
    made["output"] = items_of(said, identity=identity)
    made["usage"] = usage_json(answer.usage)
    made |= ended(finish)
    return _encode(made)


def ended(finish: str | None) -> Json:
    """Return the status that a finish reason is."""
    if finish == "length":
        return {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    if finish == "content_filter":
        return {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}
    return {"status": "completed"}


def items_of(said: Message, *, identity: str) -> list[Json]:
    """Return what was said as output items: reasoning, a message, calls of functions."""
    items: list[Json] = []
    if said.thought:
        content = [{"type": "reasoning_text", "text": said.thought}]
        items.append(
            {"id": f"rs_{identity}", "type": "reasoning", "summary": [], "content": content}
        )
    if said.text or said.refusal or not said.tool_calls:
        part: Json = {"type": "output_text", "text": said.text, "annotations": []}
        if said.refusal:
            part = {"type": "refusal", "refusal": said.refusal}
        items.append(message_item(f"msg_{identity}", [part], status="completed"))
    for index, call in enumerate(said.tool_calls or ()):
        items.append(call_item(call, f"fc_{identity}_{index}", status="completed"))
    return items


def message_item(identity: str, content: list[Json], *, status: str) -> Json:
    """Return a message of the assistant as an item."""
    return {
        "id": identity,
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": content,
    }


def call_item(call: Call, identity: str, *, status: str) -> Json:
    """Return a call of a function as an item."""
    function = call.function
    return {
        "id": identity,
        "type": "function_call",
        "status": status,
        "call_id": call.id or identity,
        "name": (function.name if function else None) or "",
        "arguments": (function.arguments if function else None) or "",
    }


def usage_json(tokens: Tokens | None) -> Json:
    """Return the usage in this API's words."""
    found = tokens or Tokens()
    return {
        "input_tokens": found.prompt_tokens,
        "input_tokens_details": {"cached_tokens": found.cached},
        "output_tokens": found.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": found.reasoned},
        "total_tokens": found.prompt_tokens + found.completion_tokens,
    }
