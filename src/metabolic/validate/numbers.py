"""Numbers as a reader takes them from a text: digits, scales, words, ordinals, percentages.

``numbers`` is linear in the text: every pattern is a row of plain repeats, and the text is cut to
a bound first. Two writings of one value compare equal: ``1,200``, ``1.2k``, ``1 200`` and ``twelve
hundred``; ``0.5`` and ``half``.
"""

__all__ = ["Number", "numbers", "values"]

import re

from msgspec import Struct

_MAX_CHARS = 200_000
_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SMALL: dict[str, float] = {
    **{word: float(index) for index, word in enumerate(_ONES)},
    **{word: 10.0 * index for index, word in enumerate(_TENS, 2)},
}
_SCALES: dict[str, float] = {
    "hundred": 1e2,
    "thousand": 1e3,
    "million": 1e6,
    "billion": 1e9,
    "trillion": 1e12,
    "k": 1e3,
    "m": 1e6,
    "mn": 1e6,
    "bn": 1e9,
    "tn": 1e12,
}
_ORDINALS: dict[str, float] = {
    **{
        word: float(index)
        for index, word in enumerate(
            [
                "first",
                "second",
                "third",
                "fourth",
                "fifth",
                "sixth",
                "seventh",
                "eighth",
                "ninth",
                "tenth",
                "eleventh",
                "twelfth",
                "thirteenth",
            ],
            1,
        )
    },
    "once": 1.0,
    "twice": 2.0,
    "thrice": 3.0,
    "half": 0.5,
    "dozen": 12.0,
    "twentieth": 20.0,
    "thirtieth": 30.0,
}
_ORDINAL_ENDS = frozenset({"st", "nd", "rd", "th"})

_TOKEN = re.compile(
    r"(?<![\w.])(?P<digits>[-−]?(?:\d{1,3}(?:(?:\s?,\s?|[\u00a0\u202f'’])\d{3}(?!\d))+|\d+)"
    r"(?:\s?\.\s?\d+)?)"
    r"(?P<suffix>\s?(?:%|percent\b|per\s?cent\b)"
    r"|[ -]?(?:hundred|thousand|million|billion|trillion)\b"
    r"|\s?(?:bn|mn|tn|k|m)\b|(?:st|nd|rd|th)\b)?"
    r"|(?P<word>[^\W\d_]{2,11})",
    re.IGNORECASE,
)
_SPACES = re.compile(r"[\s,'’\u00a0\u202f]")


class Number(Struct, frozen=True, gc=False):
    """One number: its value, where it stands, and how it is written.

    ``vague`` marks what may be no number (``one``, ``second``) and ordinals: they are known in
    evidence and never held against a claim. ``bare`` is the value without a scale of one letter:
    ``100m`` may be metres.
    """

    value: float
    begin: int
    end: int
    percent: bool = False
    digits: bool = True
    vague: bool = False
    bare: float | None = None


def numbers(text: str) -> list[Number]:
    """Return the numbers of a text in order.

    >>> [one.value for one in numbers("1,200 or 1.2k, twelve hundred, 5 %")]
    [1200.0, 1200.0, 1200.0, 5.0]
    """
    found: list[Number] = []
    words: list[tuple[str, int, int]] = []
    for match in _TOKEN.finditer(text, 0, _MAX_CHARS):
        word = match["word"]
        if word is not None:
            lowered = word.lower()
            if words and not _joined(text, words[-1][2], match.start()):
                _spoken(words, found)
            if lowered in _SMALL or lowered in _SCALES or lowered in _ORDINALS:
                words.append((lowered, match.start(), match.end()))
            elif lowered != "and":
                _spoken(words, found)
            continue
        _spoken(words, found)
        found.append(_written(match))
    _spoken(words, found)
    return found


def _joined(text: str, left: int, right: int) -> bool:
    """Say whether nothing but space, hyphen or ``and`` stands between two number words."""
    return text[left:right].strip(" -\n\t").lower() in {"", "and"}


def _written(match: re.Match[str]) -> Number:
    """Return a number written in digits, with its scale; rounded, so that 10.2 million is even."""
    bare = value = float(_SPACES.sub("", match["digits"]).replace("−", "-"))
    suffix = (match["suffix"] or "").strip(" -").lower()
    percent = suffix.startswith(("%", "per"))
    if not percent:
        value = float(f"{value * _SCALES.get(suffix, 1.0):.12g}")
    ordinal = suffix in _ORDINAL_ENDS
    return Number(
        value,
        match.start(),
        match.end(),
        percent=percent,
        vague=ordinal,
        bare=bare if suffix in {"k", "m"} else None,
    )


def _spoken(words: list[tuple[str, int, int]], found: list[Number]) -> None:
    """Add the value of a run of number words to ``found``, and empty the run."""
    if not words:
        return
    total = current = 0.0
    seen = False
    for word, _, _ in words:
        if word in _SMALL:
            current += _SMALL[word]
            seen = True
        elif word in _ORDINALS:
            current += _ORDINALS[word]
            seen = True
        elif word == "hundred":
            current = (current or 1.0) * 100
            seen = True
        elif len(word) > 2:  # noqa: PLR2004 - "k", "m", "bn" are scales of digits only
            total += (current or 1.0) * _SCALES[word]
            current = 0.0
            seen = True
    if seen:
        begin, end = words[0][1], words[-1][2]
        vague = len(words) == 1 and (words[0][0] in _ORDINALS or words[0][0] == "one")
        found.append(Number(total + current, begin, end, digits=False, vague=vague))
    words.clear()


def values(found: list[Number]) -> frozenset[float]:
    """Return every value the numbers may stand for: percentages also as shares, unsigned too."""
    known: set[float] = set()
    for one in found:
        known.add(abs(one.value))
        if one.bare is not None:
            known.add(abs(one.bare))
        if one.percent:
            known.add(abs(one.value) / 100)
    return frozenset(known)
