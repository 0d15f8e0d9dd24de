"""Errors, model lists and the ``metabolic`` object, as bytes in OpenAI's shapes.

An answer is relayed as the upstream wrote it, so the ``metabolic`` object is put into its JSON by
cutting the bytes open before the last brace: nothing is decoded and nothing is written anew.
"""

__all__ = [
    "DONE",
    "KEEP_ALIVE",
    "body_with_metabolic",
    "error",
    "error_event",
    "holds_finish",
    "model",
    "models",
    "replaced",
    "split_events",
    "with_metabolic",
]

from collections.abc import Iterable

import msgspec
from msgspec import Raw, Struct

from metabolic.core.errors import MetabolicError, Refused, RequestError

DONE = b"data: [DONE]\n\n"
"""The event that ends a whole stream; never sent after an error."""

KEEP_ALIVE = b": keep-alive\n\n"
"""A comment that clients skip. Source: WHATWG HTML, server-sent events, 9.2.7."""

_SPACE = b" \t\r\n"

_FINISH = (b'"finish_reason"', b'"finish_reason":null', b'"finish_reason": null')
_USAGE = (b'"usage"', b'"usage":null', b'"usage": null')


class _Error(Struct, frozen=True, kw_only=True, gc=False):
    message: str
    type: str
    param: str | None
    code: str | None


class _Envelope(Struct, frozen=True, kw_only=True, gc=False):
    error: _Error


class _Foreign(Struct, frozen=True, kw_only=True, gc=False):
    error: Raw


class _Model(Struct, frozen=True, kw_only=True, gc=False):
    id: str
    created: int
    object: str = "model"
    owned_by: str = "metabolic"


class _Models(Struct, frozen=True, kw_only=True, gc=False):
    data: list[_Model]
    object: str = "list"


class _Choice(Struct, frozen=True, gc=False):
    finish_reason: str | None = None


class _Head(Struct, frozen=True, gc=False):
    id: str = ""
    created: int = 0
    model: str = ""


class _Replaced(Struct, frozen=True, gc=False):
    replaced: str


class _Marker(Struct, frozen=True, kw_only=True, gc=False):
    id: str
    created: int
    model: str
    metabolic: _Replaced
    object: str = "chat.completion.chunk"
    choices: tuple[()] = ()


class _Chunk(Struct, frozen=True, gc=False):
    choices: list[_Choice] | None = None
    usage: Raw = Raw(b"")


_encode = msgspec.json.encode
_chunk = msgspec.json.Decoder(_Chunk)
_head = msgspec.json.Decoder(_Head)
_foreign = msgspec.json.Decoder(_Foreign)


def error(exc: MetabolicError) -> tuple[int, bytes]:
    """Return the HTTP status and OpenAI's error envelope.

    What an upstream said in refusing the request is passed on verbatim, if it is an envelope.
    """
    if isinstance(exc, Refused) and _is_envelope(exc.body):
        return exc.status, exc.body
    param = exc.param if isinstance(exc, RequestError) else None
    said = _Error(message=str(exc), type=exc.kind, param=param, code=exc.code)
    return exc.status, _encode(_Envelope(error=said))


def error_event(exc: MetabolicError) -> bytes:
    """Return the SSE event that tells, inside a stream, that the answer broke off.

    After it the connection is closed without ``DONE``.
    """
    _, body = error(exc)
    return b"data: " + _one_line(body) + b"\n\n"


def models(names: Iterable[str], created: int) -> bytes:
    """Return the body of ``GET /v1/models``; ``created`` is in seconds since the epoch."""
    return _encode(_Models(data=[_Model(id=name, created=created) for name in names]))


def model(name: str, created: int) -> bytes:
    """Return the body of ``GET /v1/models/{name}``."""
    return _encode(_Model(id=name, created=created))


def replaced(shown: bytes) -> bytes:
    """Return the event that says: all that was sent since ``shown``, an event, is replaced.

    It is a chunk without choices that names the chunk's ``id``, ``""`` where it had none.
    """
    head = _Head()
    for _, data in split_events(shown):
        try:
            head = _head.decode(data or b"")
            break
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
    taken = _Replaced(head.id)
    marker = _Marker(id=head.id, created=head.created, model=head.model, metabolic=taken)
    return b"data: " + _encode(marker) + b"\n\n"


def holds_finish(event: bytes) -> bool:
    """Say whether an event, or one of several, carries a finish reason or usage.

    It is to be held back until the ``metabolic`` object is known, which goes into the last one.
    """
    if _is_null(event, _FINISH) and _is_null(event, _USAGE):
        return False
    return any(_finishes(data) for _, data in split_events(event))


def _is_null(event: bytes, key: tuple[bytes, bytes, bytes]) -> bool:
    """Say whether a key stands nowhere but before ``null``; inside strings quotes are escaped."""
    name, null, spaced = key
    told = event.count(name)
    return told == 0 or told == event.count(null) or told == event.count(spaced)


def with_metabolic(event: bytes, meta: bytes) -> bytes:
    """Return the event (or events) with ``"metabolic": meta`` in the last one's JSON object.

    ``meta`` is JSON. An event without a JSON object comes back as it is.
    """
    if event.startswith(b"data:") and event.endswith(b"}\n\n") and event.count(b"\n") == 2:  # noqa: PLR2004
        cut = _insert(event[5:-2], meta)
        return event if cut is None else b"data:" + cut + b"\n\n"
    parts = split_events(event)
    for index in range(len(parts) - 1, -1, -1):
        if parts[index][1] is not None:
            cut = _insert(_one_line(parts[index][1] or b""), meta)
            if cut is not None:
                whole = [raw for raw, _ in parts]
                whole[index] = b"data: " + cut + b"\n\n"
                return b"".join(whole)
    return event


def body_with_metabolic(body: bytes, meta: bytes) -> bytes:
    """Return a whole answer's JSON object with ``"metabolic": meta`` as its last member."""
    cut = _insert(body, meta)
    return body if cut is None else cut


def _insert(text: bytes, meta: bytes) -> bytes | None:
    """Put the member in before the last brace; ``None`` when ``text`` is no JSON object."""
    inner = text.rstrip(_SPACE)
    if not inner.endswith(b"}") or not text.lstrip(_SPACE).startswith(b"{"):
        return None
    inner = inner[:-1].rstrip(_SPACE)
    comma = b"" if inner.lstrip(_SPACE) == b"{" else b","
    return inner + comma + b'"metabolic":' + _one_line(meta) + b"}"


def _one_line(text: bytes) -> bytes:
    """Return JSON on one line: line breaks in JSON stand only between tokens."""
    if b"\n" in text or b"\r" in text:
        return text.replace(b"\r", b" ").replace(b"\n", b" ")
    return text


def split_events(text: bytes) -> list[tuple[bytes, bytes | None]]:
    """Split whole events, each with its data (``None``: a comment or an event without data)."""
    found: list[tuple[bytes, bytes | None]] = []
    raw, data = b"", list[bytes]()
    for line in text.splitlines(keepends=True):
        raw += line
        bare = line.rstrip(b"\r\n")
        if bare.startswith(b"data:"):
            data.append(bare[5:].removeprefix(b" "))
        elif not bare:
            found.append((raw, b"\n".join(data) if data else None))
            raw, data = b"", []
    if raw:
        found.append((raw, b"\n".join(data) if data else None))
    return found


def _finishes(data: bytes | None) -> bool:
    if data is None:
        return False
    try:
        chunk = _chunk.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    if bytes(chunk.usage) not in {b"", b"null"}:
        return True
    return any(choice.finish_reason is not None for choice in chunk.choices or ())


def _is_envelope(body: bytes) -> bool:
    try:
        return bytes(_foreign.decode(body).error).startswith(b"{")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
