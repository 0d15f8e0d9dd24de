"""An answer split into statements that can be held against evidence, with their spans."""

__all__ = ["MAX_CLAIMS", "Span", "claims", "sentences"]

import re

from msgspec import Struct

MAX_CLAIMS = 64
_MAX_CHARS = 40_000
_MIN_WORDS = 2

_END = re.compile(r"(?<=[.!?])[\"'”’)\]]{0,2}\s+|\n+|;\s+")
_ABBREVIATED = re.compile(
    r"(?:\b(?:[A-Z]|Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|vs|No|Inc|Ltd|Co|Corp|Gen|Sen|Rep|approx|e\.g|i\.e"
    r"|etc|al|Fig|[A-Z]\.[A-Z]))\.\s+\Z"
)
_WORD = re.compile(r"\w+")
_FENCE = re.compile(r"^```", re.MULTILINE)


class Span(Struct, frozen=True, gc=False):
    """A piece of a text: ``text[begin:end]``."""

    begin: int
    end: int


def sentences(text: str) -> list[Span]:
    """Return the sentences of a text as spans, without surrounding space; linear in its length."""
    found: list[Span] = []
    begin = 0
    for match in _END.finditer(text):
        tail = text[max(begin, match.start() - 8) : match.end()]
        if "\n" not in match[0] and _ABBREVIATED.search(tail):
            continue
        _add(text, begin, match.start(), found)
        begin = match.end()
    _add(text, begin, len(text), found)
    return found


def _add(text: str, begin: int, end: int, found: list[Span]) -> None:
    """Add a span, its edges trimmed, unless it is empty."""
    piece = text[begin:end]
    trimmed = piece.strip()
    if trimmed:
        start = begin + len(piece) - len(piece.lstrip())
        found.append(Span(start, start + len(trimmed)))


def claims(text: str) -> list[Span]:
    """Return what an answer states: its sentences, but for questions, code and lone words.

    A text of a single word is a claim: a short answer is one.
    """
    text = text[:_MAX_CHARS]
    fences = [match.start() for match in _FENCE.finditer(text)]
    found = sentences(text)
    if len(found) == 1:
        return found
    kept: list[Span] = []
    fence = 0
    for span in found:
        while fence < len(fences) and fences[fence] < span.end:
            fence += 1
        # An odd number of fences before it: inside a block of code.
        inside = fence % 2 == 1 or text.startswith("```", span.begin)
        asks = text[span.end - 1] in "?:"
        if not inside and not asks and len(_WORD.findall(text, span.begin, span.end)) >= _MIN_WORDS:
            kept.append(span)
            if len(kept) == MAX_CLAIMS:
                break
    return kept
