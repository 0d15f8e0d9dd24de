"""Citations of an answer that the request does not hold: a source number or an address made up.

Looked at only where the request gives sources: numbers are held against the numbered sources of
its texts (``[3]`` at the start of a line, ``Source 3:``), addresses against all of its texts where
its evidence has any. Without sources an answer may number and link as it likes. Linear in both.
"""

__all__ = ["unknown_citations"]

import re
from collections.abc import Iterator
from itertools import islice

_MOST = 400
_MOST_RANGE = 50
_LEAST_SOURCES = 2
_NUMBERS = r"\^?(\d{1,3}(?:\s?[-–,]\s?\^?\d{1,3}){0,20})"
_CITED = re.compile(
    r"(?:(?<![\w$\])])|(?<=[A-Za-z][a-z]))[\[【]" + _NUMBERS + r"(?:†[^\]】\n]{0,40})?[\]】](?!\()"
)
_SOURCE = re.compile(
    r"^\s*(?:[\[【](\d{1,3})[\]】]|(?:source|document|doc|passage|context|reference|quelle)"
    r"\s?#?(\d{1,3})\b)",
    re.IGNORECASE | re.MULTILINE,
)
_NUMBER = re.compile(r"\d{1,3}")
_ADDRESS = re.compile(r"https?://[^\s<>\"'`\])}]{4,400}")
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)


def unknown_citations(answer: str, *, asked: str, evidence: str) -> bool:
    r"""Say whether an answer cites a source number or an address that was not given to it.

    ``asked`` is all the request says, ``evidence`` that part of it which is there to answer from.

    >>> unknown_citations("So it is [3].", asked="[1] a\n[2] b", evidence="")
    True
    """
    given = {int(one or other) for one, other in islice(_SOURCE.findall(asked), _MOST)}
    text = _CODE.sub(" ", answer) if "`" in answer else answer
    if len(given) >= _LEAST_SOURCES and any(one not in given for one in _cited(text)):
        return True
    if "://" not in evidence:
        return False
    return any(
        match[0].rstrip(".,;:!?*_/") not in asked
        for match in islice(_ADDRESS.finditer(text), _MOST)
    )


def _cited(answer: str) -> Iterator[int]:
    """Yield the source numbers an answer cites, ranges spelt out."""
    for match in islice(_CITED.finditer(answer), _MOST):
        marks = match[1]
        numbers = [int(one) for one in _NUMBER.findall(marks)]
        yield from numbers
        if ("-" in marks or "–" in marks) and len(numbers) == 2:  # noqa: PLR2004 - from, to
            first, last = numbers
            yield from range(first, min(last, first + _MOST_RANGE) + 1)
