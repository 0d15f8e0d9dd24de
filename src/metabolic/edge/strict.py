"""Decode a client's JSON, or say what is wrong with it in OpenAI's words.

JSON itself is checked by msgspec (NaN and Infinity are no JSON). Checked here beside it: UTF-8 in
the whole body, because strings in fields nobody looks at are passed on as they are; and nesting,
because a parser further on may recurse.

Source: error texts and codes as the OpenAI API gives them (OpenAI, "Error codes", and its answers).
"""

__all__ = ["MAX_DEPTH", "decode", "missing", "refusal"]

import re
from typing import TypeVar

import msgspec

from metabolic.core.errors import RequestError

MAX_DEPTH = 256
"""Levels of arrays and objects in a body. Real JSON schemas nest a few dozen levels deep; the
interpreter's recursion limit, which msgspec shares, is 1,000."""

T = TypeVar("T")

_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_AS_SQUARE = bytes.maketrans(b"{}", b"[]")
_MISSING = re.compile(r"^Object missing required field `([^`]+)`(?: - at `\$\.?(.*)`)?$")
_WRONG = re.compile(r"^(.*?)(?: - at `\$\.?(.*)`)?$", re.DOTALL)
_TYPE = re.compile(r"^Expected `([^`]+)`, got `([^`]+)`$")
_ENUM = re.compile(r"^Invalid enum value (.*)$", re.DOTALL)
_BOUND = re.compile(r"^Expected `(int|float|array|str)`(?: of length)? (>=|<=) (\S+)$")
_WORDS = {
    "array": "an array",
    "bool": "a boolean",
    "float": "a decimal",
    "int": "an integer",
    "null": "null",
    "object": "an object",
    "str": "a string",
}
_UNPARSABLE = (
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using "
    "your HTTP library correctly. The API expects a JSON payload, but what was sent was not valid "
    "JSON.)"
)


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Return the body as the decoder's type.

    Raises:
        RequestError: not UTF-8, not JSON, too deep, no object, or a field of the wrong type.
    """
    _check_text(body)
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as exc:
        raise _translated(str(exc)) from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise RequestError(_UNPARSABLE) from exc
    except RecursionError as exc:
        raise _too_deep() from exc


def refusal(message: str, *, param: str | None, code: str | None = "invalid_value") -> RequestError:
    """Return a refusal that names the field and carries OpenAI's ``code``."""
    error = RequestError(message, param=param)
    error.code = code
    return error


def missing(path: str) -> RequestError:
    """Return the refusal of a request that lacks a field."""
    text = f"Missing required parameter: '{path}'."
    return refusal(text, param=path, code="missing_required_parameter")


def _check_text(body: bytes) -> None:
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as exc:
            message = f"{_UNPARSABLE} It is not valid UTF-8 at byte {exc.start}."
            raise RequestError(message) from exc
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_deep(body):
        raise _too_deep()


def _is_deep(body: bytes) -> bool:
    """Say whether brackets nest deeper than ``MAX_DEPTH``.

    Strings and all but brackets are thrown away, then innermost pairs are removed level by level.
    """
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = b"".join(plain.split(b'"')[::2]).translate(_AS_SQUARE, _NOT_BRACKETS)
    for _ in range(MAX_DEPTH):
        fewer = brackets.replace(b"[]", b"")
        if fewer == brackets:
            return False  # empty, or no JSON, which the decoder will say
        brackets = fewer
    return bool(brackets)


def _too_deep() -> RequestError:
    return refusal(f"The JSON body is nested deeper than {MAX_DEPTH} levels.", param=None)


def _translated(message: str) -> RequestError:
    """Say in OpenAI's words what msgspec says in its own."""
    if absent := _MISSING.match(message):
        field, where = absent.groups()
        return missing(f"{where}.{field}" if where else field)
    found = _WRONG.match(message)
    wrong, path = found.groups() if found else (message, None)
    if path is None:
        return refusal("The JSON body must be an object.", param=None, code="invalid_type")
    return _wrong_value(wrong, path)


def _wrong_value(wrong: str, path: str) -> RequestError:
    if kind := _TYPE.match(wrong):
        wanted = _either(kind[1])
        got = _WORDS.get(kind[2], kind[2])
        text = f"Invalid type for '{path}': expected {wanted}, but got {got} instead."
        return refusal(text, param=path, code="invalid_type")
    if value := _ENUM.match(wrong):
        return refusal(f"Invalid value for '{path}': {value[1]} is not supported.", param=path)
    if bound := _BOUND.match(wrong):
        return _out_of_bounds(path, kind=bound[1], sign=bound[2], limit=bound[3])
    return refusal(f"Invalid value for '{path}': {wrong}.", param=path)


def _out_of_bounds(path: str, *, kind: str, sign: str, limit: str) -> RequestError:
    side = "below minimum" if sign == ">=" else "above maximum"
    if kind in {"array", "str"}:
        noun = "array" if kind == "array" else "string"
        least = "minimum" if sign == ">=" else "maximum"
        text = f"Invalid '{path}': {noun} with {least} length {limit} expected."
        code = f"empty_{noun}" if sign == ">=" else f"{noun}_above_max_length"
        return refusal(text, param=path, code=code)
    noun = "integer" if kind == "int" else "decimal"
    text = f"Invalid '{path}': {noun} {side} value. Expected a value {sign} {limit}."
    return refusal(
        text, param=path, code=f"{noun}_{side.replace('imum', '').replace(' ', '_')}_value"
    )


def _either(kinds: str) -> str:
    """Return ``str | array | null`` as ``one of a string or an array``."""
    words = [_WORDS.get(kind, kind) for kind in kinds.split(" | ") if kind != "null"]
    return words[0] if len(words) == 1 else f"one of {', '.join(words[:-1])} or {words[-1]}"
