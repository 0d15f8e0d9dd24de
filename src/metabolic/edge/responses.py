"""Parse OpenAI's Responses into a ``Request``, translated to a chat completion. No I/O.

Metabolic keeps no conversation: what would need one (``previous_response_id``, ``background``,
stored prompts, tools that OpenAI runs) is refused by name and never ignored.

Source: OpenAI API reference, "Responses".
"""

__all__ = ["parse_responses"]

from typing import Annotated, Any, cast

import msgspec
from msgspec import Meta, Struct

from metabolic.core.errors import RequestError
from metabolic.core.request import Native, Request
from metabolic.edge.chat import parse_chat
from metabolic.edge.strict import decode, missing, refusal

_Json = dict[str, Any]
_IGNORED = frozenset({"auto", "default"})
_SAME = ("model", "temperature", "top_p", "parallel_tool_calls", "user", "service_tier", "seed")
_encode = msgspec.json.encode


class _Responses(Struct, frozen=True, gc=False):
    model: Annotated[str, Meta(min_length=1)]
    input: str | list[_Json] | None = None
    instructions: str | None = None
    tools: list[_Json] | None = None
    tool_choice: str | _Json | None = None
    text: _Json | None = None
    reasoning: _Json | None = None
    max_output_tokens: Annotated[int, Meta(ge=1)] | None = None
    stream: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    background: bool | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    prompt: Any = None


_DECODER = msgspec.json.Decoder(_Responses)
_fields = msgspec.json.Decoder(_Json)


def parse_responses(body: bytes, *, request_id: str) -> Request:
    """Return the request in ``body``.

    Raises:
        RequestError: it is malformed, or asks for what is not kept or run here.
    """
    asked = decode(_DECODER, body)
    for name in ("previous_response_id", "conversation", "prompt"):
        if getattr(asked, name) is not None:
            raise _unsupported(name, "no conversation is kept here: send the whole input")
    if asked.background:
        name = "background"
        raise _unsupported(name, "every answer is given at once")
    if not asked.input:
        path = "input"
        raise missing(path)
    chat = _chat(asked, _fields.decode(body))
    request = parse_chat(_encode(chat), request_id=request_id)
    return msgspec.structs.replace(request, native=Native(dialect="responses", body=body))


def _unsupported(name: str, why: str) -> RequestError:
    return refusal(f"'{name}' is not supported: {why}.", param=name, code="unsupported_parameter")


def _chat(asked: _Responses, body: _Json) -> _Json:
    made: _Json = {name: body[name] for name in _SAME if body.get(name) is not None}
    messages: list[_Json] = []
    if asked.instructions:
        messages.append({"role": "system", "content": asked.instructions})
    given = asked.input or ""
    if isinstance(given, str):
        messages.append({"role": "user", "content": given})
    else:
        messages.extend(_turns(given))
    made["messages"] = messages
    if asked.max_output_tokens is not None:
        made["max_completion_tokens"] = asked.max_output_tokens
    if asked.top_logprobs is not None:
        made["logprobs"], made["top_logprobs"] = True, asked.top_logprobs
    if effort := (asked.reasoning or {}).get("effort"):
        made["reasoning_effort"] = effort
    if asked.stream:
        made["stream"], made["stream_options"] = True, {"include_usage": True}
    _add_tools(made, asked)
    _add_format(made, (asked.text or {}).get("format") or {})
    if made.get("service_tier") in _IGNORED:
        del made["service_tier"]
    return made


def _add_tools(made: _Json, asked: _Responses) -> None:
    tools = [_tool(tool, index) for index, tool in enumerate(asked.tools or ())]
    if not tools:
        made.pop("parallel_tool_calls", None)
        return
    made["tools"] = tools
    choice = asked.tool_choice
    if isinstance(choice, str):
        made["tool_choice"] = choice
    elif choice is not None:
        if choice.get("type") != "function":
            name = "tool_choice"
            raise _unsupported(name, "only functions can be called here")
        made["tool_choice"] = {"type": "function", "function": {"name": choice.get("name", "")}}


def _tool(tool: _Json, index: int) -> _Json:
    if tool.get("type") != "function":
        path = f"tools[{index}].type"
        raise _unsupported(path, "tools are run by the client, so only functions can be called")
    kept = ("name", "description", "parameters", "strict")
    function = {name: tool[name] for name in kept if tool.get(name) is not None}
    return {"type": "function", "function": function}


def _add_format(made: _Json, wanted: _Json) -> None:
    if wanted.get("type") == "json_schema":
        kept = ("name", "description", "schema", "strict")
        inner = {name: wanted[name] for name in kept if wanted.get(name) is not None}
        made["response_format"] = {"type": "json_schema", "json_schema": inner}
    elif wanted.get("type") == "json_object":
        made["response_format"] = {"type": "json_object"}


def _turns(items: list[_Json]) -> list[_Json]:
    """Return items as messages; calls of tools that follow one another are one message's."""
    messages: list[_Json] = []
    for index, item in enumerate(items):
        match item.get("type", "message"):
            case "message":
                messages.append(_message(item, index))
            case "function_call":
                _call(messages, item)
            case "function_call_output":
                output = item.get("output")
                said = output if isinstance(output, str) else _text(output)
                identity = str(item.get("call_id", ""))
                messages.append({"role": "tool", "tool_call_id": identity, "content": said})
            case "reasoning":
                continue  # nobody but its author can read it
            case kind:
                path = f"input[{index}].type"
                raise _unsupported(path, f"items of type '{kind}' are not known here")
    return messages


def _message(item: _Json, index: int) -> _Json:
    content = item.get("content")
    role = item.get("role", "user")
    if isinstance(content, str):
        return {"role": role, "content": content}
    if role == "assistant":
        return {"role": role, "content": _text(content)}
    parts = cast("list[_Json]", content or [])
    return {
        "role": role,
        "content": [_part(part, f"input[{index}].content[{at}]") for at, part in enumerate(parts)],
    }


def _call(messages: list[_Json], item: _Json) -> None:
    function = {"name": item.get("name", ""), "arguments": item.get("arguments") or "{}"}
    call = {"id": item.get("call_id", ""), "type": "function", "function": function}
    last = messages[-1] if messages else {}
    if last.get("role") == "assistant":
        last.setdefault("tool_calls", []).append(call)
    else:
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})


def _part(part: _Json, path: str) -> _Json:
    match part.get("type"):
        case "input_text" | "output_text" | "text":
            return {"type": "text", "text": str(part.get("text", ""))}
        case "input_image" if part.get("image_url"):
            image: _Json = {"url": part["image_url"]}
            if part.get("detail"):
                image["detail"] = part["detail"]
            return {"type": "image_url", "image_url": image}
        case "input_file" if part.get("file_data"):
            kept = ("filename", "file_data")
            return {"type": "file", "file": {name: part[name] for name in kept if name in part}}
        case kind:
            raise _unsupported(path, f"no file is kept here, and '{kind}' names one or is unknown")


def _text(content: object) -> str:
    parts = cast("list[_Json]", content if isinstance(content, list) else [])
    return "".join(str(part.get("text") or part.get("refusal") or "") for part in parts)
