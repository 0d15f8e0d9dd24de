"""A request in Anthropic's words, said in OpenAI's. No I/O.

What has no word there is left out: ``cache_control``, thinking of earlier turns, the budget for
thinking. What only Anthropic has, such as its server tools, is passed on, for the upstream to
refuse.
"""

__all__ = ["chat_of"]

from collections.abc import Iterable, Mapping
from typing import Any, cast

import msgspec

Json = dict[str, Any]
Ask = Mapping[str, Any]

_encode = msgspec.json.encode
_SAME = ("temperature", "top_p", "top_k")
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_THOUGHTS = frozenset({"thinking", "redacted_thinking"})


def chat_of(ask: Ask) -> Json:
    """Return the body of a chat completion that asks the same."""
    messages: list[Json] = []
    system = _text(ask.get("system"))
    if system:
        messages.append({"role": "system", "content": system})
    for turn in ask.get("messages") or ():
        messages.extend(_turn(turn))
    made: Json = {"model": ask["model"], "messages": messages}
    if ask.get("max_tokens"):
        made["max_tokens"] = ask["max_tokens"]
    made.update({name: ask[name] for name in _SAME if ask.get(name) is not None})
    if ask.get("stop_sequences"):
        made["stop"] = ask["stop_sequences"]
    user = cast("Json", ask.get("metadata") or {}).get("user_id")
    if isinstance(user, str):
        made["user"] = user
    if ask.get("stream") is True:
        made["stream"], made["stream_options"] = True, {"include_usage": True}
    _add_tools(made, ask)
    wanted: Json = cast("Json", ask.get("output_config") or {}).get("format") or {}
    wanted = wanted or ask.get("output_format") or {}
    if wanted.get("type") == "json_schema":
        inner = {"name": "answer", "schema": wanted.get("schema"), "strict": True}
        made["response_format"] = {"type": "json_schema", "json_schema": inner}
    return made


def _add_tools(made: Json, ask: Ask) -> None:
    tools = [_tool(tool) for tool in ask.get("tools") or ()]
    if not tools:
        return
    made["tools"] = tools
    choice: Json = ask.get("tool_choice") or {}
    if choice.get("type") == "tool":
        made["tool_choice"] = {"type": "function", "function": {"name": choice.get("name", "")}}
    elif choice.get("type") in _CHOICES:
        made["tool_choice"] = _CHOICES[choice["type"]]
    if choice.get("disable_parallel_tool_use") is True:
        made["parallel_tool_calls"] = False


def _tool(tool: Json) -> Json:
    if "input_schema" not in tool:
        return {"type": str(tool.get("type", "unknown")), **tool}
    function: Json = {"name": tool.get("name", ""), "parameters": tool["input_schema"]}
    if tool.get("description"):
        function["description"] = tool["description"]
    return {"type": "function", "function": function}


def _turn(turn: Json) -> list[Json]:
    """Return one turn as messages: results of tools come first, and each is one of its own."""
    role, content = turn.get("role"), turn.get("content")
    if isinstance(content, str):
        return [{"role": role, "content": content}]
    blocks = cast("list[Json]", content or [])
    if role == "assistant":
        return _assistant(blocks)
    if role == "system":
        return [{"role": "system", "content": _text(blocks)}]
    messages: list[Json] = []
    parts: list[Json] = []
    for block in blocks:
        if block.get("type") == "tool_result":
            messages.append(_result(block))
            parts.extend(_pictures(block.get("content")))
        else:
            parts.append(_part(block))
    if parts:
        plain = all(set(part) == {"type", "text"} for part in parts)
        said: Any = "\n\n".join(part["text"] for part in parts) if plain else parts
        messages.append({"role": "user", "content": said})
    return messages


def _assistant(blocks: Iterable[Json]) -> list[Json]:
    texts: list[str] = []
    calls: list[Json] = []
    for block in blocks:
        kind = block.get("type")
        if kind == "text":
            texts.append(str(block.get("text", "")))
        elif kind == "tool_use":
            arguments = _encode(block.get("input") or {}).decode()
            function = {"name": block.get("name", ""), "arguments": arguments}
            calls.append({"id": block.get("id", ""), "type": "function", "function": function})
        elif kind not in _THOUGHTS:
            texts.append(_encode(block).decode())
    message: Json = {"role": "assistant", "content": "".join(texts) or ("" if not calls else None)}
    if calls:
        message["tool_calls"] = calls
    return [message]


def _result(block: Json) -> Json:
    text = _text(block.get("content"))
    if block.get("is_error") is True:
        text = f"Error: {text}"
    return {"role": "tool", "tool_call_id": str(block.get("tool_use_id", "")), "content": text}


def _pictures(content: object) -> list[Json]:
    """Return the images of a tool's result: OpenAI takes them from the user only."""
    if not isinstance(content, list):
        return []
    blocks = cast("list[Json]", content)
    return [_part(block) for block in blocks if block.get("type") == "image"]


def _part(block: Json) -> Json:
    source: Json = block.get("source") or {}
    match block.get("type"):
        case "text":
            return {"type": "text", "text": str(block.get("text", ""))}
        case "image":
            return {"type": "image_url", "image_url": {"url": _url(source)}}
        case "document" if source.get("type") == "text":
            return {"type": "text", "text": str(source.get("data", ""))}
        case "document" if source.get("type") == "base64":
            name = str(block.get("title") or "document.pdf")
            return {"type": "file", "file": {"filename": name, "file_data": _url(source)}}
        case _:
            return block


def _url(source: Json) -> str:
    if source.get("type") == "base64":
        return f"data:{source.get('media_type', '')};base64,{source.get('data', '')}"
    return str(source.get("url", ""))


def _text(content: object) -> str:
    """Return content's text, however it is written."""
    if isinstance(content, str):
        return content
    blocks = cast("list[Json]", content or [])
    return "\n\n".join(str(one.get("text", "")) for one in blocks if one.get("type") == "text")
