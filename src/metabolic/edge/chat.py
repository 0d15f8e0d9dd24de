"""Parse a chat completion request into blocks, tools and the options Metabolic looks at."""

__all__ = ["StreamOptions", "check_stream", "parse_chat", "raw", "stops"]

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from metabolic.core.request import (
    Block,
    Image,
    Message,
    Opaque,
    Request,
    ResponseFormat,
    Sampling,
    Text,
    Thinking,
    Tool,
    ToolResult,
    ToolUse,
)
from metabolic.edge.strict import decode, missing, refusal

_Role = Literal["system", "user", "assistant", "tool", "function", "developer"]
_PLAIN_ROLES = frozenset({"user", "system", "developer", "function"})
_PLAIN_FORMAT = ResponseFormat()
_ABSENT = Raw(b"")
_NULL = b"null"
_UNSAID = _ABSENT, _ABSENT, _ABSENT
_MAX_CHOICES = 128
_ROLES = "'system', 'assistant', 'user', 'function', 'tool', and 'developer'"


class _Part(Struct, frozen=True, gc=False):
    type: str
    text: str | None = None
    refusal: str | None = None
    thinking: str | None = None


class _Called(Struct, frozen=True, gc=False):
    name: str
    arguments: str = ""


class _Custom(Struct, frozen=True, gc=False):
    name: str = ""
    input: str = ""


class _ToolCall(Struct, frozen=True, gc=False):
    id: str = ""
    function: _Called | None = None
    custom: _Custom | None = None


class _Message(Struct, frozen=True, gc=False):
    role: _Role
    content: str | list[_Part] | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str | None = None
    function_call: _Called | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    audio: Raw = _ABSENT


class _Function(Struct, frozen=True, gc=False):
    name: str
    parameters: Raw = _ABSENT


class _Tool(Struct, frozen=True, gc=False):
    type: str
    function: _Function | None = None
    custom: _Custom | None = None


class _JsonSchema(Struct, frozen=True, gc=False):
    schema: Raw = _ABSENT


class _Format(Struct, frozen=True, gc=False):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _JsonSchema | None = None
    schema: Raw = _ABSENT


class StreamOptions(Struct, frozen=True, gc=False):
    """What may accompany ``stream``."""

    include_usage: bool | None = None


class _Chat(Struct, frozen=True, gc=False):
    model: Annotated[str, Meta(min_length=1)]
    messages: Annotated[list[_Message], Meta(min_length=1)]
    tools: list[_Tool] | None = None
    functions: list[_Function] | None = None
    response_format: _Format | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Meta(ge=1, le=_MAX_CHOICES)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    user: str | None = None
    reasoning_effort: Raw = _ABSENT
    reasoning: Raw = _ABSENT
    thinking: Raw = _ABSENT
    chat_template_kwargs: Raw = _ABSENT


_DECODER = msgspec.json.Decoder(_Chat)


def parse_chat(body: bytes, *, request_id: str) -> Request:
    """Return the request in ``body``.

    Raises:
        RequestError: it is malformed; ``param`` names the field.
    """
    chat = decode(_DECODER, body)
    stream, options = chat.stream is True, chat.stream_options
    if options is not None or chat.top_logprobs is not None or chat.response_format is not None:
        _check(chat)
    # A message of one text is most of what there is; the rest takes the long way.
    messages = [
        Message(role=message.role, content=(Text(text=message.content),))
        if type(message.content) is str and message.role in _PLAIN_ROLES
        else Message(role=message.role, content=_blocks(message, index))
        for index, message in enumerate(chat.messages)
    ]
    return Request(
        id=request_id,
        dialect="chat",
        model=chat.model,
        messages=tuple(messages),
        tools=_tools(chat) if chat.tools or chat.functions else (),
        response_format=_format(chat.response_format) if chat.response_format else _PLAIN_FORMAT,
        sampling=Sampling(
            temperature=chat.temperature,
            max_output_tokens=chat.max_completion_tokens or chat.max_tokens,
            stop=() if chat.stop is None else stops(chat.stop),
            seed=chat.seed,
            logprobs=chat.logprobs is True,
            own_effort=_own_effort(chat),
        ),
        n=chat.n or 1,
        stream=stream,
        include_usage=options is not None and options.include_usage is True,
        body=body,
    )


def _own_effort(chat: _Chat) -> bool:
    """Say whether the client says itself how much the model is to think."""
    template = chat.chat_template_kwargs
    said = chat.reasoning_effort, chat.reasoning, chat.thinking
    if template is _ABSENT and said == _UNSAID:
        return False
    return b"thinking" in bytes(template) or any(bytes(one) not in {b"", _NULL} for one in said)


def stops(stop: str | list[str] | None) -> tuple[str, ...]:
    """Return the stop sequences as a tuple, however they were written."""
    if stop is None:
        return ()
    return (stop,) if isinstance(stop, str) else tuple(stop)


def check_stream(*, stream: bool | None, options: StreamOptions | None) -> None:
    """Refuse ``stream_options`` without ``stream``."""
    if options is not None and stream is not True:
        text = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise refusal(text, param="stream_options")


def _check(chat: _Chat) -> None:
    check_stream(stream=chat.stream, options=chat.stream_options)
    if chat.top_logprobs is not None and chat.logprobs is not True:
        text = "The 'logprobs' parameter must be true when 'top_logprobs' is used."
        raise refusal(text, param="top_logprobs")
    wanted = chat.response_format
    if wanted is not None and wanted.type == "json_schema" and wanted.json_schema is None:
        path = "response_format.json_schema"
        raise missing(path)


def _blocks(message: _Message, index: int) -> tuple[Block, ...]:
    """Return a message's content in order: reasoning, text and parts, tool calls."""
    if message.role == "tool":
        return (_tool_result(message, index),)
    content = message.content
    if isinstance(content, str) and message.role != "assistant":
        return (Text(text=content),)
    blocks: list[Block] = []
    if thought := message.reasoning_content or message.reasoning:
        blocks.append(Thinking(text=thought))
    if isinstance(content, str):
        blocks.append(Text(text=content))
    elif content is not None:
        blocks.extend(_part(part) for part in _not_empty(content, index))
    blocks.extend(_spoken(message))
    if not blocks and content is None and not bytes(message.audio):
        text = f"Invalid value for 'messages[{index}].content': expected a string, got null."
        raise refusal(text, param=f"messages[{index}].content", code="invalid_type")
    return tuple(blocks)


def _not_empty(parts: list[_Part], index: int) -> list[_Part]:
    if not parts:
        path = f"messages[{index}].content"
        text = f"Invalid '{path}': empty array. Expected an array with minimum length 1."
        raise refusal(text, param=path, code="empty_array")
    return parts


def _part(part: _Part) -> Block:
    match part.type:
        case "text" | "input_text":
            return Text(text=part.text or "")
        case "image_url" | "input_image" | "image":
            return Image()
        case "refusal":
            return Text(text=part.refusal or "")
        case "thinking" | "reasoning":
            return Thinking(text=part.thinking or part.text or "")
        case kind:
            return Opaque(kind=kind)


def _spoken(message: _Message) -> list[Block]:
    """Return what the assistant did beside its content: refuse, or call tools."""
    blocks: list[Block] = [Text(text=message.refusal)] if message.refusal else []
    for call in message.tool_calls or ():
        if call.function is not None:
            name, arguments = call.function.name, call.function.arguments
        else:
            custom = call.custom or _Custom()
            name, arguments = custom.name, custom.input
        blocks.append(ToolUse(id=call.id, name=name, arguments=arguments))
    if message.function_call is not None:
        called = message.function_call
        blocks.append(ToolUse(id="", name=called.name, arguments=called.arguments))
    return blocks


def _tool_result(message: _Message, index: int) -> ToolResult:
    if message.tool_call_id is None:
        path = f"messages[{index}].tool_call_id"
        text = (
            f"Missing parameter 'tool_call_id': messages with role 'tool' must have it ('{path}')."
        )
        raise refusal(text, param=path, code="missing_required_parameter")
    content = message.content
    if content is None:
        path = f"messages[{index}].content"
        raise missing(path)
    said = content if isinstance(content, str) else "".join(part.text or "" for part in content)
    return ToolResult(id=message.tool_call_id, text=said)


def _tools(chat: _Chat) -> tuple[Tool, ...]:
    tools = [
        _tool(tool.function.name, tool.function.parameters)
        if tool.function is not None
        else Tool(name=tool.custom.name if tool.custom else tool.type)
        for tool in chat.tools or ()
    ]
    tools.extend(_tool(function.name, function.parameters) for function in chat.functions or ())
    return tuple(tools)


def _tool(name: str, parameters: Raw) -> Tool:
    return Tool(name=name, parameters=raw(parameters))


def raw(value: Raw) -> bytes | None:
    """Return the JSON as it was written; ``None`` when absent or null."""
    written = bytes(value)
    return None if not written or written == _NULL else written


def _format(wanted: _Format) -> ResponseFormat:
    inner = wanted.json_schema.schema if wanted.json_schema else wanted.schema
    return ResponseFormat(kind=wanted.type, schema=raw(inner))
