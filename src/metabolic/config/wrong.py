"""What msgspec found wrong in a table, in words for whoever wrote the file."""

__all__ = ["explain", "unknown"]

import difflib
import enum
import re
import types
import typing
from collections.abc import Collection

import msgspec

from metabolic.config import tables

_RULES = {
    tables.URL: "must be an http:// or https:// URL without user, query or fragment",
    tables.SHA256: "must be 64 hexadecimal digits: the output of `printf %s KEY | sha256sum`",
    tables.NAME: "must be 1 to 128 letters, digits or ._:/@+- and begin with a letter or digit",
}
"""What to say of a pattern that does not match."""

_AT = re.compile(r" - at `\$\.?(.*)`$")
_MISSING = re.compile(r"Object missing required field (\w+)")
_UNKNOWN = re.compile(r"Object contains unknown field (.+)")
_NAMES = re.compile(r"[A-Za-z_]\w*")


def explain(exc: msgspec.ValidationError, struct: type[msgspec.Struct]) -> tuple[str, str]:
    """Split msgspec's message into what is wrong and the key of ``struct`` it is wrong at."""
    text = str(exc)
    found = _AT.search(text)
    key = found.group(1) if found else ""
    problem = _AT.sub("", text).replace("Expected", "expected", 1).replace("`", "")
    for pattern, rule in _RULES.items():
        if repr(pattern) in text:
            return rule, key
    if missing := _MISSING.match(problem):
        return "is missing", f"{key} {missing.group(1)}".strip()
    if stray := _UNKNOWN.match(problem):
        inner = next((one for one in _types(struct, key) if _is_struct(one)), None)
        fields = inner.__struct_fields__ if inner is not None else ()
        return unknown("key", stray.group(1), fields), f"{key} {stray.group(1)}".strip()
    if problem.startswith("Invalid enum value"):
        words = [word for one in _types(struct, key) for word in _words(one)]
        return f"{problem}; one of: {', '.join(words)}" if words else problem, key
    return problem, key


def unknown(what: str, name: str, known: Collection[str]) -> str:
    """Say that there is no such key or table, with the nearest that there is."""
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f'unknown {what}; did you mean "{near[0]}"?'
    return f"unknown {what}; known: {', '.join(known)}" if known else f"unknown {what}"


def _types(struct: type[msgspec.Struct], key: str) -> list[typing.Any]:
    """Return what the value at a path such as ``variants[0].thinking`` may be."""
    here: list[typing.Any] = [struct]
    for name in _NAMES.findall(key):
        found = [one for one in here if _is_struct(one) and name in one.__struct_fields__]
        here = [leaf for one in found for leaf in _leaves(typing.get_type_hints(one)[name])]
    return here


def _leaves(kind: typing.Any) -> list[typing.Any]:  # noqa: ANN401 - any type there is
    """Take optional and collected types apart, down to what one value may be."""
    origin = typing.get_origin(kind)
    if origin in {typing.Union, types.UnionType, tuple, list}:
        return [leaf for one in typing.get_args(kind) for leaf in _leaves(one)]
    return [kind]


def _words(kind: typing.Any) -> list[str]:  # noqa: ANN401 - as above
    """Return the words that an enumeration allows; none for other types."""
    if typing.get_origin(kind) is typing.Literal:
        return [str(word) for word in typing.get_args(kind)]
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return [str(one.value) for one in kind]
    return []


def _is_struct(kind: typing.Any) -> bool:  # noqa: ANN401 - as above
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)
