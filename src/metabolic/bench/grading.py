"""Is an answer right: by comparison alone, leniently in form and strictly in substance."""

__all__ = ["is_right"]

import re
import string

from metabolic.bench.questions import Question

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?|-?\.\d+")
_LETTER = re.compile(
    r"\W*(?:(?:the )?(?:correct )?(?:answer|option)(?: is)?\W*)?(?-i:([A-J]))\s*(?:[).:,]|$)",
    re.IGNORECASE | re.MULTILINE,
)
_ARTICLES = frozenset({"a", "an", "the"})
_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation + "’“”–", " "))
_SPARE_WORDS = 8
"""Words an answer may have besides the right one: a sentence, but no list of guesses."""

_LETTERS = "ABCDEFGHIJ"
_SMALL = "zero one two three four five six seven eight nine ten eleven twelve"
_WORDS = {word: str(number) for number, word in enumerate(_SMALL.split(" "))}


def is_right(question: Question, answer: str) -> bool:
    """Say whether ``answer`` is right.

    ``exact``: it holds a right answer as whole words and little else. ``number``: its last number
    (or only number word) is right. ``regex``: the pattern is found. ``choice``: it names the right
    option, or its letter, and no other.
    """
    match question.grade:
        case "exact":
            return any(_holds(answer, right) for right in question.answers)
        case "number":
            return any(_same_number(answer, right) for right in question.answers)
        case "regex":
            return re.search(question.answers[0], answer) is not None
        case "choice":
            return _chosen(answer, question.choices) == question.answers[0]


def _words(text: str) -> list[str]:
    """Return the words that count: lower case, no punctuation, no articles."""
    plain = text.lower().translate(_PUNCTUATION).split()
    return [word for word in plain if word not in _ARTICLES] or plain


def _holds(answer: str, right: str) -> bool:
    """Say whether an answer's first line holds the right words in a row and little else."""
    said = _words(answer.strip().partition("\n")[0])
    wanted = _words(right)
    if not wanted:
        return answer.strip() == right.strip()
    if len(said) > len(wanted) + _SPARE_WORDS:
        return False
    places = range(len(said) - len(wanted) + 1)
    return any(said[at : at + len(wanted)] == wanted for at in places)


def _same_number(answer: str, right: str) -> bool:
    """Say whether the last number of an answer is the right one."""
    found = _NUMBER.findall(answer)
    if not found:
        words = [_WORDS[word] for word in _words(answer) if word in _WORDS]
        found = words[-1:]
    wanted = _NUMBER.findall(right)
    if not found or not wanted:
        return False
    return abs(_value(found[-1]) - _value(wanted[-1])) < 1e-6  # noqa: PLR2004 - rounding


def _value(number: str) -> float:
    """Return a number as written in English."""
    return float(number.replace(",", ""))


def _chosen(answer: str, choices: tuple[str, ...]) -> str | None:
    """Return the option an answer names; ``None`` if none or several."""
    if not choices:
        return None
    named = _named(answer, choices)
    letter = _LETTER.match(answer)
    if letter is None:
        return named
    index = _LETTERS.index(letter[1])
    if index >= len(choices) or named not in {None, choices[index]}:
        return None
    return choices[index]


def _named(answer: str, choices: tuple[str, ...]) -> str | None:
    """Return the one option whose words stand in the answer; the longest wins over its parts."""
    said = f" {' '.join(_words(answer))} "
    named = [one for one in choices if f" {' '.join(_words(one))} " in said]
    whole = [one for one in named if not any(one != other and one in other for other in named)]
    return whole[0] if len(whole) == 1 else None
