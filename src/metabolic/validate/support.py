"""How well a text bears a claim out, by words alone: copied runs, jumps between them, new words.

Theory. A claim that can be read off a text is copied from it in few long runs, or says its words
over. One that joins the subject of one sentence to the predicate of another jumps. The cost of
reading a claim is the sum over its jumps of ``log(1 + distance)``; per word it tells wrong summary
sentences from right ones nearly as well as everything else together (docs/validation.md). This is
evidence of copying, not of truth: where answers are worded freely it says little.

Every step is bounded: a word is looked up at ``_OCCURRENCES`` places at most and runs do not
overlap, so a claim costs its words times that, however the texts repeat themselves.
"""

__all__ = ["FEATURES", "STOP", "Evidence", "Index", "words_of"]

import math
import re
from collections import Counter
from itertools import pairwise

from msgspec import Struct

from metabolic.validate.claims import Span, sentences
from metabolic.validate.numbers import Number, numbers, values

_MAX_CHARS = 60_000
_OCCURRENCES = 24
_MAX_WORDS = 160
_FAR_WORDS = 300
_WORD = re.compile(r"[^\W\d_]+|\d[\d,.]*\d|\d")
STOP = frozenset(
    [
        "a",
        "an",
        "the",
        "of",
        "to",
        "in",
        "on",
        "at",
        "for",
        "and",
        "or",
        "but",
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
        "by",
        "with",
        "as",
        "that",
        "this",
        "it",
        "its",
        "from",
        "he",
        "she",
        "they",
        "his",
        "her",
        "their",
        "has",
        "have",
        "had",
        "not",
        "will",
        "would",
        "can",
        "could",
        "who",
        "which",
        "what",
        "when",
        "where",
        "said",
        "says",
        "after",
        "before",
        "than",
        "then",
        "also",
        "into",
        "over",
        "about",
        "more",
    ]
)
_SUFFIXES = ("ing", "ed", "es", "ly", "s")
_MIN_STEM = 5
_SHORT_RUN = 2

FEATURES = (
    "words",
    "pairs",
    "triples",
    "quads",
    "runs",
    "jump",
    "jump_sum",
    "spread",
    "cross",
    "novel",
    "home",
    "cover",
    "short",
    "length",
)
"""Names of ``Evidence.features``, in order."""


class Evidence(Struct, frozen=True, gc=False):
    """What a text says to one claim.

    ``features`` follow ``FEATURES``; ``home`` is the index of the sentence most of it stands in,
    ``None`` without a word in common; ``coverage`` the share of content words found anywhere.
    """

    features: tuple[float, ...]
    home: int | None
    coverage: float


def words_of(text: str) -> list[str]:
    """Return the words of a text, lower case, with common endings taken off."""
    return [_stem(word) for word in _WORD.findall(text.lower())]


def _stem(word: str) -> str:
    """Return a word without its ending, if it is long enough."""
    if len(word) >= _MIN_STEM:
        for suffix in _SUFFIXES:
            if word.endswith(suffix):
                return word[: -len(suffix)]
    return word


class Index:
    """A text prepared for many claims: words, their places, sentences, numbers."""

    def __init__(self, text: str, source: str = "context") -> None:
        """Index the first 60,000 characters of ``text``; ``source`` is what claims will name."""
        self.text = text[:_MAX_CHARS]
        self.source = source
        self.spans: list[Span] = sentences(self.text)
        self.words: list[str] = []
        self.sentence_of: list[int] = []
        self.bags: list[frozenset[str]] = []
        for number, span in enumerate(self.spans):
            found = words_of(self.text[span.begin : span.end])
            self.bags.append(frozenset(found))
            self.words.extend(found)
            self.sentence_of.extend([number] * len(found))
        self.places: dict[str, list[int]] = {}
        for at, word in enumerate(self.words):
            places = self.places.setdefault(word, [])
            if len(places) < _OCCURRENCES:
                places.append(at)
        words = self.words
        self._pairs = set(pairwise(words))
        self._triples = set(zip(words, words[1:], words[2:], strict=False))
        self._quads = set(zip(words, words[1:], words[2:], words[3:], strict=False))
        self._plain: str | None = None
        self.numbers: list[Number] = numbers(self.text)
        self.values = values(self.numbers)

    def plain(self) -> str:
        """Return the text in lower case with single spaces, to look quotations up in."""
        if self._plain is None:
            self._plain = " ".join(self.text.lower().replace("’", "'").split())
        return self._plain

    def evidence(self, claim: str) -> Evidence:
        """Return how the text bears out ``claim``."""
        words = words_of(claim)[:_MAX_WORDS]
        content = [word for word in words if word not in STOP]
        runs = self._runs(words)
        homes = Counter(
            self.sentence_of[at + step]
            for _, length, at in runs
            if at >= 0
            for step in range(length)
        )
        home = homes.most_common(1)[0][0] if homes else None
        coverage = _share(sum(word in self.places for word in content), len(content))
        named = [word for word in content if word[0].isalpha()]
        read = _reading(runs, words, self.sentence_of)
        size = max(1, len(words))
        features = (
            coverage,
            *self._grams(words),
            len(runs) / size,
            *read,
            _share(homes[home] if home is not None else 0, size),
            0.0 if home is None else self._cover(content, home),
            sum(length for _, length, _ in runs if length <= _SHORT_RUN) / size,
            math.log(size),
        )
        return Evidence(
            features, home, _share(sum(word in self.places for word in named), len(named))
        )

    def _grams(self, words: list[str]) -> tuple[float, float, float]:
        """Return the shares of word pairs, triples and quads that the text has."""
        pairs = list(pairwise(words))
        triples = list(zip(words, words[1:], words[2:], strict=False))
        quads = list(zip(words, words[1:], words[2:], words[3:], strict=False))
        return (
            _share(sum(one in self._pairs for one in pairs), len(pairs)),
            _share(sum(one in self._triples for one in triples), len(triples)),
            _share(sum(one in self._quads for one in quads), len(quads)),
        )

    def _cover(self, content: list[str], home: int) -> float:
        """Return the share of content words in the home sentence and its neighbours."""
        near: set[str] = set()
        for number in range(max(0, home - 1), min(len(self.bags), home + 2)):
            near |= self.bags[number]
        return _share(sum(word in near for word in content), len(content))

    def _runs(self, words: list[str]) -> list[tuple[int, int, int]]:
        """Return the longest runs copied from the text: (begin, length, place or -1), greedily."""
        found: list[tuple[int, int, int]] = []
        begin, size = 0, len(words)
        text, end = self.words, len(self.words)
        while begin < size:
            best, place = 0, -1
            for at in self.places.get(words[begin], ()):
                length = 1
                while (
                    begin + length < size
                    and at + length < end
                    and words[begin + length] == text[at + length]
                ):
                    length += 1
                if length > best:
                    best, place = length, at
            found.append((begin, max(best, 1), place))
            begin += max(best, 1)
        return found


def _reading(
    runs: list[tuple[int, int, int]], words: list[str], sentence_of: list[int]
) -> tuple[float, float, float, float, float]:
    """Return jump cost a word, its logarithmic sum, sentences used, jumps across, new words."""
    jump = 0.0
    cross = novel = 0
    used: set[int] = set()
    last = -1
    for begin, length, at in runs:
        if at < 0:
            novel += words[begin] not in STOP
            continue
        if length >= _SHORT_RUN:
            used.add(sentence_of[at])
        if last >= 0 and at != last:
            jump += math.log1p(min(abs(at - last), _FAR_WORDS))
            cross += sentence_of[at] != sentence_of[last - 1]
        last = at + length
    size = max(1, len(words))
    return jump / size, math.log1p(jump), float(len(used)), float(cross), novel / size


def _share(part: int, whole: int) -> float:
    """Return a share; all of nothing is 1."""
    return part / whole if whole else 1.0
