"""A variant in the words of one engine: what goes into the body of a request, decided once."""

__all__ = ["put", "spoken"]

from typing import Any

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from metabolic.core.engine import EngineTraits
from metabolic.core.fleet import Variant

_TEMPLATE = "chat_template_kwargs"

_encode = msgspec.json.encode
_fields = msgspec.json.Decoder(dict[str, Raw])
_whole = msgspec.json.Decoder(dict[str, Any])


def spoken(variant: Variant, traits: EngineTraits) -> Variant:
    """Return a variant whose ``body`` says what it says of thinking, as the engine reads it.

    Engines that run a chat template switch thinking there; others by the effort ``none``. What the
    operator wrote in ``body`` stays.
    """
    body: dict[str, Any] = {} if variant.body is None else _whole.decode(variant.body)
    if variant.thinking is not None and traits.thinking == "template":
        body[_TEMPLATE] = {"enable_thinking": variant.thinking, **body.get(_TEMPLATE, {})}
    elif variant.thinking is False and variant.reasoning_effort is None:
        body.setdefault("reasoning_effort", "none")
    return replace(variant, body=_encode(body).decode() if body else None)


def put(fields: dict[str, Raw], body: str) -> None:
    """Put a variant's fields in a request's; arguments of the chat template are added up."""
    for name, value in _fields.decode(body).items():
        before = fields.get(name)
        if name == _TEMPLATE and before is not None and bytes(before)[:1] == b"{":
            fields[name] = Raw(_encode(_fields.decode(before) | _fields.decode(value)))
        else:
            fields[name] = value
