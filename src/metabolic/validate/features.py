"""What can be read off an answer without knowing the right one: the scorer's inputs.

Text alone and, where given, token log-probabilities. Nothing here is a word of the answer: counts,
shares, flags. A signal that does not apply is NaN, which the scorer's trees route by themselves.
"""

__all__ = ["NAMES", "TEXT_SIGNALS", "lane_of", "signals_of"]

import math
import re
from collections.abc import Sequence

from metabolic.decide.agreement import Final, final_answer
from metabolic.decide.tokens import TOKEN_SIGNALS, token_signals
from metabolic.validate.arithmetic import equations
from metabolic.validate.numbers import numbers
from metabolic.validate.text import declines, hedges, is_looping

_MAX_CHARS = 24_000
_MAX_NUMBERS = 400
_NAN = math.nan
_WORKED_CHARS = 40
_CENT = 0.011
_ROUNDING = 0.006
_CODE = re.compile(
    r"```(?:python|py|sql|js|java|c|cpp|go|rust)\b|\[PYTHON\]|\bdef \w{1,60}\(|\bassert \w"
    r"|\bclass \w{1,60}[:(]|\bSELECT\b.{1,200}\bFROM\b"
)
_LATEX = re.compile(r"\\[a-zA-Z]{2,12}\b|\\\[|\$[^$\n]{0,60}[\\^_=][^$\n]{0,60}\$")

TEXT_SIGNALS = (
    "equations_ok",
    "equations_bad",
    "bad_share",
    "last_equation_is_final",
    "chars",
    "lines",
    "hedges",
    "declines",
    "loops",
    "asked_used",
    "asked_unused",
    "numbers",
    "numbers_unique",
    "length_ratio",
    "words_unique",
    "final_none",
    "final_marked",
    "final_number",
    "final_whole",
    "final_negative",
    "final_log",
    "final_asked",
    "final_count",
    "final_digits",
    "final_chars",
    "asked_chars",
    "asked_numbers",
    "asked_log_max",
    "asked_fraction",
    "latex",
    "steps",
    "largest_ratio",
)
"""Names of the signals of a text, in order."""

NAMES = TEXT_SIGNALS + TOKEN_SIGNALS
"""Names of ``signals_of``, in order."""

_STEP = re.compile(r"^\s*(?:\d{1,2}[.)]|[-*•]|#{1,4} |step \d)", re.IGNORECASE | re.MULTILINE)


def lane_of(question: str, answer: str) -> str:
    """Return the family of scorer for an answer: ``code``, ``latex``, ``math`` or ``general``.

    By form alone: code or formulas in the question, or numbers in it and an answer that works
    something out.
    """
    asked = question[:_MAX_CHARS]
    if _CODE.search(asked):
        return "code"
    if _LATEX.search(asked):
        return "latex"
    works = len(answer) > _WORKED_CHARS and any(map(str.isdigit, answer[-400:]))
    return "math" if works and any(map(str.isdigit, asked[:2000])) else "general"


def signals_of(question: str, answer: str, logprobs: Sequence[float] = ()) -> tuple[float, ...]:
    """Return every signal of an answer in the order of ``NAMES``; NaN where it does not apply."""
    tokens = token_signals(logprobs) or (_NAN,) * len(TOKEN_SIGNALS)
    return _text_signals(question[:_MAX_CHARS], answer[:_MAX_CHARS]) + tokens


def _text_signals(question: str, answer: str) -> tuple[float, ...]:
    """Return the signals of the text."""
    found = equations(answer)
    bad = sum(not one.ok for one in found)
    final = final_answer(answer)
    said = [abs(one.value) for one in numbers(answer)[:_MAX_NUMBERS]]
    asked = [abs(one.value) for one in numbers(question)[:_MAX_NUMBERS]]
    words = answer.split()
    used = len(set(asked) & set(said))
    ends = _NAN
    if found and final is not None and isinstance(final.value, float):
        ends = float(
            abs(found[-1].computed - final.value) <= max(_CENT, abs(final.value) * _ROUNDING)
        )
    return (
        float(len(found) - bad),
        float(bad),
        bad / len(found) if found else _NAN,
        ends,
        math.log1p(len(answer)),
        math.log1p(answer.count("\n")),
        float(hedges(answer)),
        float(declines(answer)),
        float(is_looping(answer)),
        used / max(1, len(set(asked))),
        float(len(set(asked)) - used),
        math.log1p(len(said)),
        len(set(said)) / max(1, len(said)),
        len(answer) / max(1, len(question)),
        len(set(words)) / max(1, len(words)),
        *_final_signals(final, said, asked),
        math.log1p(len(question)),
        math.log1p(len(asked)),
        math.log1p(max(asked, default=0.0)),
        float("/" in question or "%" in question or any(not one.is_integer() for one in asked)),
        float(bool(_LATEX.search(answer))),
        math.log1p(len(_STEP.findall(answer))),
        _ratio(final, asked),
    )


def _final_signals(final: Final | None, said: list[float], asked: list[float]) -> tuple[float, ...]:
    """Return what the final answer looks like."""
    if final is None:
        return (1.0, 0.0, 0.0, *(_NAN,) * 7)
    marked = float(final.marked)
    if isinstance(final.value, str):
        size = math.log1p(len(final.value))
        return (0.0, marked, 0.0, *(_NAN,) * 6, size)
    value = float(final.value)
    size = abs(value)
    return (
        0.0,
        marked,
        1.0,
        float(value.is_integer()),
        float(value < 0),
        math.log1p(size),
        float(size in asked),
        float(min(said.count(size), 9)),
        float(len(f"{size:.8g}".replace(".", "").strip("0"))),
        math.log1p(len(f"{size:.8g}")),
    )


def _ratio(final: Final | None, asked: list[float]) -> float:
    """Return the logarithm of the final number over the largest asked one."""
    if final is None or not isinstance(final.value, float) or not asked or not max(asked):
        return _NAN
    return math.log((abs(final.value) + 1e-3) / max(asked))
