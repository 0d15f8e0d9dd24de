"""Anthropic's whole answer as a value, and in OpenAI's words for a client that speaks those."""

__all__ = ["reply_of", "usage_json"]

from typing import Any

import msgspec

from metabolic.backends.claude_shapes import Block, Said, finish_of, usage_of
from metabolic.backends.status import error_in_band
from metabolic.core.attempt import Reply, ReplyChoice, ToolCall
from metabolic.core.errors import BadReply
from metabolic.core.request import Request, Usage

Json = dict[str, Any]

_said = msgspec.json.Decoder(Said)
_raw = msgspec.json.Decoder(dict[str, msgspec.Raw])
_blocks = msgspec.json.Decoder(list[msgspec.Raw])
_encode = msgspec.json.encode
_THOUGHTS = frozenset({"thinking", "redacted_thinking"})


def reply_of(body: bytes, request: Request, *, at_s: float, secret: str | None = None) -> Reply:
    """Return a whole answer, parsed, and as the client may have it: untouched if it came so.

    ``at_s`` (seconds since the epoch) is what OpenAI calls ``created``.

    Raises:
        BadReply: it is not a message. An ``error`` in it is raised as what it says.
    """
    try:
        said = _said.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        message = "the deployment's answer is not a message"
        raise BadReply(message) from exc
    if said.error is not None:
        raise error_in_band(_encode(said.error), secret=secret)
    if said.content is None:
        message = "the deployment's answer has no content"
        raise BadReply(message)
    choice, usage = _choice(said, said.content), usage_of(said.usage)
    native = request.native is not None and request.native.dialect == "messages"
    shown = body if native else _encode(_completion(said, choice, usage, body, at_s))
    return Reply(choices=(choice,), usage=usage, body=shown)


def usage_json(usage: Usage) -> Json:
    """Return the usage in OpenAI's words."""
    given, taken = usage.input_tokens or 0, usage.output_tokens or 0
    return {
        "prompt_tokens": given,
        "completion_tokens": taken,
        "total_tokens": given + taken,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens or 0},
    }


def _choice(said: Said, blocks: list[Block]) -> ReplyChoice:
    return ReplyChoice(
        text="".join(block.text or "" for block in blocks if block.type == "text"),
        reasoning="".join(block.thinking or "" for block in blocks if block.type == "thinking"),
        finish_reason=finish_of(said.stop_reason),
        tool_calls=tuple(
            ToolCall(id=block.id, name=block.name or "", arguments=bytes(block.input).decode())
            for block in blocks
            if block.type == "tool_use"
        ),
    )


def _completion(said: Said, choice: ReplyChoice, usage: Usage, body: bytes, at_s: float) -> Json:
    message: Json = {"role": "assistant", "content": choice.text or None}
    if choice.reasoning:
        message["reasoning_content"] = choice.reasoning
    if thoughts := _thoughts(body, said):
        message["thinking_blocks"] = thoughts
    if choice.tool_calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in choice.tool_calls
        ]
    elif not choice.text:
        message["content"] = ""
    one = {"index": 0, "message": message, "logprobs": None, "finish_reason": choice.finish_reason}
    return {
        "id": said.id,
        "object": "chat.completion",
        "created": int(at_s),
        "model": said.model,
        "choices": [one],
        "usage": usage_json(usage),
    }


def _thoughts(body: bytes, said: Said) -> list[msgspec.Raw]:
    """Return the thinking blocks as they were written: a signature holds for these bytes."""
    if not any(block.type in _THOUGHTS for block in said.content or ()):
        return []
    written = _blocks.decode(_raw.decode(body)["content"])
    return [
        raw
        for raw, block in zip(written, said.content or (), strict=True)
        if block.type in _THOUGHTS
    ]
