"""Do the numbers of a claim follow from those of the evidence.

A number agrees when the evidence has its value (in whatever writing, as a percentage or a share,
rounded), or when the arithmetic that the claim announces makes it of numbers near by: the sum or
difference of two (``total``, ``rose``), their ratio, product, mean or percentage (``twice``),
the sum of all, their count. A claim whose number does not agree contradicts the evidence only
where the evidence speaks of the same thing in other figures; elsewhere nothing is known.
"""

__all__ = ["Figures", "check_figures"]

import re
from typing import Literal

from msgspec import Struct

from metabolic.validate.numbers import Number, numbers
from metabolic.validate.support import FEATURES, Evidence, Index, words_of

_MAX_NEAR = 12
_MAX_RATIOS = 5
_RELATIVE = 1e-9
_MIN_COVERAGE = 0.5
"""Share of a claim's content words the evidence must have before its numbers may contradict."""

_DECADE = re.compile(r"\s?['’]?\s?s\b")
_HOME = FEATURES.index("home")
_COPIED = 0.6
"""Share of a claim's words that stand in runs in one sentence: then it is a copy of it."""

_LOOSE = frozenset(
    ["a", "an", "and", "by", "for", "from", "in", "of", "on", "or", "the", "to", "with"]
)
_ROUNDING = 0.1
_ROUND_DIGITS = 2
_ADDED = frozenset(
    (
        *("total", "altogether", "sum", "combin", "togeth", "join", "differ", "differenc"),
        *("increas", "decreas", "rose", "fell", "drop", "grew", "remain"),
    )
)
"""Stems that announce a sum or a difference."""

_DIVIDED = frozenset(
    [
        "percent",
        "cent",
        "averag",
        "mean",
        "doubl",
        "tripl",
        "twice",
        "half",
        "time",
        "ratio",
        "rate",
        "per",
    ]
)
"""Stems that announce a ratio, an average or a multiple."""

_ROUNDED = re.compile(
    r"\b(?:more than|less than|fewer than|over|under|nearly|almost|about|around|at least|at most"
    r"|approximately|roughly|some|up to|an estimated|close to|just)\s+[$£€]?\s?\Z",
    re.IGNORECASE,
)
"""Words right before a rounded number."""


class Figures(Struct, frozen=True, gc=False):
    """What the numbers say: ``agrees``, ``contradicts``, ``unknown``, ``none`` (no number).

    ``begin`` and ``end`` are the evidence's number that stands where the claim's should.
    """

    kind: Literal["agrees", "contradicts", "unknown", "none"]
    begin: int | None = None
    end: int | None = None


def check_figures(claim: str, index: Index, evidence: Evidence) -> Figures:
    """Hold the numbers of ``claim`` against those of ``index``."""
    stated = [one for one in numbers(claim) if one.digits or not one.vague]
    if not stated:
        return Figures("none")
    near = _near(index, evidence)
    plain = [one for one in stated if _known(one, claim, index)]
    odd = [one for one in stated if one not in plain]
    if odd:
        made = _made(claim, near)
        odd = [one for one in odd if not any(_same(abs(one.value), other) for other in made)]
    odd = [one for one in odd if not _rounds(one, claim, index)]
    if not odd:
        return _swapped(claim, plain, index, evidence)
    rivals = [
        one
        for one in near
        if not any(_same(one.value, other.value) for other in stated)
        and (one.vague or not all(other.vague for other in odd))
    ]
    if evidence.coverage < _MIN_COVERAGE or not rivals:
        return Figures("unknown")
    rival = _likeliest(rivals, odd[0], claim, index)
    return Figures("contradicts", rival.begin, rival.end)


def _likeliest(rivals: list[Number], odd: Number, claim: str, index: Index) -> Number:
    """Return the number that stands where ``odd`` should: before the same noun, of its kind."""
    noun = _noun(claim, odd.end)
    return min(
        rivals,
        key=lambda one: (
            noun is None or _noun(index.text, one.end) != noun,
            one.percent != odd.percent,
            _is_year(one) != _is_year(odd),
            one.begin,
        ),
    )


def _same(left: float, right: float) -> bool:
    """Say whether two values are one, but for the last bit."""
    return abs(left - right) <= _RELATIVE * max(1.0, abs(left), abs(right))


def _known(one: Number, claim: str, index: Index) -> bool:
    """Say whether the evidence has a number's value, or a value that rounds to it."""
    value = abs(one.value)
    if value in index.values or (one.percent and value / 100 in index.values):
        return True
    if one.bare is not None and abs(one.bare) in index.values:
        return True
    if _DECADE.match(claim, one.end) and any(other // 10 * 10 == value for other in index.values):
        return True
    text = claim[one.begin : one.end]
    decimals = len(text.partition(".")[2].rstrip("%")) if one.digits else 0
    return any(
        not float(other).is_integer() and _same(round(other, decimals), value)
        for other in index.values
    )


def _near(index: Index, evidence: Evidence) -> list[Number]:
    """Return the numbers in and beside the sentence a claim comes from."""
    if evidence.home is None or not index.spans:
        return []
    first = index.spans[max(0, evidence.home - 1)]
    last = index.spans[min(len(index.spans) - 1, evidence.home + 1)]
    found = [one for one in index.numbers if first.begin <= one.begin < last.end]
    return found[:_MAX_NEAR]


def _announces(claim: str, cues: frozenset[str]) -> bool:
    """Say whether a claim has one of the stems."""
    return any(word in cues for word in words_of(claim))


def _rounds(one: Number, claim: str, index: Index) -> bool:
    """Say whether a number is announced as rounded, is round, and close to one of the evidence."""
    value = abs(one.value)
    if not _ROUNDED.search(claim, max(0, one.begin - 24), one.begin):
        return False
    digits = f"{value:.12g}".replace(".", "").strip("0")
    if len(digits) > _ROUND_DIGITS or (len(digits) == _ROUND_DIGITS and digits[-1] != "5"):
        return False
    return any(abs(other - value) <= _ROUNDING * value for other in index.values)


def _made(claim: str, near: list[Number]) -> set[float]:
    """Return what one step of the arithmetic that a claim announces makes of a few numbers."""
    known = [abs(one.value) for one in near]
    made: set[float] = set()
    if _announces(claim, _ADDED):
        made |= {float(sum(known)), float(len(known))}
        for position, left in enumerate(known):
            for right in known[position + 1 :]:
                made |= {left + right, abs(left - right)}
    if "%" in claim or _announces(claim, _DIVIDED):
        for top in known[:_MAX_RATIOS]:
            for bottom in known[:_MAX_RATIOS]:
                made |= _ratios(top, bottom)
    return made


def _ratios(top: float, bottom: float) -> set[float]:
    """Return the ratio, product, mean and percentages of two different numbers."""
    if top == bottom or not bottom:
        return set()
    ratio = top / bottom
    change = 100 * abs(ratio - 1)
    plain = {ratio, round(ratio, 1), float(round(ratio)), top * bottom, (top + bottom) / 2}
    return plain | {float(round(100 * ratio)), round(100 * ratio, 1), float(round(change))}


def _swapped(claim: str, stated: list[Number], index: Index, evidence: Evidence) -> Figures:
    """Find a known number that stands where the evidence has another.

    Either before a noun that has another number near by, or, in a claim that is mostly a copy,
    behind a word that has another number there.
    """
    if evidence.coverage < _MIN_COVERAGE:
        return Figures("agrees")
    near = _near(index, evidence)
    copied = evidence.features[_HOME] >= _COPIED
    for one in stated:
        noun = _noun(claim, one.end)
        rivals = [other for other in near if noun and _noun(index.text, other.end) == noun]
        before = _before(claim, one.begin) if copied else None
        if before and not rivals:
            rivals = [other for other in near if _before(index.text, other.begin) == before]
        rivals = [other for other in rivals if _is_year(other) == _is_year(one)]
        if rivals and not any(_same(abs(one.value), abs(other.value)) for other in rivals):
            return Figures("contradicts", rivals[0].begin, rivals[0].end)
    return Figures("agrees")


def _is_year(one: Number) -> bool:
    """Say whether a number looks like a year; a day is no rival of one."""
    return one.digits and 1000 <= one.value <= 2100 and one.value.is_integer()  # noqa: PLR2004


def _before(text: str, at: int) -> str | None:
    """Return the stem of the word right before a number; ``None`` without one that says much."""
    head = text[max(0, at - 24) : at].rstrip(" -$£€")
    if not head[-1:].isalpha():
        return None
    found = words_of(head.rsplit(" ", 1)[-1])
    return found[-1] if found and found[-1] not in _LOOSE else None


def _noun(text: str, at: int) -> str | None:
    """Return the stem of the word right behind a number; ``None`` without one."""
    tail = text[at : at + 24].lstrip(" -")
    if not tail[:1].isalpha():
        return None
    found = words_of(tail.split(" ", 1)[0])
    return found[0] if found and len(found[0]) > 2 else None  # noqa: PLR2004 - "a", "of", "to"
