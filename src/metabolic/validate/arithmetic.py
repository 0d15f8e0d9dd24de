"""Re-computes every equation an answer states: ``3 × 12 = 36``, chains, percentages, units.

No ``eval``: a small recursive evaluator over ``+ - * / ^ ( ) %`` with a depth and a magnitude
limit. Each equation is looked for around an equals sign, in a window of fixed width to its left,
so the time is linear in the answer whatever it says. What cannot be read is not held against it.

Source: re-computation of ``a op b = c`` in answers of one model to GSM8K: the flag fires on 11 % of
them, and then P(wrong) is 72 % against 36 % (own measurement on RouteLLM's responses).
"""

__all__ = ["Equation", "compute", "equations", "holds"]

import math
import re
from itertools import islice

from msgspec import Struct

_MAX_CHARS = 40_000
_MAX_EQUATIONS = 200
_MAX_SIGNS = 400
_WINDOW = 120
_MAX_DEPTH = 20
_MAX_VALUE = 1e15
_MAX_POWER = 64
_RELATIVE = 0.006
_ABSOLUTE = 0.011
"""An answer rounds to cents or three digits; a slip is larger."""

_EQUALS = re.compile(r"(?<![=<>!:])(?:=|≈|\bequals\b|\bis equal to\b)(?!=)")
_LEFT = re.compile(r"[-+*/^().\d\s,%×÷·−$€£]*\Z")
_APPLIED = re.compile(r"[A-Za-z_]\Z")
_RIGHT = re.compile(r"\s*[$€£]?\s*(-?\d[\d,]*(?:\.\d+)?)\s*(%?)")
_MARKS = re.compile(r"\\(?:times|cdot)\b|(?<=[\d)\s])[xX](?=[\s\d($])|×|·")
_FRACTION = re.compile(r"\\d?frac\{(-?[\d.,]{1,20})\}\{(-?[\d.,]{1,20})\}")
_UNIT = re.compile(
    r"(?<=\d)(\s?)-?([A-Za-z°]{1,20}(?:\s[A-Za-z]{1,20}){0,2})(?=\s*(?:[-+*/)=]|\Z))"
)
_TOKEN = re.compile(r"\s*(\d[\d,]*(?:\.\d+)?|\.\d+|\*\*|[-+*/^()%])")
_OF = re.compile(r"%\s?of\b")
_OPERATION = re.compile(r"[\d)%]\s*(?:\*\*|[-+*/^])\s*[-(]?\s*\d")


class Equation(Struct, frozen=True, gc=False):
    """One equation of an answer: where it stands, whether it holds, what the left side gives."""

    begin: int
    end: int
    ok: bool
    computed: float


class _Unreadable(Exception):
    """The expression is none, or too large."""


def compute(expression: str) -> float | None:
    """Return the value of an arithmetic expression; ``None`` when it cannot be read.

    >>> compute("(2 + 3) * 4^2")
    80.0
    """
    tokens = [match[1] for match in _TOKEN.finditer(expression[:400])]
    if "".join(tokens) != re.sub(r"\s", "", expression) or not tokens:
        return None
    reader = _Reader(tokens)
    try:
        value = reader.total(0)
    except (_Unreadable, ZeroDivisionError, OverflowError, ValueError):
        return None
    return value if reader.done() and math.isfinite(value) else None


class _Reader:
    """A recursive-descent reader of one expression."""

    def __init__(self, tokens: list[str]) -> None:
        """Start at the first token."""
        self._tokens = tokens
        self._at = 0

    def done(self) -> bool:
        """Say whether every token was read."""
        return self._at == len(self._tokens)

    def _take(self, *wanted: str) -> str | None:
        """Return the next token if it is one of those wanted."""
        if self._at < len(self._tokens) and self._tokens[self._at] in wanted:
            self._at += 1
            return self._tokens[self._at - 1]
        return None

    def total(self, depth: int) -> float:
        """Read a sum. Raises ``_Unreadable``."""
        value = self._product(depth)
        while sign := self._take("+", "-"):
            term = self._product(depth)
            # "80 + 15%" is 15 % of what stands before it as often as not: neither is assumed.
            if self._at and self._tokens[self._at - 1] == "%":
                raise _Unreadable
            value += term if sign == "+" else -term
        return value

    def _product(self, depth: int) -> float:
        """Read a product."""
        value = self._power(depth)
        while sign := self._take("*", "/"):
            factor = self._power(depth)
            value = value * factor if sign == "*" else value / factor
            if abs(value) > _MAX_VALUE:
                raise _Unreadable
        return value

    def _power(self, depth: int) -> float:
        """Read a power, which binds to the right; a minus before it applies last."""
        if depth > _MAX_DEPTH:
            raise _Unreadable
        if self._take("-"):
            return -self._power(depth + 1)
        value = self._atom(depth)
        if self._take("^", "**"):
            exponent = self._power(depth + 1)
            if abs(exponent) > _MAX_POWER or abs(value) > _MAX_VALUE:
                raise _Unreadable
            result = value**exponent
            if isinstance(result, complex) or abs(result) > _MAX_VALUE:
                raise _Unreadable
            value = result
        return value

    def _atom(self, depth: int) -> float:
        """Read a number or a bracket, with percent signs behind it."""
        if self._take("("):
            value = self.total(depth + 1)
            if not self._take(")"):
                raise _Unreadable
        elif self._at < len(self._tokens) and self._tokens[self._at][0] in ".0123456789":
            value = float(self._tokens[self._at].replace(",", ""))
            self._at += 1
        else:
            raise _Unreadable
        while self._take("%"):
            value /= 100
        return value


def equations(text: str) -> list[Equation]:
    """Return the equations of an answer that can be re-computed, in order.

    In a chain ``2 + 3 = 5 * 4 = 20`` each equals sign is one equation.
    """
    text = text[:_MAX_CHARS]
    found: list[Equation] = []
    for match in islice(_EQUALS.finditer(text), _MAX_SIGNS):
        right = _RIGHT.match(text, match.end())
        if right is None:
            continue
        left = _left(text[max(0, match.start() - _WINDOW) : match.start()])
        value = None if left is None else compute(left)
        if value is None:
            continue
        # The right side may itself begin a longer expression: "= 5 * 4 = 20".
        if _continues(text, right.end()):
            continue
        stated = float(right[1].replace(",", ""))
        ok = holds(value, stated) or (bool(right[2]) and holds(value * 100, stated))
        found.append(Equation(match.start(), right.end(), ok, value))
        if len(found) == _MAX_EQUATIONS:
            break
    return found


def holds(computed: float, stated: float) -> bool:
    """Say whether a stated value is the computed one, rounding allowed."""
    return abs(computed - stated) <= max(_ABSOLUTE, abs(computed) * _RELATIVE)


def _is_applied(plain: str, begin: int) -> bool:
    """Say whether an expression is the argument of a function: ``f(2+3)`` is not 5."""
    return plain[begin : begin + 1] == "(" and _APPLIED.search(plain, 0, begin) is not None


def _continues(text: str, at: int) -> bool:
    """Say whether an operator follows: the stated value is part of a longer expression."""
    rest = text[at : at + 12].lstrip()
    return bool(re.match(r"(?:[-+*/^×÷]|x\s?\d|\\times)\s*[(\d$]", rest))


def _left(window: str) -> str | None:
    """Return the expression that ends a window, in plain signs; ``None`` when there is none."""
    plain = _FRACTION.sub(r"(\1/\2)", window.rpartition("=")[2])
    plain = _MARKS.sub("*", plain).replace("÷", "/").replace("−", "-").replace("\\%", "%")
    plain = _OF.sub("% *", plain)
    plain = _UNIT.sub("", plain.replace("\\$", "").replace("$", ""))
    match = _LEFT.search(plain)
    if match is None or _is_applied(plain, match.start()):
        return None
    expression = re.sub(r"[$€£]", "", match[0]).strip().lstrip(".,)%*/+^ \n")
    expression = expression.rpartition("\n")[2].strip()
    if not _OPERATION.search(expression) or re.search(r"\d\s+\d", expression):
        return None
    return expression.rstrip(".,")
