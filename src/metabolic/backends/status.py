"""Translate an upstream's HTTP status, or its in-band error, into a ``BackendError``.

    429, 503, 529                       Overloaded, with ``Retry-After`` if given
    408, 504, 524                       TimedOut
    401, 402, 404, 405, 407             BadReply: the deployment is set up wrongly, not the request
    other 4xx                           Refused: nobody else should be asked
    1xx, 3xx, other 5xx                 BadReply

No message holds what the upstream said: it may echo a key or a prompt, and messages are kept.
"""

__all__ = ["error_in_band", "failure", "retry_after_s"]

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec
from msgspec import Struct

from metabolic.backends.transport import Headers, header
from metabolic.core.errors import BackendError, BadReply, Overloaded, Refused, TimedOut

_BUSY = frozenset({429, 503, 529})
"""Source: RFC 6585 (429), RFC 9110 (503); 529 is "overloaded" at Anthropic and others."""

_LATE = frozenset({408, 504, 524})
"""Source: RFC 9110 (408, 504); 524 is Cloudflare's "a timeout occurred"."""

_OURS = frozenset({401, 402, 404, 405, 407})
_LONGEST_WAIT_S = 86_400.0
_BODY_LIMIT_BYTES = 65_536
_WORD = re.compile(r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$")
_RETRY_DELAY = re.compile(rb'"retryDelay"\s*:\s*"(\d{1,6}(?:\.\d{1,9})?)s"')
_CLIENT, _SERVER = 400, 500


class _Said(Struct, frozen=True, gc=False):
    code: str | int | None = None
    type: str | None = None


class _Envelope(Struct, frozen=True, gc=False):
    """``error`` is a text at TGI, which says ``error_type`` beside it."""

    error: _Said | str
    error_type: str | None = None


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_SAID = msgspec.json.Decoder(_Said)


def failure(
    status: int, headers: Headers, body: bytes, *, secret: str | None, now_s: float
) -> BackendError:
    """Return the error that a response other than 200 is.

    ``secret`` is taken out of a body that is passed on. ``now_s`` (seconds since the epoch) turns
    a date in ``Retry-After`` into seconds.
    """
    body = _unlisted(body)
    word = _word(body)
    said = f"the deployment answered {status}{_in_brackets(word)}"
    if status in _BUSY:
        wait_s = retry_after_s(headers, now_s=now_s)
        return Overloaded(said, retry_after_s=_told_s(body) if wait_s is None else wait_s)
    if status in _LATE:
        return TimedOut(said)
    if _CLIENT <= status < _SERVER and status not in _OURS:
        kept = body[:_BODY_LIMIT_BYTES] if len(body) <= _BODY_LIMIT_BYTES else b""
        if secret:
            kept = kept.replace(secret.encode(), b"[redacted]")
        return Refused(said, status=status, body=kept, said=word)
    return BadReply(said, said=status)


def error_in_band(error: bytes, *, secret: str | None) -> BackendError:
    """Return the error that an ``error`` object inside a stream, or a 200 body, is.

    A numeric code is taken for an HTTP status; without one the answer is simply bad.
    """
    try:
        said = _SAID.decode(error)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        said = _Said()
    code = said.code
    if isinstance(code, str) and code.isdecimal():
        code = int(code)
    if isinstance(code, int) and _CLIENT <= code < 600:  # noqa: PLR2004
        envelope = b'{"error":' + error + b"}"
        return failure(code, (), envelope, secret=secret, now_s=0.0)
    if "rate_limit" in (said.type or "") or "overloaded" in (said.type or ""):
        return Overloaded("the deployment said in the answer that it is busy")
    word = _word(b'{"error":' + error + b"}")
    return BadReply("the deployment broke off with an error" + _in_brackets(word))


def retry_after_s(headers: Headers, *, now_s: float) -> float | None:
    """Return the seconds an upstream asks us to wait, at most a day; ``None`` without its word.

    Source: RFC 9110, 10.2.3 (seconds or a date); ``retry-after-ms`` as OpenAI sends it.
    """
    wait_s = _number(header(headers, b"retry-after-ms"), 1000.0)
    if wait_s is None:
        value = header(headers, b"retry-after")
        wait_s = _number(value, 1.0)
        if wait_s is None and value is not None:
            wait_s = _until(value.decode("latin-1"), now_s)
    return None if wait_s is None else min(max(wait_s, 0.0), _LONGEST_WAIT_S)


def _number(value: bytes | None, divisor: float) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number / divisor if number == number and abs(number) != float("inf") else None  # noqa: PLR0124


def _until(date: str, now_s: float) -> float | None:
    try:
        when = parsedate_to_datetime(date)
    except ValueError:
        return None
    aware = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
    return (aware - datetime.fromtimestamp(now_s, UTC)).total_seconds()


def _unlisted(body: bytes) -> bytes:
    """Return the one envelope that a list holds: Gemini's OpenAI endpoint writes errors so."""
    text = body.strip()
    return text[1:-1].strip() if text.startswith(b"[") and text.endswith(b"]") else body


def _told_s(body: bytes) -> float | None:
    """Return the wait that Google writes into the error itself (``"retryDelay": "34s"``).

    Source: Google, AIP-193 and google.rpc.RetryInfo.
    """
    found = _RETRY_DELAY.search(body[:_BODY_LIMIT_BYTES])
    return None if found is None else min(float(found[1]), _LONGEST_WAIT_S)


def _in_brackets(word: str | None) -> str:
    """Return a word as messages end with it."""
    return "" if word is None else f" ({word})"


def _word(body: bytes) -> str | None:
    """Return the error's code or type if it is a plain word: no text, no key."""
    try:
        envelope = _ENVELOPE.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    said = envelope.error
    words = (envelope.error_type,) if isinstance(said, str) else (said.code, said.type)
    for word in words:
        if isinstance(word, str) and _WORD.match(word) and not word.startswith("sk-"):
            return word
    return None
