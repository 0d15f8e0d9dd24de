"""The client's request in the words of Anthropic's Messages API. No I/O.

A request that came as ``/v1/messages`` goes on as it came, with only the model and the streaming
set: ``cache_control`` and thinking signatures are not looked at. One in OpenAI's dialect is
translated; parts that are Anthropic's already pass through.

Source: Anthropic API reference, "Messages"; OpenAI API reference, "Chat completions".
"""

__all__ = ["LIMIT_TOKENS", "messages_body"]

from collections.abc import Iterable
from typing import Any, cast

import msgspec
from msgspec import Raw

from metabolic.core.fleet import Variant
from metabolic.core.request import Request

LIMIT_TOKENS = 4096
"""Output tokens asked for when the client sets no limit: Messages demands one."""

_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 4096, "high": 16384}
"""Thinking tokens by OpenAI's reasoning effort; 1024 is the least Anthropic takes.
Source: the least is Anthropic's ("Extended thinking"); the steps are a choice of ours."""

_ROOM_TOKENS = 1024
"""Tokens left for the answer when the client's limit would all go into thinking."""

_CHOICES = {"auto": "auto", "required": "any", "none": "none"}
_SYSTEM = frozenset({"system", "developer"})
_SAME = ("temperature", "top_p", "top_k", "thinking", "service_tier")

Json = dict[str, Any]

_encode = msgspec.json.encode
_raw = msgspec.json.Decoder(dict[str, Raw])
_whole = msgspec.json.Decoder(dict[str, Any])


def messages_body(
    request: Request, *, model: str, streamed: bool, variant: Variant | None = None
) -> bytes:
    """Return the body to send to ``/v1/messages``."""
    if request.native is not None and request.native.dialect == "messages":
        return _as_it_came(request.native.body, model=model, streamed=streamed, variant=variant)
    return _encode(_translated(_whole.decode(request.body), model, variant, streamed=streamed))


def _as_it_came(body: bytes, *, model: str, streamed: bool, variant: Variant | None) -> bytes:
    """Set the model and the streaming, and lower the limit as the variant says."""
    fields = _raw.decode(body)
    fields["model"] = Raw(_encode(model))
    if streamed:
        fields["stream"] = Raw(b"true")
    else:
        fields.pop("stream", None)
    return _encode(fields if variant is None else _varied(fields, variant))


def _varied(fields: dict[str, Raw], variant: Variant) -> Json:
    """Lower the limit and set the thinking as the variant says, unless the client says of it."""
    made: Json = dict(fields)
    asked = msgspec.json.decode(fields.get("max_tokens", Raw(b"0"))) or LIMIT_TOKENS
    made["max_tokens"] = min(asked, variant.max_output_tokens or asked)
    choice: object = msgspec.json.decode(fields.get("tool_choice", Raw(b"null")))
    if "thinking" not in fields:
        _add_thinking(made, _budget(None, variant), choice)
    if variant.body is not None:
        made.update(_raw.decode(variant.body))
    return made


def _budget(effort: str | None, variant: Variant | None) -> int | None:
    """Return the tokens for thinking; ``None``: there is to be none."""
    if variant is not None:
        if variant.thinking is False:
            return None
        effort = variant.reasoning_effort or effort or ("medium" if variant.thinking else None)
        if variant.thinking_tokens is not None:
            return max(_BUDGETS["low"], variant.thinking_tokens)
    return _BUDGETS.get(effort or "")


def _translated(ask: Json, model: str, variant: Variant | None, *, streamed: bool) -> Json:
    limit = ask.get("max_completion_tokens") or ask.get("max_tokens") or LIMIT_TOKENS
    effort = ask.get("reasoning_effort")
    if variant is not None:
        limit = min(limit, variant.max_output_tokens or limit)
    system, messages = _conversation(ask.get("messages") or ())
    made: Json = {"model": model, "max_tokens": limit, "messages": messages}
    if system:
        made["system"] = system
    if streamed:
        made["stream"] = True
    made.update({name: ask[name] for name in _SAME if ask.get(name) is not None})
    if "temperature" in made:
        made["temperature"] = min(float(made["temperature"]), 1.0)
    if stop := ask.get("stop"):
        made["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    if user := ask.get("user"):
        made["metadata"] = {"user_id": user}
    _add_tools(made, ask)
    _add_format(made, ask)
    if "thinking" not in made:
        _add_thinking(made, _budget(effort, variant), made.get("tool_choice"))
    if variant is not None and variant.body is not None:
        made.update(_whole.decode(variant.body))
    return made


def _add_tools(made: Json, ask: Json) -> None:
    """Offer the tools; ``tool_choice`` is said only where there are some."""
    tools = [_tool(tool) for tool in ask.get("tools") or ()]
    if not tools:
        return
    made["tools"] = tools
    choice: Any = ask.get("tool_choice")
    said: Json | None = None
    if isinstance(choice, str):
        said = {"type": _CHOICES.get(choice, "auto")}
    elif isinstance(choice, dict):
        named = cast("Json", choice)
        function = cast("Json", named.get("function") or {})
        said = {"type": "tool", "name": function.get("name", named.get("name", ""))}
    if ask.get("parallel_tool_calls") is False:
        said = {**(said or {"type": "auto"}), "disable_parallel_tool_use": True}
    if said is not None:
        made["tool_choice"] = said


def _tool(tool: Json) -> Json:
    function: Json | None = tool.get("function")
    if function is None:
        return tool  # Anthropic's own, such as its web search
    made: Json = {
        "name": function.get("name", ""),
        "input_schema": function.get("parameters") or {"type": "object", "properties": {}},
    }
    if function.get("description"):
        made["description"] = function["description"]
    if "cache_control" in tool:
        made["cache_control"] = tool["cache_control"]
    return made


def _add_format(made: Json, ask: Json) -> None:
    wanted: Json = ask.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        schema = cast("Json", wanted.get("json_schema") or {}).get("schema") or {"type": "object"}
        made["output_config"] = {"format": {"type": "json_schema", "schema": schema}}


def _add_thinking(made: Json, budget: int | None, tool_choice: object) -> None:
    """Let it think as long as the budget says, with room left for the answer.

    Not where a tool must be called: Anthropic refuses both together.
    """
    kind = cast("Json", tool_choice).get("type") if isinstance(tool_choice, dict) else None
    if budget is not None and kind not in {"any", "tool"}:
        made["thinking"] = {"type": "enabled", "budget_tokens": budget}
        made["max_tokens"] = max(made["max_tokens"], budget + _ROOM_TOKENS)
        made.pop("temperature", None)
        made.pop("top_k", None)


def _conversation(messages: Iterable[Json]) -> tuple[str | list[Json], list[Json]]:
    """Return the system prompt and the turns; neighbours of one role become one turn."""
    system: list[Json] = []
    turns: list[Json] = []
    for message in messages:
        role = message.get("role")
        if role in _SYSTEM:
            system.extend(_parts(message.get("content")))
            continue
        blocks = _assistant(message) if role == "assistant" else _user(message)
        name = "assistant" if role == "assistant" else "user"
        if turns and turns[-1]["role"] == name:
            turns[-1]["content"].extend(blocks)
        elif blocks:
            turns.append({"role": name, "content": blocks})
    plain = len(system) == 1 and set(system[0]) == {"type", "text"}
    return (system[0]["text"] if plain else system), turns


def _user(message: Json) -> list[Json]:
    if message.get("role") != "tool":
        return _parts(message.get("content"))
    result: Json = {"type": "tool_result", "tool_use_id": message.get("tool_call_id", "")}
    content = message.get("content")
    result["content"] = content if isinstance(content, str) else _parts(content)
    if "cache_control" in message:
        result["cache_control"] = message["cache_control"]
    return [result]


def _assistant(message: Json) -> list[Json]:
    """Return thinking first, as it was signed, then text, then calls of tools."""
    blocks: list[Json] = list(message.get("thinking_blocks") or ())
    blocks.extend(part for part in _parts(message.get("content")) if part.get("text") != "")
    for call in message.get("tool_calls") or ():
        function: Json = call.get("function") or {}
        blocks.append(
            {
                "type": "tool_use",
                "id": call.get("id", ""),
                "name": function.get("name", ""),
                "input": _arguments(function.get("arguments")),
            }
        )
    return blocks


def _arguments(text: str | None) -> object:
    """Return arguments as an object; text that is none goes under ``_raw``."""
    try:
        found: object = msgspec.json.decode(text or "{}")
    except msgspec.DecodeError:
        return {"_raw": text}
    return cast("object", found) if isinstance(found, dict) else {"_raw": text}


def _parts(content: object) -> list[Json]:
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [_part(part) for part in cast("list[Json]", content)]


def _part(part: Json) -> Json:
    """Return a part in Anthropic's words; what is not OpenAI's passes through."""
    match part.get("type"):
        case "image_url":
            made: Json = {"type": "image", "source": _source(_url(part["image_url"]))}
        case "file":
            file: Json = part.get("file") or {}
            made = {"type": "document", "source": _source(str(file.get("file_data", "")))}
        case "refusal":
            made = {"type": "text", "text": part.get("refusal", "")}
        case _:
            return part
    if "cache_control" in part:
        made["cache_control"] = part["cache_control"]
    return made


def _url(image: object) -> str:
    return image if isinstance(image, str) else str(cast("Json", image).get("url", ""))


def _source(url: str) -> Json:
    """Return a data URL as its bytes, any other as an address."""
    if not url.startswith("data:"):
        return {"type": "url", "url": url}
    kind, _, data = url.removeprefix("data:").partition(",")
    return {"type": "base64", "media_type": kind.partition(";")[0], "data": data}
