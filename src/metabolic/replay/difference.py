"""Where two values first differ, as a path."""

__all__ = ["Difference", "first_difference", "shown"]

from itertools import zip_longest
from math import isclose
from typing import cast

import msgspec
from msgspec import Struct

_SHOWN_CHARS = 200

_Found = tuple[str, object, object] | None
_Table = dict[str, object]
_List = list[object]


class Difference(Struct, frozen=True, kw_only=True):
    """One record that replays differently.

    ``part`` is ``decision``, ``attempts``, ``effects``, ``answer`` or ``receipt``; ``path`` the
    first field in it that differs; ``stored`` and ``found`` that field as JSON.
    """

    id: str
    part: str
    path: str
    stored: str
    found: str


def first_difference(stored: object, found: object, *, tolerance_ratio: float = 0.0) -> _Found:
    """Return the path of the first difference and both values there; ``None`` if equal.

    ``tolerance_ratio`` is how far apart two floats may be, relative to the larger.

    >>> first_difference({"a": [1, 2]}, {"a": [1, 3]})
    ('.a[1]', 2, 3)
    """
    if stored == found:
        return None
    return _walk(_plain(stored), _plain(found), "", tolerance_ratio)


def _plain(value: object) -> object:
    """Return a value as dicts, lists and scalars, fields at their default included."""
    if isinstance(value, Struct):
        tag = value.__struct_config__.tag
        table: _Table = {} if tag is None else {"type": tag}
        table.update({name: _plain(getattr(value, name)) for name in value.__struct_fields__})
        return table
    if isinstance(value, list | tuple):
        return [_plain(one) for one in cast("_List", value)]
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in cast("_Table", value).items()}
    return value


def shown(value: object) -> str:
    """Return a value as JSON, cut where it gets long."""
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…"


def _walk(stored: object, found: object, path: str, tolerance: float) -> _Found:
    if isinstance(stored, dict) and isinstance(found, dict):
        return _walk_table(cast("_Table", stored), cast("_Table", found), path, tolerance)
    if isinstance(stored, list) and isinstance(found, list):
        return _walk_list(cast("_List", stored), cast("_List", found), path, tolerance)
    if isinstance(stored, float) and isinstance(found, float):
        same = stored == found or isclose(stored, found, rel_tol=tolerance)
        return None if same else (path, stored, found)
    return None if stored == found else (path, cast("object", stored), found)


def _walk_table(stored: _Table, found: _Table, path: str, tolerance: float) -> _Found:
    for name in dict.fromkeys((*stored, *found)):
        difference = _walk(stored.get(name), found.get(name), f"{path}.{name}", tolerance)
        if difference is not None:
            return difference
    return None


def _walk_list(stored: _List, found: _List, path: str, tolerance: float) -> _Found:
    for number, (one, other) in enumerate(zip_longest(stored, found)):
        difference = _walk(one, other, f"{path}[{number}]", tolerance)
        if difference is not None:
            return difference
    return None
