"""Numbers a linear head can weigh: hashed words and word pairs, and counts of a prompt's surface.

A gram is a word or two neighbouring words, hashed with CRC-32 to a bucket; a long prompt gives its
first and last words only. The hash is part of the weights' format: another one needs new weights.
Counts are small floats. Everything here runs on the request path, in tens of microseconds.
"""

__all__ = ["BITS", "EDGE_WORDS", "MAX_CHARS", "MAX_GRAMS", "SURFACE", "buckets", "surface"]

import sys
from array import array
from math import log1p
from zlib import crc32

from metabolic.classify.features import Seen
from metabolic.classify.lexicon import words_of

BITS = 17
"""Buckets are 2**17: 2**16 cost 0.003 APGR on MMLU, 2**18 gain 0.001 and double the weights."""

EDGE_WORDS = 32
"""Words read at either end of a prompt: 64 gained nothing on five sets, 24 cost 0.002 APGR on
MMLU."""

MAX_CHARS = 2048
"""Characters read of a prompt, half at either end: what a longer one costs more buys nothing."""

MAX_GRAMS = 4 * EDGE_WORDS
"""Most buckets a prompt can give: packed sums must not overflow."""

_MASKS = int.from_bytes(array("I", [(1 << BITS) - 1] * MAX_GRAMS).tobytes(), sys.byteorder)
"""Masks for all hashes of a prompt at once, side by side in one number."""

_MOST = 20.0
"""No count is taken for more: one odd prompt must not be beyond what a linear head can weigh."""

_NEGATIONS = words_of("not except never least false incorrect none neither nor without")
_CONDITIONS = words_of("if when suppose assume given then until unless")
_COMPARISONS = words_of(
    "more less twice half times each every remaining left than per triple double third quarter"
    " rest another both total altogether"
)
_SPANS = words_of("hour hours minute minutes day days week weeks month months year years")
_UPPER = bytes(range(ord("A"), ord("Z") + 1))
_DIGITS = bytes(range(ord("0"), ord("9") + 1))

SURFACE = (
    "log_chars",
    "log_words",
    "numbers",
    "log_numbers",
    "questions",
    "commas",
    "dots",
    "log_lines",
    "distinct_ratio",
    "word_chars",
    "negations",
    "statements",
    "log_blanks",
    "log_dollars",
    "log_percents",
    "conditions",
    "comparisons",
    "spans",
    "log_digits_each",
    "upper_ratio",
    "digit_ratio",
    "log_brackets",
    "log_equals",
    "reasoning",
    "constraints",
    "domain",
    "code_words",
    "items",
    "log_operators",
    "log_block",
)
"""Names of the counts of ``surface``, in order; the first is the length."""


def buckets(words: list[str]) -> set[int]:
    """Return the buckets of a prompt's words and word pairs, at most ``MAX_GRAMS``."""
    if len(words) > 2 * EDGE_WORDS:
        words = words[:EDGE_WORDS] + words[-EDGE_WORDS:]
    raw = " ".join(words).encode("utf-8", "replace").split(b" ")
    hashes = list(map(crc32, raw))
    hashes.extend(map(crc32, raw[1:], hashes[:]))
    packed = array("I", hashes).tobytes()
    masked = int.from_bytes(packed, sys.byteorder) & _MASKS
    return set(array("I", masked.to_bytes(len(packed), sys.byteorder)))


def surface(seen: Seen) -> tuple[float, ...]:
    """Return the counts named by ``SURFACE``; lengths and rare signs as logarithms."""
    f, text, words, distinct = seen.features, seen.text, seen.words, seen.distinct
    raw = text.encode("utf-8", "replace")
    size, many = len(raw) or 1, len(words) or 1
    digits = size - len(raw.translate(None, _DIGITS))
    log_numbers = log1p(f.numbers)
    return (
        log1p(len(text)),
        log1p(many),
        min(f.numbers, _MOST),
        log_numbers,
        min(f.questions, _MOST),
        min(raw.count(b","), _MOST),
        min(raw.count(b"."), _MOST),
        log1p(raw.count(b"\n")),
        len(distinct) / many,
        min(len(text) / many, _MOST),
        len(distinct & _NEGATIONS),
        min(raw.count(b"tatement"), _MOST),
        log1p(raw.count(b"_")),
        log1p(raw.count(b"$")),
        log1p(raw.count(b"%")),
        len(distinct & _CONDITIONS),
        len(distinct & _COMPARISONS),
        len(distinct & _SPANS),
        log1p(digits) - log_numbers,
        (size - len(raw.translate(None, _UPPER))) / size,
        digits / size,
        log1p(raw.count(b"(")),
        log1p(raw.count(b"=")),
        f.reasoning,
        f.constraints,
        f.domain,
        f.code_words,
        min(f.items, _MOST),
        log1p(f.operators),
        log1p(f.block_words),
    )
