"""What an upstream answered, as it was passed on: bytes of any dialect become a ``Reply``.

Whole answers and streams, of OpenAI's chat, completions and responses, and of Anthropic's
messages. What is no answer is ``None``: whoever listens in has nobody to complain to.
"""

__all__ = ["heard"]

from collections.abc import Iterator, Mapping
from typing import Any, cast

import msgspec

from metabolic.core.attempt import Reply, ReplyChoice, ToolCall
from metabolic.core.request import Usage
from metabolic.edge.dialects import Dialect

Json = dict[str, Any]

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.encode


def heard(dialect: Dialect, body: bytes) -> Reply | None:
    """Return the answer in ``body``, JSON or server-sent events; ``None``: there is none in it.

    >>> heard("completions", b'{"choices": [{"text": "7"}]}').choices[0].text
    '7'
    """
    reply = _read(dialect, body)
    if reply is None or not reply.choices:
        return None
    said = any(one.text or one.tool_calls or one.refusal for one in reply.choices)
    return reply if said else None


def _read(dialect: Dialect, body: bytes) -> Reply | None:
    """Return what is said, if the bytes are of the dialect."""
    try:
        streamed = body.lstrip()[:1] != b"{"
        if dialect == "messages":
            return _message_of(_events(body)) if streamed else _message(_object(_decode(body)))
        if dialect == "responses":
            return _response(_completed(body) if streamed else _object(_decode(body)))
        return _chunks(_events(body)) if streamed else _completion(_object(_decode(body)))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    except (TypeError, KeyError, AttributeError, ValueError):
        return None  # JSON of another shape


def _object(value: object) -> Json:
    """Return a JSON object; anything else is none."""
    return cast("Json", value) if isinstance(value, dict) else {}


def _events(body: bytes) -> Iterator[Json]:
    """Yield the JSON objects of server-sent events."""
    for line in body.splitlines():
        if line.startswith(b"data:") and not line.rstrip().endswith(b"[DONE]"):
            yield _object(_decode(line[5:]))


def _text(content: object) -> str:
    """Return content as one text, however it is written."""
    if isinstance(content, str):
        return content
    parts = cast("list[Json]", content) if isinstance(content, list) else []
    return "".join(str(part.get("text") or "") for part in parts)


def _count(table: Mapping[str, Any], *names: str) -> int | None:
    """Return the first number of tokens of these names; ``None`` where there is none."""
    for name in names:
        value = table.get(name)
        if isinstance(value, int):
            return value
    return None


def _usage(table: object, *, apart: bool = False) -> Usage:
    """Return tokens by any dialect's names; ``apart``: those from the cache are not in the input.

    Source: Anthropic, "Prompt caching": total input is input, cache reads and cache writes.
    """
    told = _object(table)
    details = _object(told.get("prompt_tokens_details") or told.get("input_tokens_details"))
    written = _object(told.get("completion_tokens_details") or told.get("output_tokens_details"))
    cached = _count(details, "cached_tokens")
    whole = _count(told, "prompt_tokens", "input_tokens")
    if apart:
        cached = _count(told, "cache_read_input_tokens")
        created = _count(told, "cache_creation_input_tokens") or 0
        whole = None if whole is None else whole + (cached or 0) + created
    return Usage(
        input_tokens=whole,
        cached_tokens=cached,
        output_tokens=_count(told, "completion_tokens", "output_tokens"),
        reasoning_tokens=_count(written, "reasoning_tokens"),
    )


def _calls(entries: object) -> tuple[ToolCall, ...]:
    """Return OpenAI's tool calls."""
    found: list[ToolCall] = []
    for one in cast("list[Json]", entries or []):
        function = _object(one.get("function") or one.get("custom"))
        said = function.get("arguments") or function.get("input") or ""
        found.append(
            ToolCall(id=one.get("id"), name=str(function.get("name") or ""), arguments=str(said))
        )
    return tuple(found)


def _completion(body: Json) -> Reply:
    """Return a whole chat or text completion."""
    choices: list[ReplyChoice] = []
    for one in cast("list[Json]", body.get("choices") or []):
        said = _object(one.get("message"))
        choices.append(
            ReplyChoice(
                text=str(one["text"]) if "text" in one else _text(said.get("content")),
                refusal=said.get("refusal"),
                finish_reason=one.get("finish_reason"),
                tool_calls=_calls(said.get("tool_calls")),
            )
        )
    return Reply(choices=tuple(choices), usage=_usage(body.get("usage")))


def _chunks(events: Iterator[Json]) -> Reply:
    """Return the chat or text completion that a stream's chunks add up to."""
    gathered: dict[int, Json] = {}
    usage: object = None
    for event in events:
        usage = event.get("usage") or usage
        for one in cast("list[Json]", event.get("choices") or []):
            into = gathered.setdefault(int(one.get("index") or 0), {"text": "", "calls": {}})
            said = _object(one.get("delta"))
            into["text"] += str(one.get("text") or "") + _text(said.get("content"))
            into["refusal"] = (into.get("refusal") or "") + str(said.get("refusal") or "")
            into["finish"] = one.get("finish_reason") or into.get("finish")
            for piece in cast("list[Json]", said.get("tool_calls") or []):
                _add(into["calls"], piece)
    choices = tuple(
        ReplyChoice(
            text=one["text"],
            refusal=one.get("refusal") or None,
            finish_reason=one.get("finish"),
            tool_calls=tuple(ToolCall(**call) for _, call in sorted(one["calls"].items())),
        )
        for _, one in sorted(gathered.items())
    )
    return Reply(choices=choices, usage=_usage(usage))


def _add(calls: dict[int, Json], piece: Json) -> None:
    """Add a piece of a tool call to those gathered."""
    into = calls.setdefault(int(piece.get("index") or 0), {"name": "", "arguments": "", "id": None})
    function = _object(piece.get("function"))
    into["name"] += str(function.get("name") or "")
    into["arguments"] += str(function.get("arguments") or "")
    into["id"] = piece.get("id") or into["id"]


def _message(body: Json) -> Reply:
    """Return a whole answer in Anthropic's words."""
    blocks = cast("list[Json]", body.get("content") or [])
    choice = ReplyChoice(
        text="".join(str(one.get("text") or "") for one in blocks if one.get("type") == "text"),
        finish_reason=body.get("stop_reason"),
        tool_calls=tuple(
            ToolCall(
                id=one.get("id"),
                name=str(one.get("name")),
                arguments=_encode(one.get("input")).decode(),
            )
            for one in blocks
            if one.get("type") == "tool_use"
        ),
    )
    return Reply(choices=(choice,), usage=_usage(body.get("usage"), apart=True))


def _message_of(events: Iterator[Json]) -> Reply:
    """Return the answer that a stream in Anthropic's words adds up to."""
    blocks: dict[int, Json] = {}
    usage: Json = {}
    stop: str | None = None
    for event in events:
        usage |= _object(_object(event.get("message")).get("usage")) | _object(event.get("usage"))
        delta, index = _object(event.get("delta")), int(event.get("index") or 0)
        stop = delta.get("stop_reason") or stop
        if event.get("type") == "content_block_start":
            blocks[index] = _object(event.get("content_block")) | {"said": ""}
        elif event.get("type") == "content_block_delta" and index in blocks:
            blocks[index]["said"] += str(delta.get("text") or delta.get("partial_json") or "")
    content = [
        one | {"text": one["said"], "input": _decode(one["said"] or b"{}")}
        if one.get("type") == "tool_use"
        else one | {"text": one["said"]}
        for _, one in sorted(blocks.items())
    ]
    return _message({"content": content, "stop_reason": stop, "usage": usage})


def _completed(body: bytes) -> Json:
    """Return the whole response that the last events of a stream hold."""
    whole: Json = {}
    for event in _events(body):
        if event.get("type") in {"response.completed", "response.incomplete"}:
            whole = _object(event.get("response"))
    return whole


def _response(body: Json) -> Reply:
    """Return a whole answer of the Responses API."""
    items = cast("list[Json]", body.get("output") or [])
    choice = ReplyChoice(
        text="".join(_text(one.get("content")) for one in items if one.get("type") == "message"),
        finish_reason="stop" if body.get("status") == "completed" else body.get("status"),
        tool_calls=tuple(
            ToolCall(
                id=one.get("call_id"),
                name=str(one.get("name") or ""),
                arguments=str(one.get("arguments") or ""),
            )
            for one in items
            if one.get("type") == "function_call"
        ),
    )
    return Reply(choices=(choice,), usage=_usage(body.get("usage")))
