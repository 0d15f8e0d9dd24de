"""Deterministic answers of the fake OpenAI-compatible server, in all three dialects.

A token is a word with the space behind it, so token counts can be checked by hand. The default
answer is a known text of sixty words: an answer that was cut cannot pass for a whole one.
"""

__all__ = [
    "TEXT",
    "Told",
    "chat_body",
    "chat_events",
    "embeddings_body",
    "going_on",
    "rest",
    "tell",
]

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import msgspec
from msgspec import Struct

Ask = Mapping[str, Any]

TEXT = " ".join(f"word{number:02d}" for number in range(1, 61))
"""The default answer: ``word01`` to ``word60``."""

CREATED_S = 1_700_000_000
_TOKEN = re.compile(r"^\s+|\S+\s*")
_LEAST_CHARS = 4
"""A prompt that ends in fewer characters of the text does so by chance."""

_encode = msgspec.json.encode


class Told(Struct, frozen=True, kw_only=True):
    """What one choice says: its tokens, or one tool call, and why it ends."""

    tokens: tuple[str, ...]
    reasoning: str | None
    tool: tuple[str, str] | None
    finish: str
    logprob: float
    prompt_tokens: int

    @property
    def text(self) -> str:
        """Return the tokens as one text."""
        return "".join(self.tokens)


def tell(ask: Ask, *, text: str, logprob: float) -> Told:
    """Say what the answer to ``ask`` is: ``text``, or a tool call or JSON if it asks for one."""
    tool = _tool_call(ask)
    schema = _schema(ask)
    if schema is not None and tool is None:
        text = _encode(_value(schema)).decode()
    tokens = _TOKEN.findall(text) if tool is None else []
    limit = ask.get("max_completion_tokens") or ask.get("max_tokens")
    finish = "tool_calls" if tool else "stop"
    if isinstance(limit, int) and limit < len(tokens):
        tokens, finish = tokens[:limit], "length"
    return Told(
        tokens=_until_stop(tokens, ask.get("stop")),
        reasoning="Let me think." if str(ask.get("model", "")).startswith("reason") else None,
        tool=tool,
        finish=finish,
        logprob=logprob,
        prompt_tokens=len(_prompt(ask).split()),
    )


def going_on(ask: Ask, *, by_itself: bool) -> str:
    """Return what the answer is to go on from, as an engine reads it; ``""``: it begins anew.

    That is a last assistant message, without the white space at its ends (templates trim it),
    where ``continue_final_message`` is set or the engine goes on ``by_itself``; and what a text
    completion's prompt ends in, see ``rest``.
    """
    messages: Any = ask.get("messages") or [{}]
    asked = ask.get("continue_final_message") is True
    if messages[-1].get("role") != "assistant" or not (asked or by_itself):
        return ""
    content: Any = messages[-1].get("content")
    whole = content if isinstance(content, str) else "".join(one["text"] for one in content)
    return whole.strip()


def rest(text: str, given: str, prompt: str = "") -> str:
    """Return what is left of a known text behind what was given of it.

    One who was given something else begins anew, as models do that have lost the thread.
    ``prompt`` is a text completion's, which may end in the beginning of the text.
    """
    if given:
        return text.removeprefix(given)
    for chars in range(min(len(text), len(prompt)), 0, -1):
        if prompt.endswith(text[:chars]) and chars >= _LEAST_CHARS:
            return text[chars:]
    return text


def chat_body(ask: Ask, told: Told, *, chat: bool) -> bytes:
    """Return a whole chat completion (or, without ``chat``, a text completion)."""
    choices = [
        {
            "index": index,
            **({"message": _message(told)} if chat else {"text": told.text}),
            "logprobs": _logprobs(told.tokens, told.logprob, chat=chat) if _wants(ask) else None,
            "finish_reason": told.finish,
        }
        for index in range(_n(ask))
    ]
    kind = "chat.completion" if chat else "text_completion"
    return _encode({**_head(ask, kind), "choices": choices, "usage": _usage(ask, told)})


def chat_events(ask: Ask, told: Told, *, chat: bool) -> Iterator[bytes]:
    """Yield the SSE events of a streamed answer, ``[DONE]`` included."""
    head = _head(ask, "chat.completion.chunk" if chat else "text_completion")
    for index in range(_n(ask)):
        for delta, tokens in _deltas(told, chat=chat):
            logprobs = None
            if tokens and _wants(ask):
                logprobs = _logprobs(tokens, told.logprob, chat=chat)
            yield _event(head, {"index": index, **delta, "logprobs": logprobs}, finish=None)
        last: Any = {"delta": {}} if chat else {"text": ""}
        yield _event(head, {"index": index, **last, "logprobs": None}, finish=told.finish)
    options: Any = ask.get("stream_options") or {}
    if options.get("include_usage"):
        usage: Any = {**head, "choices": [], "usage": _usage(ask, told)}
        yield b"data: " + _encode(usage) + b"\n\n"
    yield b"data: [DONE]\n\n"


def embeddings_body(ask: Ask) -> bytes:
    """Return one vector of four numbers for each input."""
    given: Any = ask.get("input", "")
    one = not isinstance(given, list) or not given or isinstance(given[0], int)
    many = cast("list[object]", [given] if one else given)
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": [float(len(str(item))), 0.5, -0.5, 1.0],
        }
        for index, item in enumerate(many)
    ]
    words = sum(len(str(item).split()) for item in many)
    usage = {"prompt_tokens": words, "total_tokens": words}
    return _encode({"object": "list", "data": data, "model": ask.get("model"), "usage": usage})


def _deltas(told: Told, *, chat: bool) -> Iterator[tuple[dict[str, Any], tuple[str, ...]]]:
    if not chat:
        for token in told.tokens:
            yield {"text": token}, (token,)
        return
    yield {"delta": {"role": "assistant", "content": ""}}, ()
    if told.reasoning:
        yield {"delta": {"reasoning_content": told.reasoning}}, ()
    for token in told.tokens:
        yield {"delta": {"content": token}}, (token,)
    if told.tool:
        name, arguments = told.tool
        half = len(arguments) // 2
        start = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": ""}}
        yield {"delta": {"tool_calls": [{"index": 0, **start}]}}, ()
        for part in (arguments[:half], arguments[half:]):
            yield {"delta": {"tool_calls": [{"index": 0, "function": {"arguments": part}}]}}, ()


def _event(head: dict[str, Any], choice: dict[str, Any], *, finish: str | None) -> bytes:
    return b"data: " + _encode({**head, "choices": [{**choice, "finish_reason": finish}]}) + b"\n\n"


def _message(told: Told) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": told.text}
    if told.reasoning:
        message["reasoning_content"] = told.reasoning
    if told.tool:
        name, arguments = told.tool
        function = {"name": name, "arguments": arguments}
        message["content"] = None
        message["tool_calls"] = [{"id": "call_1", "type": "function", "function": function}]
    return message


def _logprobs(tokens: Sequence[str], logprob: float, *, chat: bool) -> dict[str, Any]:
    if not chat:
        return {"tokens": list(tokens), "token_logprobs": [logprob] * len(tokens)}
    content: Any = [{"token": token, "logprob": logprob, "top_logprobs": []} for token in tokens]
    return {"content": content}


def _usage(ask: Ask, told: Told) -> dict[str, Any]:
    reasoning = len((told.reasoning or "").split())
    output = (len(told.tokens) + reasoning + (1 if told.tool else 0)) * _n(ask)
    return {
        "prompt_tokens": told.prompt_tokens,
        "completion_tokens": output,
        "total_tokens": told.prompt_tokens + output,
        "prompt_tokens_details": {"cached_tokens": told.prompt_tokens // 2},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


def _head(ask: Ask, kind: str) -> dict[str, Any]:
    return {"id": "fake-1", "object": kind, "created": CREATED_S, "model": ask.get("model")}


def _n(ask: Ask) -> int:
    return ask.get("n") or 1


def _wants(ask: Ask) -> bool:
    """Say whether log-probabilities are asked for (``0`` asks, in text completions)."""
    wanted = ask.get("logprobs")
    return wanted is not None and wanted is not False


def _until_stop(tokens: Sequence[str], stop: object) -> tuple[str, ...]:
    stops = [stop] if isinstance(stop, str) else cast("list[str]", stop or [])
    for index, token in enumerate(tokens):
        if any(word in token for word in stops):
            return tuple(tokens[:index])
    return tuple(tokens)


def _prompt(ask: Ask) -> str:
    if "prompt" in ask:
        return str(ask["prompt"])
    messages: Any = ask.get("messages") or []
    return " ".join(str(message.get("content")) for message in messages)


def _tool_call(ask: Ask) -> tuple[str, str] | None:
    """Call a tool if the choice demands it, or if the last user message names one."""
    tools: Any = ask.get("tools") or []
    functions: Any = [tool["function"] for tool in tools if "function" in tool]
    choice: Any = ask.get("tool_choice")
    messages: Any = ask.get("messages") or [{}]
    if not functions or choice == "none":
        return None
    named = cast("Any", choice)["function"]["name"] if isinstance(choice, dict) else None
    said = str(messages[-1].get("content")) if messages[-1].get("role") == "user" else ""
    for function in functions:
        if choice == "required" or function["name"] == named or function["name"] in said:
            schema: Any = function.get("parameters") or {}
            return function["name"], _encode(_value(schema)).decode()
    return None


def _schema(ask: Ask) -> dict[str, Any] | None:
    wanted: Any = ask.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        return wanted["json_schema"].get("schema") or {"type": "object"}
    return {"type": "object"} if wanted.get("type") == "json_object" else None


def _value(schema: Mapping[str, Any]) -> object:
    """Return the plainest value that fits a JSON schema."""
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "string":
            return "Paris"
        case "integer" | "number":
            return 1
        case "boolean":
            return True
        case "array":
            return [_value(schema.get("items") or {"type": "string"})]
        case "null":
            return None
        case _:
            properties: Any = schema.get("properties") or {}
            return {name: _value(inner) for name, inner in properties.items()}
