"""What a prompt or a setting demands of the form: length, language, a pattern, words to have."""

__all__ = ["Demands", "demands_of", "language_of", "unmet"]

import re

from msgspec import Struct

_MAX_CHARS = 8_000
_LIMIT = re.compile(
    r"\b(?:(?P<most>at most|no more than|maximum(?: of)?|up to|under|fewer than|less than|within)"
    r"|(?P<least>at least|minimum(?: of)?|no less than|more than)|(?P<exact>exactly|in exactly))"
    r"\s+(?P<count>\d{1,5})\s+"
    r"(?P<unit>words?|sentences?|paragraphs?|lines?|characters?|bullet points?)",
    re.IGNORECASE,
)
_IN_LANGUAGE = re.compile(
    r"\b(?:answer|respond|reply|write|translate)\b[^.\n]{0,60}\b(?:in|into|to) "
    r"(english|spanish|french|german|italian|portuguese|russian|chinese|japanese|korean|arabic|greek|hebrew|hindi|thai)\b",
    re.IGNORECASE,
)
_SLACK_RATIO = 1.1
"""Words are counted in more ways than one: a tenth over a limit of words is let pass."""

_CODES = {
    "english": "en",
    "spanish": "es",
    "french": "fr",
    "german": "de",
    "italian": "it",
    "portuguese": "pt",
    "russian": "ru",
    "chinese": "zh",
    "japanese": "ja",
    "korean": "ko",
    "arabic": "ar",
    "greek": "el",
    "hebrew": "he",
    "hindi": "hi",
    "thai": "th",
}
_SCRIPTS = (
    ("ja", re.compile(r"[\u3040-\u30ff]")),
    ("ko", re.compile(r"[\uac00-\ud7af]")),
    ("zh", re.compile(r"[\u4e00-\u9fff]")),
    ("ru", re.compile(r"[\u0400-\u04ff]")),
    ("ar", re.compile(r"[\u0600-\u06ff]")),
    ("el", re.compile(r"[\u0370-\u03ff]")),
    ("he", re.compile(r"[\u0590-\u05ff]")),
    ("hi", re.compile(r"[\u0900-\u097f]")),
    ("th", re.compile(r"[\u0e00-\u0e7f]")),
)
_MIN_SCRIPT_SHARE = 0.2
_WORDS = {
    "en": frozenset(
        [
            "the",
            "of",
            "and",
            "to",
            "in",
            "is",
            "that",
            "for",
            "it",
            "with",
            "as",
            "was",
            "on",
            "are",
            "this",
            "be",
        ]
    ),
    "es": frozenset(
        [
            "el",
            "la",
            "de",
            "que",
            "y",
            "en",
            "los",
            "se",
            "del",
            "las",
            "por",
            "un",
            "para",
            "con",
            "una",
            "es",
        ]
    ),
    "fr": frozenset(
        [
            "le",
            "la",
            "les",
            "de",
            "des",
            "et",
            "en",
            "est",
            "que",
            "une",
            "dans",
            "pour",
            "qui",
            "du",
            "sur",
            "au",
        ]
    ),
    "de": frozenset(
        [
            "der",
            "die",
            "und",
            "das",
            "den",
            "von",
            "zu",
            "mit",
            "ist",
            "des",
            "im",
            "dem",
            "nicht",
            "ein",
            "eine",
            "auf",
        ]
    ),
    "it": frozenset(
        [
            "il",
            "di",
            "che",
            "la",
            "e",
            "un",
            "per",
            "è",
            "non",
            "in",
            "una",
            "sono",
            "del",
            "della",
            "con",
            "le",
        ]
    ),
    "pt": frozenset(
        [
            "o",
            "de",
            "que",
            "e",
            "do",
            "da",
            "em",
            "um",
            "para",
            "com",
            "não",
            "uma",
            "os",
            "no",
            "se",
            "na",
        ]
    ),
}
_MIN_WORDS = 8
_LEAD = 1.5


class Demands(Struct, frozen=True, kw_only=True):
    """What an answer must keep to; ``None`` and ``()`` demand nothing.

    ``limits`` are (unit, least, most).
    """

    limits: tuple[tuple[str, int | None, int | None], ...] = ()
    language: str | None = None


def demands_of(prompt: str) -> Demands:
    """Return the demands a prompt states in plain English; only clear ones are taken."""
    text = prompt[-_MAX_CHARS:]
    limits: list[tuple[str, int | None, int | None]] = []
    for match in _LIMIT.finditer(text):
        count, unit = int(match["count"]), match["unit"].lower().rstrip("s")
        most = None if match["least"] else count
        least = None if match["most"] else count
        limits.append((unit, least, most))
    named = _IN_LANGUAGE.findall(text)
    return Demands(limits=tuple(limits[:8]), language=_CODES[named[-1].lower()] if named else None)


def unmet(demands: Demands, answer: str) -> list[str]:
    """Return what an answer does not keep to, in stable words."""
    faults: list[str] = []
    for unit, least, most in demands.limits:
        count = _count(unit, answer)
        if most is not None and count > most * (_SLACK_RATIO if unit == "word" else 1):
            faults.append(f"length: over {most} {unit}s")
        if least is not None and count < least / (_SLACK_RATIO if unit == "word" else 1):
            faults.append(f"length: under {least} {unit}s")
    if demands.language is not None:
        found = language_of(answer)
        if found is not None and found != demands.language:
            faults.append(f"language: {found} instead of {demands.language}")
    return faults


def _count(unit: str, text: str) -> int:
    """Return how many of a unit a text has."""
    match unit:
        case "word":
            return len(text.split())
        case "character":
            return len(text)
        case "line":
            return sum(bool(line.strip()) for line in text.splitlines())
        case "paragraph":
            return sum(bool(part.strip()) for part in re.split(r"\n\s*\n", text))
        case "bullet point":
            return len(re.findall(r"^\s*(?:[-*•]|\d{1,3}[.)])\s", text, re.MULTILINE))
        case _:
            return len(re.findall(r"[.!?](?:[\"')\]]|\s|\Z)", text)) or 1


def language_of(text: str) -> str | None:
    """Return the language of a text: by script, else by its small words; ``None`` when unsure."""
    text = text[:_MAX_CHARS]
    letters = sum(one.isalpha() for one in text)
    if not letters:
        return None
    for code, script in _SCRIPTS:
        if len(script.findall(text)) >= _MIN_SCRIPT_SHARE * letters:
            return code
    words = [word.strip(".,;:!?()\"'") for word in text.lower().split()]
    if len(words) < _MIN_WORDS:
        return None
    counts = {code: sum(word in known for word in words) for code, known in _WORDS.items()}
    ranked = sorted(counts.items(), key=lambda one: -one[1])
    (best, most), (_, second) = ranked[0], ranked[1]
    return best if most and most >= _LEAD * second else None
