"""Do two stored answers say the same? By their final answers, as plainly as can be compared."""

__all__ = ["final", "same"]

import re

from metabolic.bench.signals import final_number, unwrapped

_ANSWER = re.compile(r'"answer"\s*:\s*"?(.*?)"?\s*[,}\n]', re.DOTALL)
_SHORT = 40


def final(text: str) -> str:
    r"""Return the final answer of a text, to compare: a field, a number, or its last line.

    >>> final('{"reasoning": "...", "answer": "42.0"}')
    '42.0'
    >>> final("So it is 7.\n#### 7")
    '7.0'
    """
    field = _ANSWER.search(text)
    if field is not None:
        return _plain(field[1])
    if len(text) <= _SHORT and "####" not in text:
        return _plain(text)
    number = final_number(unwrapped(text))
    if number is not None:
        return str(number)
    lines = text.strip().splitlines()
    return _plain(lines[-1]) if lines else ""


def _plain(text: str) -> str:
    """Return a short answer without case, spaces, quotes and marks; numbers as numbers."""
    kept = re.sub(r"[\s\"'`$\\,]", "", text.lower()).strip(".")
    try:
        return str(float(kept))
    except ValueError:
        return kept


def same(one: str, other: str) -> bool:
    """Say whether two answers agree; two empty ones do not."""
    first = final(one)
    return bool(first) and first == final(other)
