"""Does code parse: Python by ``ast``, JSON, SQL by sqlglot (extra ``sql``); nothing is ever run."""

__all__ = ["Block", "blocks", "fault_of"]

import ast
import json
import re
import warnings

from msgspec import Struct

_MAX_BLOCKS = 8
_MAX_CHARS = 30_000
_MAX_SQL_CHARS = 8_000
_FENCE = re.compile(r"```([\w+-]{0,20})[^\n]{0,80}\n(.*?)(?:^```|\Z)", re.DOTALL | re.MULTILINE)
_PROMPTED = re.compile(r"^(?:>>>|\.\.\.|\$ |In \[)", re.MULTILINE)
_ELIDED = re.compile(r"^\s*(?:\.\.\.|…)\s*$", re.MULTILINE)
_ALIASES = {"py": "python", "python3": "python", "json": "json", "sql": "sql"}


class Block(Struct, frozen=True, gc=False):
    """A fenced block of code and its language, lower case."""

    language: str
    code: str


def blocks(text: str) -> list[Block]:
    """Return the first fenced blocks of an answer."""
    found: list[Block] = []
    for match in _FENCE.finditer(text, 0, _MAX_CHARS):
        language = match[1].lower()
        found.append(Block(_ALIASES.get(language, language), match[2]))
        if len(found) == _MAX_BLOCKS:
            break
    return found


def fault_of(block: Block) -> str | None:
    """Return why a block does not parse, in a stable word; ``None`` when it does, or who knows.

    Sessions with prompts, and pieces with parts left out, are not held to be whole.
    """
    match block.language:
        case "python":
            return _python(block.code)
        case "json":
            return _json(block.code)
        case "sql":
            return _sql(block.code)
        case _:
            return None


def _python(code: str) -> str | None:
    """Return why Python does not parse."""
    if _PROMPTED.search(code) or _ELIDED.search(code):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(code)
    except SyntaxError as exc:
        return f"python: line {exc.lineno}"
    except (ValueError, RecursionError, MemoryError):
        return "python: unreadable"
    return None


def _json(code: str) -> str | None:
    """Return why JSON does not parse."""
    if "..." in code or "//" in code:
        return None
    try:
        json.loads(code)
    except (ValueError, RecursionError):
        return "json"
    return None


def _sql(code: str) -> str | None:
    """Return why SQL does not parse; ``None`` without sqlglot, or when it is long."""
    if len(code) > _MAX_SQL_CHARS:
        return None
    try:
        import sqlglot  # noqa: PLC0415 - an optional extra, and heavy
        from sqlglot.errors import SqlglotError  # noqa: PLC0415 - as above
    except ImportError:
        return None
    try:
        sqlglot.parse(code)
    except (SqlglotError, RecursionError):
        return "sql"
    return None
