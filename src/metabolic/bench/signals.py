"""What the text of an answer says of its quality, without log-probabilities and without a model.

Surface figures that the learned scorer of the benches weighs: equations computed again, where their
numbers come from, whether the question's numbers were used, the final answer, hedging, length,
whether code parses. None of them is evidence by itself; what they are worth is learned from labels,
lane by lane. They read text only: neither the reference answer nor the grade.
"""

__all__ = ["NAMES", "asked_signals", "final_number", "signals", "unwrapped"]

import ast
import math
import re
from collections.abc import Callable, Mapping, Sequence

_NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?")
_EQUATION = re.compile(r"([\d.,$%()\s+\-*/×÷x·]{3,90}?)=\s*[$€£]?\s*(-?[\d,]+(?:\.\d+)?)")
_OPERATION = re.compile(r"\d\s*[-+*/]\s*\(?\s*\.?\d")
_FINAL = re.compile(r"####\s*[^\d\-\n]{0,12}(-?[\d,]*\.?\d+)")
_REASONING = re.compile(r'"reasoning"\s*:\s*"(.*?)"\s*,\s*"answer"', re.DOTALL)
_ANSWER = re.compile(r'"answer"\s*:\s*"?([^"}\n]*)')
_CODE = re.compile(r"```(?:python)?\r?\n(.*?)```", re.DOTALL)
_HEDGE = re.compile(
    r"\b(?:assum|approximately|however|not (?:possible|clear|enough|speci)|cannot|can't|unclear"
    r"|let's say|probably|maybe|would need|doesn't|don't know|mistake|apolog|incorrect|actually"
    r"|wait|typo|seems|round|sorry|unable)\w*",
    re.IGNORECASE,
)
_SMALL = "zero one two three four five six seven eight nine ten eleven twelve"
_WORDS = {word: float(at) for at, word in enumerate(_SMALL.split(" "))} | {
    "dozen": 12.0, "half": 0.5, "twice": 2.0, "double": 2.0, "triple": 3.0, "quarter": 0.25,
    "third": 1 / 3, "week": 7.0, "year": 12.0, "day": 24.0, "hour": 60.0, "minute": 60.0,
    "couple": 2.0, "percent": 100.0, "%": 100.0,
}  # fmt: skip
_COMMON = frozenset({0.0, 0.5, 1.0, 2.0, 4.0, 7.0, 10.0, 12.0, 24.0, 30.0, 52.0, 60.0, 100.0})
_SIGNS = str.maketrans({"×": "*", "÷": "/", "x": "*", "·": "*", "$": None, ",": None})
_QUESTION = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"%|percent",
        r"\d/\d|half|third|quarter|twice|times",
        r"more|less|fewer|than|remaining|left|each|every|per",
        r"\bif\b|when|suppose",
        r"[.?!]",
        r"hour|minute|day|week|month|year",
        r"\$",
        r"\b(?:not|never|except|least|none)\b",
    )
)
_LONGEST = 20_000
_LARGEST = 1e15


def unwrapped(text: str) -> str:
    """Return an answer that was asked for as JSON as plain reasoning with its final answer."""
    found = _REASONING.search(text)
    if found is None:
        return text
    answer = _ANSWER.search(text, found.end() - len('"answer"'))
    plain = found[1].replace("\\n", "\n").replace('\\"', '"')
    return f"{plain}\n#### {answer[1] if answer else ''}"


def _float(text: str) -> float | None:
    """Return the number a text is; ``None`` for none."""
    try:
        value = float(text.replace(",", "").strip(". "))
    except ValueError:
        return None
    return value if abs(value) < _LARGEST else None


def _floats(text: str) -> list[float]:
    """Return the numbers in a text, at most 300."""
    found = (_float(one) for one in _NUMBER.findall(text)[:300])
    return [one for one in found if one is not None]


def final_number(text: str) -> float | None:
    """Return the answer's final number: the one marked ``####``, else its last one."""
    marked = _FINAL.findall(text)
    if marked:
        return _float(marked[-1])
    found = _floats(text)
    return found[-1] if found else None


def _value(node: ast.expr) -> float:
    """Return the value of an arithmetic expression. Raises ``ValueError`` for any other."""
    match node:
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _value(left) + _value(right)
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            return _value(left) - _value(right)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return _value(left) * _value(right)
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return _value(left) / _value(right)
        case _:
            raise ValueError


def _equations(text: str) -> list[tuple[list[float], float, bool]]:
    """Return each equation's operands, stated result, and whether it holds."""
    made: list[tuple[list[float], float, bool]] = []
    for match in _EQUATION.finditer(text):
        left = re.sub(r"^[^\d(\-.]+", "", match[1].translate(_SIGNS).replace("%", "/100")).strip()
        stated = _float(match[2])
        if stated is None or not _OPERATION.search(left):
            continue
        try:
            value = _value(ast.parse(left, mode="eval").body)
        except (ValueError, SyntaxError, ZeroDivisionError, OverflowError, MemoryError):
            continue
        slack = max(0.011, abs(value) * 0.006)
        holds = abs(value - stated) <= slack or abs(100 * value - stated) <= 100 * slack
        operands = [one for each in re.findall(r"\d*\.?\d+", left) if (one := _float(each))]
        made.append((operands, stated, holds))
    return made


def _near(value: float, known: Sequence[float] | frozenset[float]) -> bool:
    """Say whether a number is among others."""
    return any(abs(value - one) <= 1e-6 * max(1.0, abs(one)) for one in known)


def _reasoned(query: str, text: str, final: float | None) -> dict[str, float]:
    """Return what the equations say: do they hold, where do their numbers come from and go to."""
    asked = _floats(query)
    low = query.lower()
    known = [*asked, *(value for word, value in _WORDS.items() if word in low)]
    known += [one / 100 for one in asked] + [100 - one for one in asked]
    found = _equations(text)
    foreign = total = bad = 0
    for operands, stated, holds in found:
        bad += not holds
        total += len(operands)
        foreign += sum(not (_near(one, known) or one in _COMMON) for one in operands)
        known.append(stated)
    results = [stated for _, stated, _ in found]
    used = [one for operands, _, _ in found for one in operands]
    dangling = sum(
        not any(_near(one, operands) for operands, _, _ in found[at + 1 :])
        and (final is None or not _near(one, (final,)))
        for at, one in enumerate(results)
    )
    said = _floats(text)
    return {
        "equations": len(found),
        "wrong": bad,
        "wrong_share": bad / (len(found) + 1e-9),
        "foreign": foreign,
        "foreign_share": foreign / (total + 1e-9),
        "dangling": dangling,
        "ends_at_final": _flag(final, lambda one: bool(results) and _near(one, results[-1:])),
        "final_computed": _flag(final, lambda one: _near(one, results)),
        "unsaid": sum(not _near(one, said) for one in set(asked)),
        "uncomputed": sum(not _near(one, [*used, *(100 * each for each in used)]) for one in asked),
        "fractions": sum(one != int(one) for one in results),
        "new_fractions": 0
        if any(one != int(one) for one in asked)
        else sum(one != int(one) for one in results),
        "per_number": len(found) / max(1, len(set(asked))),
    }


def _flag(final: float | None, test: Callable[[float], float]) -> float:
    """Return 1 or 0 for a final number, -1 where there is none."""
    return -1.0 if final is None else float(test(final))


def _ended(query: str, text: str, final: float | None) -> dict[str, float]:
    """Return what the final answer looks like."""
    asked, said = _floats(query), _floats(text)
    largest = max(asked, default=0.0)
    return {
        "has_final": float("####" in text),
        "no_number": float(final is None),
        "whole": _flag(final, lambda one: one == round(one)),
        "negative": _flag(final, lambda one: one < 0),
        "zero": _flag(final, lambda one: one == 0),
        "magnitude": _flag(final, lambda one: math.log1p(abs(one))),
        "against_asked": _flag(final, lambda one: math.log1p(abs(one)) - math.log1p(largest)),
        "was_asked": _flag(final, lambda one: _near(one, asked)),
        "said_often": _flag(final, lambda one: sum(_near(one, (each,)) for each in said)),
        "numbers": len(said),
        "different": len(set(said)) / max(1, len(said)),
    }


def _written(query: str, text: str) -> dict[str, float]:
    """Return length, form and doubt."""
    words = text.split()
    code = _CODE.findall(text)
    return {
        "chars": len(text),
        "log_chars": math.log1p(len(text)),
        "words": len(words),
        "lines": text.count("\n"),
        "length_ratio": len(text) / max(1, len(query)),
        "variety": len({one.lower() for one in words}) / max(1, len(words)),
        "hedges": len(_HEDGE.findall(text)),
        "about": text.count("≈") + text.lower().count("approx"),
        "letters": len(re.findall(r"\b[a-zA-Z] ?= ?", text)),
        "ratios": len(re.findall(r"\d/\d", text)),
        "brackets": text.count("("),
        "marks": text.count("####"),
        "latex": text.count("\\"),
        "code_blocks": len(code),
        "code_broken": float(any(not _parses(one) for one in code)),
    }


def _parses(code: str) -> bool:
    """Say whether a piece of Python parses."""
    try:
        ast.parse(code.replace("\r", ""))
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return True


def asked_signals(query: str) -> dict[str, float]:
    """Return what the question looks like; the same for every answer to it."""
    query = query[-_LONGEST:]
    numbers = _floats(query)
    counts = {f"q{at}": len(one.findall(query)) for at, one in enumerate(_QUESTION)}
    return counts | {
        "q_chars": len(query),
        "q_words": len(query.split()),
        "q_numbers": len(set(numbers)),
        "q_largest": math.log1p(max(numbers, default=0.0)),
        "q_fraction": float(any(one != int(one) for one in numbers)),
    }


def signals(
    query: str, text: str, *, asked: Mapping[str, float] | None = None
) -> tuple[float, ...]:
    """Return the figures of one answer, in the order of ``NAMES``; -1 where one does not apply.

    ``asked`` is ``asked_signals(query)`` if the caller kept it, for many answers to one question.
    """
    query, plain = query[-_LONGEST:], unwrapped(text[:_LONGEST])
    final = final_number(plain)
    found = _reasoned(query, plain, final) | _ended(query, plain, final) | _written(query, plain)
    said = asked_signals(query) if asked is None else asked
    return tuple(float(one) for one in (*found.values(), *said.values()))


def _names() -> tuple[str, ...]:
    """Return the names of the figures, in the order of ``signals``."""
    made = _reasoned("", "", None) | _ended("", "", None) | _written("", "")
    return (*made, *asked_signals(""))


NAMES: tuple[str, ...] = _names()
"""Names of the figures."""
