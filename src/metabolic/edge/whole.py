"""A streamed answer that the client wanted whole, in OpenAI's shape."""

__all__ = ["whole"]

import msgspec

from metabolic.core.attempt import Reply, ReplyChoice
from metabolic.core.request import Usage

_encode = msgspec.json.encode


def whole(reply: Reply, *, identity: str, model: str, created: int) -> bytes:
    """Return a chat completion that says what the events of a stream said, without tool calls.

    ``created`` is in seconds since the epoch.
    """
    body: dict[str, object] = {
        "id": f"chatcmpl-{identity}",
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [_choice(index, one) for index, one in enumerate(reply.choices)],
    }
    usage = _usage(reply.usage)
    if usage is not None:
        body["usage"] = usage
    return _encode(body)


def _choice(index: int, one: ReplyChoice) -> dict[str, object]:
    """Return one choice."""
    message: dict[str, object] = {"role": "assistant", "content": one.text}
    if one.reasoning:
        message["reasoning_content"] = one.reasoning
    if one.refusal is not None:
        message["refusal"] = one.refusal
    return {
        "index": index,
        "message": message,
        "logprobs": None,
        "finish_reason": one.finish_reason,
    }


def _usage(usage: Usage) -> dict[str, object] | None:
    """Return the tokens, if the engine reported them."""
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    found: dict[str, object] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
    if usage.cached_tokens is not None:
        found["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    if usage.reasoning_tokens is not None:
        found["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return found
