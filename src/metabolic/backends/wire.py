"""The client's body on its way to an upstream, and the upstream's answer on its way back.

Bodies are taken apart at the top level only: what Metabolic does not set goes out byte for byte as
it came in, and an answer comes back as it was written unless Metabolic asked for more than the
client did.
"""

__all__ = ["NEVER_FORWARDED", "reply_of", "strip_logprobs", "strip_usage", "upstream_body"]

import msgspec
from msgspec import Raw

from metabolic.backends.continuing import going_on
from metabolic.backends.drafting import DraftField
from metabolic.backends.shapes import (
    Answered,
    AnsweredTops,
    ChunkChoice,
    Said,
    drafts_of,
    text_of,
    usage_of,
)
from metabolic.backends.status import error_in_band
from metabolic.backends.variants import put
from metabolic.core.attempt import Call, Reply, ReplyChoice, ToolCall
from metabolic.core.errors import BadReply
from metabolic.core.fleet import Variant
from metabolic.core.request import Request

NEVER_FORWARDED = frozenset(
    {
        "api_base",
        "api_host",
        "api_key",
        "api_type",
        "api_version",
        "azure_ad_token",
        "base_url",
        "custom_llm_provider",
        "default_headers",
        "endpoint",
        "extra_headers",
        "headers",
        "organization",
        "proxy",
    }
)
"""Fields by which a body could choose an address or a key at a proxy further up.

Source: CVE-2024-6587 (``api_base`` in a body sent the server's key elsewhere).
"""

Fields = dict[str, Raw]

_TRUE, _NULL = Raw(b"true"), Raw(b"null")
_WITH_USAGE = Raw(b'{"include_usage":true}')
_ONE = Raw(b"1")
_SILENT = Said()

_encode = msgspec.json.encode
_fields = msgspec.json.Decoder(Fields)
_choices = msgspec.json.Decoder(list[Fields])
_answered = msgspec.json.Decoder(Answered)
_answered_tops: msgspec.json.Decoder[Answered] = msgspec.json.Decoder(AnsweredTops)


def upstream_body(  # noqa: PLR0913 - what differs between upstreams
    request: Request,
    call: Call,
    *,
    model: str,
    streamed: bool,
    variant: Variant | None = None,
    dropped: frozenset[str] = NEVER_FORWARDED,
    output_limit: str | None = None,
    drafting: DraftField | None = None,
    continues: tuple[tuple[str, str], ...] | None = None,
) -> bytes:
    """Return the body to send: the client's, with only what must differ set.

    Set are ``model``; ``stream`` and ``stream_options.include_usage`` as ``streamed`` says;
    ``logprobs`` when the call wants them; and what ``variant`` names. ``dropped`` holds
    ``NEVER_FORWARDED`` and what the upstream refuses; ``output_limit`` is the only name it knows
    for the limit on tokens, ``drafting`` the field it is told by what to draft, ``continues`` those
    that let it go on with an answer.
    """
    fields = _fields.decode(request.body)
    if not dropped.isdisjoint(fields):
        for name in dropped.intersection(fields):
            del fields[name]
    fields["model"] = Raw(_encode(model))
    if streamed:
        fields["stream"] = _TRUE
        fields["stream_options"] = _with_usage(fields.get("stream_options"))
    else:
        fields.pop("stream", None)
        fields.pop("stream_options", None)
    if call.logprobs and not request.sampling.logprobs and request.dialect != "embeddings":
        # A text completion's 0 would do for OpenAI; llama.cpp takes it for "none".
        fields["logprobs"] = _TRUE if request.dialect == "chat" else _ONE
        if call.alternatives and request.dialect == "chat":
            fields["top_logprobs"] = Raw(_encode(call.alternatives))
    if variant is not None:
        _vary(fields, request, variant)
    if request.given is not None:
        going_on(fields, request, request.given, continues)
    if output_limit is not None:
        _rename_limit(fields, output_limit)
    if drafting is not None and call.num_speculative_tokens is not None:
        drafting.put(fields, call.num_speculative_tokens)
    return _encode(fields)


def reply_of(body: bytes, request: Request, call: Call, *, secret: str | None = None) -> Reply:
    """Return a whole answer, parsed, and as the client may have it.

    Raises:
        BadReply: it is not an answer, or has no choices. An ``error`` in it is raised as what it
            says. ``secret`` is taken out of what is passed on of that.
    """
    try:
        answered = (_answered_tops if call.alternatives else _answered).decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        message = "the deployment's answer is not an OpenAI answer"
        raise BadReply(message) from exc
    if answered.error is not None:
        raise error_in_band(_encode(answered.error), secret=secret)
    if request.dialect == "embeddings":
        if not answered.data:
            message = "the deployment's answer has no embeddings"
            raise BadReply(message)
    elif not answered.choices:
        message = "the deployment's answer has no choices"
        raise BadReply(message)
    hidden = call.logprobs and not request.sampling.logprobs
    return Reply(
        choices=tuple([_choice(choice) for choice in answered.choices or ()]),
        usage=usage_of(answered.usage, answered.timings),
        body=strip_logprobs(body) if hidden else body,
        drafts=None if answered.timings is None else drafts_of(answered.timings),
    )


def strip_logprobs(body: bytes) -> bytes:
    """Return an answer or a chunk with every choice's ``logprobs`` set to null."""
    fields = _fields.decode(body)
    choices = _choices.decode(fields.get("choices", Raw(b"[]")))
    for choice in choices:
        if "logprobs" in choice:
            choice["logprobs"] = _NULL
    fields["choices"] = Raw(_encode(choices))
    return _encode(fields)


def strip_usage(body: bytes) -> bytes:
    """Return a chunk without ``usage``."""
    fields = _fields.decode(body)
    fields.pop("usage", None)
    return _encode(fields)


def _with_usage(options: Raw | None) -> Raw:
    """Return the client's stream options with ``include_usage`` on."""
    if options is None or bytes(options) == b"null":
        return _WITH_USAGE
    fields = _fields.decode(options)
    fields["include_usage"] = _TRUE
    return Raw(_encode(fields))


def _vary(fields: Fields, request: Request, variant: Variant) -> None:
    """Set what the variant says of thinking; lower the output budget, never raise it."""
    if variant.body is not None:
        put(fields, variant.body)
    if variant.reasoning_effort is not None:
        fields["reasoning_effort"] = Raw(_encode(variant.reasoning_effort))
    most = variant.max_output_tokens
    asked = request.sampling.max_output_tokens
    if most is not None and (asked is None or asked > most):
        name = "max_completion_tokens" if "max_completion_tokens" in fields else "max_tokens"
        fields[name] = Raw(_encode(most))


def _rename_limit(fields: Fields, name: str) -> None:
    """Ask for at most so many tokens by the name the upstream knows."""
    for other in ("max_completion_tokens", "max_tokens"):
        if other != name and other in fields:
            limit = fields.pop(other)
            fields.setdefault(name, limit)


def _choice(choice: ChunkChoice) -> ReplyChoice:
    said = choice.message or _SILENT
    return ReplyChoice(
        text=choice.text if choice.text is not None else text_of(said.content),
        reasoning=said.reasoning_content or said.reasoning or "",
        refusal=said.refusal,
        finish_reason=choice.finish_reason,
        tool_calls=_tool_calls(said) if said.tool_calls or said.function_call else (),
        logprobs=tuple(choice.logprobs.values()) if choice.logprobs else (),
        alternatives=tuple(choice.logprobs.tops()) if choice.logprobs else (),
        tokens=tuple(choice.logprobs.tokens()) if choice.logprobs else (),
    )


def _tool_calls(said: Said) -> tuple[ToolCall, ...]:
    calls: list[ToolCall] = []
    for delta in said.tool_calls or ():
        function = delta.function or delta.custom
        if function is not None:
            name, arguments = function.name or "", function.arguments or ""
            calls.append(ToolCall(id=delta.id, name=name, arguments=arguments))
    if (old := said.function_call) is not None:
        calls.append(ToolCall(name=old.name or "", arguments=old.arguments or ""))
    return tuple(calls)
