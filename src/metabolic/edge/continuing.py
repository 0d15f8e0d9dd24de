"""Going on with an answer of which the client has the beginning: what it has, and the rest. No I/O.

White space is the trap. Templates trim a message's end, Anthropic refuses one that ends in white
space, and a token often begins with a space: so the text is given without the white space at its
end, the model writes that again, and as much of it as the client has is taken away.

An answer is only gone on with where that is exact: one choice of plain text. Calls of tools,
reasoning, log-probabilities, grammars and a finish reason end it honestly instead; so does text
that reads as a template's own marks, or whose last character is half.
"""

__all__ = ["Joiner", "Released", "can_go_on", "released"]

from collections.abc import Mapping
from typing import Any, cast

import msgspec
from msgspec import Struct

from metabolic.core.request import Given, Request
from metabolic.edge.render import split_events

Json = dict[str, Any]

_HEAD = ("id", "created", "model", "system_fingerprint", "service_tier", "provider")
"""What the chunks of one answer share."""

_SHAPING = frozenset(
    {
        "add_generation_prompt", "audio", "chat_template", "continue_final_message", "ebnf",
        "function_call", "functions", "grammar", "guided_choice", "guided_decoding_backend",
        "guided_grammar", "guided_json", "guided_regex", "guided_whitespace_pattern",
        "json_schema", "modalities", "prompt_embeds", "regex", "structural_tag",
        "structured_outputs", "suffix",
    }
)  # fmt: skip
"""Fields that hold an answer to a shape, or say themselves how the prompt ends."""

_MARKS = ("<think", "</think", "<|")
_HALF = "\ufffd"
_FORCED = frozenset({"required", "any"})

_encode = msgspec.json.encode
_json = msgspec.json.Decoder(dict[str, Any])
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class _Said(Struct, frozen=True, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[Any] | None = None
    function_call: Any = None


class _Choice(Struct, frozen=True, gc=False):
    index: int = 0
    delta: _Said | None = None
    text: str | None = None
    message: Any = None
    finish_reason: str | None = None


class _Chunk(Struct, frozen=True, gc=False):
    choices: list[_Choice] | None = None
    error: Any = None


class Released(Struct, frozen=True, kw_only=True):
    """What the client has of an answer that died.

    ``given`` is what the model is to go on from, ``space`` the white space that followed it,
    ``head`` what its chunks had in common.
    """

    given: Given
    space: str
    head: Json

    @property
    def text(self) -> str:
        """Return all text that the client has."""
        return self.given.text + self.space


def can_go_on(request: Request) -> bool:
    """Say whether an answer to this request may be gone on with at all."""
    if request.n != 1 or request.dialect == "embeddings" or request.sampling.logprobs:
        return False
    if request.response_format.kind != "text":
        return False
    fields = _json.decode(request.body)
    if any(fields.get(name) is not None for name in _SHAPING):
        return False
    if request.dialect == "completions":
        alone = (fields.get("best_of") or 1) == 1 and not fields.get("echo")
        return alone and isinstance(fields.get("prompt"), str)
    choice = fields.get("tool_choice")
    forced = isinstance(choice, dict) or choice in _FORCED
    return not forced and bool(request.messages) and request.messages[-1].role != "assistant"


def released(events: bytes) -> Released | None:
    """Return what whole events gave the client; ``None``: it cannot be gone on from exactly."""
    text: list[str] = []
    head: Json = {}
    for _, data in split_events(events):
        if data is None:
            continue
        try:
            fields = _json.decode(data)
            piece = _piece(msgspec.convert(fields, _Chunk))
        except _UNREADABLE:
            return None
        if piece is None:
            return None
        head = head or {name: value for name, value in fields.items() if name in _HEAD}
        if piece:
            text.append(piece)
    whole = "".join(text)
    bare = whole.rstrip()
    if not bare or whole.endswith(_HALF) or any(mark in whole for mark in _MARKS):
        return None
    given = Given(text=bare, tokens=_tokens(text, len(bare)))
    return Released(given=given, space=whole[len(bare) :], head=head)


def _piece(chunk: _Chunk) -> str | None:
    """Return the text a chunk adds; ``None`` when it holds more than that."""
    if chunk.error is not None:
        return None
    found = ""
    for choice in chunk.choices or ():
        said = choice.delta
        if choice.index or choice.finish_reason is not None or choice.message is not None:
            return None
        found += choice.text or ""
        if said is None:
            continue
        if said.reasoning_content or said.reasoning or said.refusal:
            return None
        if said.tool_calls or said.function_call is not None:
            return None
        found += said.content or ""
    return found


def _tokens(pieces: list[str], chars: int) -> int:
    """Return how many pieces, of about a token each, the first characters took."""
    count = 0
    for piece in pieces:
        if chars <= 0:
            break
        count, chars = count + 1, chars - len(piece)
    return count


class Joiner:
    """Makes the events of the call that goes on read as those of the answer it goes on with.

    The same head, no second role, none of the white space that the client has; and the usage of
    the whole answer: what was given counts as written, not as prompt.
    """

    __slots__ = ("_before", "_said", "_space")

    def __init__(self, before: Released) -> None:
        """Go on with what was released."""
        self._before, self._space = before, before.space
        self._said: list[str] = []

    @property
    def text(self) -> str:
        """Return the text of the whole answer so far."""
        return self._before.text + "".join(self._said)

    def join(self, events: bytes) -> bytes:
        """Return whole events as the client may have them, ``b""`` for none."""
        passed: list[bytes] = []
        for event, data in split_events(events):
            fields = None if data is None else self._joined(_json.decode(data))
            if data is None:
                passed.append(event)
            elif fields is not None:
                passed.append(b"data: " + _encode(fields) + b"\n\n")
        return b"".join(passed)

    def _joined(self, fields: Json) -> Json | None:
        """Return a chunk as one of the answer; ``None``: the client has all it says."""
        usage: object = fields.get("usage")
        if isinstance(usage, dict):
            fields["usage"] = self._whole(cast("Json", usage))
        says = not fields.get("choices") or fields.get("usage") is not None
        for choice in fields.get("choices") or ():
            says = self._says(choice) or says
        if not says:
            return None
        rest = {name: value for name, value in fields.items() if name not in _HEAD}
        return {**self._before.head, **rest}

    def _says(self, choice: Json) -> bool:
        """Take out of a choice what the client has, and say whether anything is left."""
        delta: object = choice.get("delta")
        streams = isinstance(delta, dict)
        holder = cast("Json", delta) if streams else choice
        name = "content" if streams else "text"
        holder.pop("role", None)
        more = streams and any(value for key, value in holder.items() if key != name)
        text = holder.get(name)
        if isinstance(text, str) and text:
            holder[name] = text = self._unspaced(text)
            self._said.append(text)
        return bool(text or more) or choice.get("finish_reason") is not None

    def _unspaced(self, text: str) -> str:
        """Return a text without the white space at its beginning that the client has."""
        same = 0
        while same < len(self._space) and same < len(text) and self._space[same] == text[same]:
            same += 1
        over = same == len(text)  # what is left of it may come next
        self._space = self._space[same:] if over else ""
        return text[same:]

    def _whole(self, usage: Mapping[str, Any]) -> Json:
        """Return the usage of the whole answer; the sum stays what the engine counted."""
        given, taken = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if not isinstance(given, int) or not isinstance(taken, int):
            return dict(usage)
        moved = min(given, self._before.given.tokens)
        made = {**usage, "prompt_tokens": given - moved, "completion_tokens": taken + moved}
        details: object = usage.get("prompt_tokens_details")
        if isinstance(details, dict):
            known = cast("Json", details)
            cached = min(known.get("cached_tokens") or 0, given - moved)
            made["prompt_tokens_details"] = {**known, "cached_tokens": cached}
        return made
