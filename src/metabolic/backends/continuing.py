"""A request that goes on with an answer of which the client has the beginning. No I/O.

What is given ends in no white space (``edge.continuing``): templates trim it, Anthropic refuses it.
"""

__all__ = ["going_on", "prefilled"]

from typing import Any

import msgspec
from msgspec import Raw

from metabolic.core.errors import Refused
from metabolic.core.request import Given, Request

Json = dict[str, Any]
Fields = dict[str, Raw]

_LIMITS = ("max_completion_tokens", "max_tokens")
_ANEW = "this engine begins every answer anew"
_SHAPED = "an answer that thinks, calls a tool or keeps to a shape cannot be gone on with"
_SPENT = "nothing is left of the limit on tokens"

_encode = msgspec.json.encode
_json = msgspec.json.Decoder(dict[str, Any])
_messages = msgspec.json.Decoder(list[Raw])


def going_on(
    fields: Fields, request: Request, given: Given, continues: tuple[tuple[str, str], ...] | None
) -> None:
    """Let an OpenAI request go on from ``given``: as its last message, or behind its prompt.

    Raises:
        Refused: the engine cannot, or there is nothing left of the limit on tokens.
    """
    for name in _LIMITS:
        limit: object = msgspec.json.decode(fields[name]) if name in fields else None
        if isinstance(limit, int):
            fields[name] = Raw(_encode(_left(limit, given)))
    if request.dialect == "completions":
        prompt = msgspec.json.decode(fields["prompt"], type=str)
        fields["prompt"] = Raw(_encode(prompt + given.text))
        return
    if continues is None:
        raise _refused(_ANEW)
    last = _encode({"role": "assistant", "content": given.text})
    fields["messages"] = Raw(_encode([*_messages.decode(fields["messages"]), Raw(last)]))
    fields.update({name: Raw(value.encode()) for name, value in continues})


def prefilled(body: bytes, given: Given) -> bytes:
    """Return a Messages request that goes on from ``given``.

    Raises:
        Refused: it thinks, or must keep to a shape; or nothing is left of its limit.
    """
    fields: Json = _json.decode(body)
    thinks: Json = fields.get("thinking") or {}
    forced: Json = fields.get("tool_choice") or {}
    if thinks.get("type", "disabled") != "disabled" or fields.get("output_config"):
        raise _refused(_SHAPED)
    if forced.get("type") in {"any", "tool"}:
        raise _refused(_SHAPED)
    last = {"role": "assistant", "content": given.text}
    left = _left(int(fields["max_tokens"]), given)
    return _encode({**fields, "messages": [*fields["messages"], last], "max_tokens": left})


def _left(limit: int, given: Given) -> int:
    if limit <= given.tokens:
        raise _refused(_SPENT)
    return limit - given.tokens


def _refused(why: str) -> Refused:
    return Refused(why, status=400, body=b"")
