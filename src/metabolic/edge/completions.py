"""Parse a text completion request; its prompts become user messages."""

__all__ = ["parse_completions", "prompts"]

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from metabolic.core.request import Block, Message, Opaque, Request, Sampling, Text
from metabolic.edge.chat import StreamOptions, check_stream, stops
from metabolic.edge.strict import decode, refusal

_MAX_CHOICES = 128

Prompt = str | list[str | int | list[int]]
"""A text, several texts, the tokens of one, or the tokens of several."""


class _Completions(Struct, frozen=True, gc=False):
    model: Annotated[str, Meta(min_length=1)]
    prompt: Prompt
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Meta(ge=1, le=_MAX_CHOICES)] | None = None
    best_of: Annotated[int, Meta(ge=1, le=_MAX_CHOICES)] | None = None
    max_tokens: Annotated[int, Meta(ge=0)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    logprobs: Annotated[int, Meta(ge=0)] | bool | None = None
    echo: bool | None = None
    suffix: str | None = None


_DECODER = msgspec.json.Decoder(_Completions)


def parse_completions(body: bytes, *, request_id: str) -> Request:
    """Return the request in ``body``; one user message a prompt.

    Raises:
        RequestError: it is malformed; ``param`` names the field.
    """
    asked = decode(_DECODER, body)
    check_stream(stream=asked.stream, options=asked.stream_options)
    if asked.best_of is not None and asked.best_of < (asked.n or 1):
        text = "Invalid 'best_of': it must not be smaller than 'n'."
        raise refusal(text, param="best_of")
    return Request(
        id=request_id,
        dialect="completions",
        model=asked.model,
        messages=tuple(
            Message(role="user", content=(block,)) for block in prompts(asked.prompt, "prompt")
        ),
        sampling=Sampling(
            temperature=asked.temperature,
            max_output_tokens=asked.max_tokens,
            stop=stops(asked.stop),
            seed=asked.seed,
            logprobs=asked.logprobs is not None and asked.logprobs is not False,
        ),
        n=asked.n or 1,
        stream=asked.stream is True,
        include_usage=asked.stream_options is not None
        and asked.stream_options.include_usage is True,
        body=body,
    )


def prompts(given: Prompt, param: str) -> tuple[Block, ...]:
    """Return one block a prompt; token numbers are opaque (``tokens``).

    Raises:
        RequestError: there is none, or texts and tokens are mixed.
    """
    if isinstance(given, str):
        return (Text(text=given),)
    if not given:
        text = f"Invalid '{param}': empty array. Expected an array with minimum length 1."
        raise refusal(text, param=param, code="empty_array")
    kinds = {type(item) for item in given}
    if len(kinds) > 1:
        text = f"Invalid type for '{param}': texts and tokens cannot be mixed."
        raise refusal(text, param=param, code="invalid_type")
    if kinds == {int}:
        return (Opaque(kind="tokens"),)
    return tuple(
        Text(text=item) if isinstance(item, str) else Opaque(kind="tokens") for item in given
    )
