"""Parse an embeddings request; its inputs become user messages."""

__all__ = ["parse_embeddings"]

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from metabolic.core.request import Message, Request
from metabolic.edge.completions import Prompt, prompts
from metabolic.edge.strict import decode, refusal


class _Embeddings(Struct, frozen=True, gc=False):
    model: Annotated[str, Meta(min_length=1)]
    input: Prompt
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1)] | None = None


_DECODER = msgspec.json.Decoder(_Embeddings)


def parse_embeddings(body: bytes, *, request_id: str) -> Request:
    """Return the request in ``body``; one user message an input.

    Raises:
        RequestError: it is malformed; ``param`` names the field.
    """
    asked = decode(_DECODER, body)
    if not asked.input:
        text = "Invalid 'input': it must not be empty."
        raise refusal(text, param="input", code="empty_array")
    return Request(
        id=request_id,
        dialect="embeddings",
        model=asked.model,
        messages=tuple(
            Message(role="user", content=(block,)) for block in prompts(asked.input, "input")
        ),
        body=body,
    )
