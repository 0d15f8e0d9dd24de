"""One pass over a prompt: everything the rules, and later learned heads, look at.

The text is the last user turn, cut to its head and tail when long; of the rest of the request
only lengths and presence are used. Everything here runs on the request path.
"""

__all__ = ["Features", "Seen", "extract", "look"]

import re

from msgspec import Struct

from metabolic.classify.lexicon import (
    CODE,
    COMMON_WORDS,
    CONSTRAINTS,
    CREATIVE,
    CUES,
    DOMAINS,
    KIND_WORDS,
    PHRASES,
    QUESTION_WORDS,
    REASONING,
    STOPWORDS,
    words_of,
)
from metabolic.core.request import Image, Message, Request, Text

_ZONE_WORDS = 20
"""Words at either end in which an instruction is looked for."""

_TALK_WORDS = 14
_COLON_CHARS = 160
_ENDS_CHARS = 600
_SYSTEM_CHARS = 240
_SYSTEM_WEIGHT = 0.4
_FIRST_WORD_WEIGHT = 2.0
_LANGUAGE_WORDS = 60
_SCRIPT_CHARS = 120
_SCRIPT_SHARE = 4
_LAST_LATIN = "\u036f"

_MAX_LINES = 120
_SIGNS = b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~\n\r\t"
_BREAKS = bytes.maketrans(_SIGNS, b" " * len(_SIGNS))
_FOREIGN_SIGNS = "¿¡«»“”’…–—、。，？！：；（）"
"""Signs become blanks in UTF-8, where one table serves every language: ten times faster than a
regular expression."""

_LENGTH = re.compile(r"(\d(?<=\b\d)\d{0,4})[\s-]*(word|sentence|paragraph|line|item|bullet|page)")
_OPERATION = re.compile(r"\d\s*[-+*/×÷^=<>%]\s*\(?\s*\d")
"""Both begin with a digit, which the engine finds many times faster than a choice or ``\\b``."""

_OPERATION_SIGNS = b"-+*/^=<>%"
_MATH_SIGNS = "∑∫√≤≥π"
_MATH_WORDS = ("\\frac", "\\int", "\\sum")

_CODE_OPENERS = words_of(
    "def class import return #include function const let var public private fn func elif"
    " else: try: while( for( if( @"
)
_MARKS = (("=", "=>"), ("(", "();"), ("<", "</"), ('"', '"""'))
"""What code is full of, after the one character that is found sooner."""

_ITEM_SIGNS = frozenset("-*•")
_LENGTH_UNITS = words_of(
    "word words sentence sentences paragraph paragraphs line lines item items bullet"
    " bullets page pages"
)

_CUE_WORDS = frozenset(CUES)
_PHRASE_WORDS = frozenset(PHRASES)
_CUED = _CUE_WORDS | _PHRASE_WORDS
_LISTED = _CUED | KIND_WORDS | COMMON_WORDS | _LENGTH_UNITS
"""Every word that any list knows: most words of a prompt are looked up once and are not there."""

_SCRIPTS: tuple[tuple[str, str, str], ...] = (
    ("ko", "\uac00", "\ud7af"),
    ("zh", "\u4e00", "\u9fff"),
    ("ru", "\u0400", "\u04ff"),
    ("ar", "\u0600", "\u06ff"),
    ("he", "\u0590", "\u05ff"),
    ("el", "\u0370", "\u03ff"),
    ("hi", "\u0900", "\u097f"),
    ("th", "\u0e00", "\u0e7f"),
)


class Features(Struct, frozen=True, kw_only=True, gc=False):
    """What was seen of a prompt; counts unless the name says otherwise.

    ``words`` of the looked-at text, ``chars`` of the whole turn, ``context_chars`` of everything
    else in the request. ``cues`` are (task, weight) sums. ``asked_tokens`` is the length the
    prompt asks for in so many words, ``None`` if it does not. ``block_words`` is the length of
    material given with the prompt (a quoted text, a table, code), as far as layout shows it.
    """

    words: int
    distinct: int
    chars: int
    context_chars: int
    turns: int
    cues: tuple[tuple[str, float], ...]
    is_question: bool
    is_talk: bool
    questions: int
    numbers: int
    operators: int
    items: int
    code_marks: int
    has_fence: bool
    reasoning: int
    constraints: int
    domain: int
    creative: int
    code_words: int
    few_shots: int
    block_words: int
    asked_tokens: int | None
    language: str | None
    wants_json: bool
    tools: int
    images: int


class Seen(Struct, frozen=True, gc=False):
    """A prompt looked at once: its features, and the text and words they were counted in."""

    features: Features
    text: str
    words: list[str]
    distinct: set[str]


def extract(request: Request, *, max_chars: int = 4096) -> Features:
    """Return the features of a request; ``max_chars`` bounds what is read of the last turn."""
    return look(request, max_chars=max_chars).features


def look(request: Request, *, max_chars: int = 4096) -> Seen:
    """Return the features of a request, with the text and words they are of."""
    prompt, system, images, context_chars = _parts(request.messages)
    text = _cut(prompt, max_chars)
    low = text.lower()
    words = _split(low)
    known = _LISTED & (distinct := set(words))
    kinds = known & KIND_WORDS
    numbers = sum(map(str.isdigit, words))
    ends = _cut(low, 2 * _ENDS_CHARS)
    items, code_marks = _lines(text)
    questions = text.count("?") + (0 if text.isascii() else text.count("？"))
    features = Features(
        words=len(words),
        distinct=len(distinct),
        chars=len(prompt),
        context_chars=context_chars,
        turns=len(request.messages),
        cues=_cues(low, words, known, system),
        is_question=bool(words) and (questions > 0 or words[0] in QUESTION_WORDS),
        is_talk=len(words) <= _TALK_WORDS and _talks(words),
        questions=questions,
        numbers=numbers,
        operators=_operators(ends, numbers=numbers),
        items=items,
        code_marks=code_marks,
        has_fence="`" in text and "```" in text,
        reasoning=len(kinds & REASONING),
        constraints=len(kinds & CONSTRAINTS),
        domain=len(kinds & DOMAINS),
        creative=len(kinds & CREATIVE),
        code_words=len(kinds & CODE),
        few_shots=_few_shots(low),
        block_words=_block_words(text, len(words)),
        asked_tokens=_asked_tokens(ends, known, numbers=numbers),
        language=_language(text, words, known),
        wants_json=request.response_format.kind != "text",
        tools=len(request.tools),
        images=images,
    )
    return Seen(features, text, words, distinct)


def _cut(text: str, chars: int) -> str:
    """Return a text, or its head and tail where it is longer."""
    return text if len(text) <= chars else f"{text[: chars // 2]}\n{text[-(chars // 2) :]}"


def _split(low: str) -> list[str]:
    """Return the words of a lower-case text."""
    if low.isascii():
        return low.encode().translate(_BREAKS).decode("ascii").split()
    for sign in _FOREIGN_SIGNS:
        if sign in low:
            low = low.replace(sign, " ")
    return low.encode("utf-8", "replace").translate(_BREAKS).decode("utf-8").split()


def _operators(ends: str, *, numbers: int) -> int:
    """Count operators between numbers, and signs of mathematics."""
    count = 0
    if "\\" in ends:
        count = sum(map(ends.count, _MATH_WORDS))
    elif not numbers:
        return 0
    if ends.isascii():
        plain = ends.encode()
        if len(plain.translate(None, _OPERATION_SIGNS)) == len(plain):
            return count
    else:
        count += sum(map(ends.count, _MATH_SIGNS))
    return count + len(_OPERATION.findall(ends))


def _lines(text: str) -> tuple[int, int]:
    """Count list items, and lines and signs that look like code."""
    items = marks = 0
    for sign, mark in _MARKS:
        if sign in text:
            marks += text.count(mark)
    if "\n" not in text:
        return 0, marks
    for line in text.split("\n", _MAX_LINES)[:_MAX_LINES]:
        bare = line.strip()
        if not bare:
            continue
        second = bare[1:2]
        if (second == " " and bare[0] in _ITEM_SIGNS) or (
            second in {".", ")"} and bare[0].isalnum() and bare[2:3] == " "
        ):
            items += 1
        elif bare[-1] in ";{}" or bare.split(None, 1)[0] in _CODE_OPENERS:
            marks += 1
    return items, marks


def _parts(messages: tuple[Message, ...]) -> tuple[str, str, int, int]:
    """Return the last user turn, the head of the system text, images and characters of the rest."""
    if len(messages) == 1 and messages[0].role == "user" and len(messages[0].content) == 1:
        block = messages[0].content[0]
        if isinstance(block, Text):
            return block.text, "", 0, 0
    last = next(
        (index for index in range(len(messages) - 1, -1, -1) if messages[index].role == "user"),
        None,
    )
    prompt: list[str] = []
    system: list[str] = []
    images = context_chars = 0
    for index, message in enumerate(messages):
        is_system = message.role in {"system", "developer"}
        for block in message.content:
            if isinstance(block, Text):
                if index == last:
                    prompt.append(block.text)
                    continue
                context_chars += len(block.text)
                if is_system:
                    system.append(block.text[:_SYSTEM_CHARS])
            elif isinstance(block, Image):
                images += 1
    return "\n".join(prompt), "\n".join(system)[:_SYSTEM_CHARS], images, context_chars


def _cues(
    low: str, words: list[str], known: frozenset[str], system: str
) -> tuple[tuple[str, float], ...]:
    """Sum what the words and phrases at both ends, and the system text, say of the task."""
    sums: dict[str, float] = {}
    if words:
        for task, value in CUES.get(words[0], ()):
            sums[task] = (_FIRST_WORD_WEIGHT - 1.0) * value
    if len(words) > 2 * _ZONE_WORDS:
        known = (known & _CUED).intersection(words[:_ZONE_WORDS] + words[-_ZONE_WORDS:])
    for word in sorted(known & _CUE_WORDS):  # floats add up in the same order everywhere
        for task, value in CUES[word]:
            sums[task] = sums.get(task, 0.0) + value
    for word in sorted(known & _PHRASE_WORDS):
        for phrase, task, value in PHRASES[word]:
            if phrase in low:
                sums[task] = sums.get(task, 0.0) + value
    if system:
        _add_system(system, sums)
    return tuple(sorted(sums.items()))


def _add_system(system: str, sums: dict[str, float]) -> None:
    """Add what the system text says; that it asks or greets says nothing of the user's turn."""
    for word in sorted(_CUE_WORDS.intersection(_split(system.lower()))):
        for task, value in CUES[word]:
            if task not in {"open_qa", "chatbot"}:
                sums[task] = sums.get(task, 0.0) + value * _SYSTEM_WEIGHT


_SHOTS = ("\na:", "output:", "answer:", "label:")


def _talks(words: list[str]) -> bool:
    """Say whether a short prompt speaks of the speaker, or asks the model about itself."""
    if not words:
        return False
    if words[0] in {"i", "my", "we", "ich", "je", "yo"}:
        return "need" not in words and "want" not in words
    return words[0] in {"are", "do", "who"} and "you" in words[1:3]


def _few_shots(low: str) -> int:
    """Count worked examples: answers that stand in the prompt, all but the one asked for."""
    if low.count(":") < 2:  # noqa: PLR2004 - one is the answer asked for
        return 0
    shots = max(map(low.count, _SHOTS))
    if shots <= 1:
        return 0
    return shots - low.rstrip().endswith(("a:", *_SHOTS))


def _block_words(text: str, words: int) -> int:
    """Estimate how many words are material rather than instruction, from quotes and layout."""
    quoted = text.find('"')
    if quoted >= 0:
        closing = text.rfind('"')
        if closing > quoted:
            return (closing - quoted) // 6
    if ("\n" in text and "\n\n" in text) or ("`" in text and "```" in text):
        longest = max(map(len, text.split("\n\n")))
        return min(words, longest // 6)
    colon = text.find(":")
    if 0 <= colon < _COLON_CHARS and len(text) - colon > _COLON_CHARS:
        return (len(text) - colon) // 6
    return 0


_SHORTEST = 4
_TOKENS_PER_SENTENCE = 28
_TOKENS_PER = {
    "word": 1.4,
    "sentence": _TOKENS_PER_SENTENCE,
    "paragraph": 120,
    "line": 14,
    "item": 18,
    "bullet": 22,
    "page": 650,
}


def _asked_tokens(low: str, known: frozenset[str], *, numbers: int) -> int | None:
    """Return the length asked for in so many words, in tokens."""
    if known.isdisjoint(_LENGTH_UNITS):
        return _SHORTEST if "yes or no" in low else None
    found = _LENGTH.search(low) if numbers else None
    if found is not None:
        return max(1, round(int(found[1]) * _TOKENS_PER[found[2]]))
    if "one word" in low or "single word" in low:
        return _SHORTEST
    if "one sentence" in low or "single sentence" in low:
        return _TOKENS_PER_SENTENCE
    return None


def _language(text: str, words: list[str], known: frozenset[str]) -> str | None:
    """Return the language by script, else by its commonest words; ``None`` when unclear."""
    if not text.isascii():
        script = _script(text[:_SCRIPT_CHARS])
        if script is not None:
            return script
    if len(words) <= _LANGUAGE_WORDS:
        common = known & COMMON_WORDS
    else:
        common = COMMON_WORDS.intersection(words[:_LANGUAGE_WORDS])
    best, most = None, 0
    for language, own in STOPWORDS:
        count = len(common & own)
        if count > most:
            best, most = language, count
            if count == len(common):
                break  # no other can have more, and the first of equals is taken
    return best


def _script(head: str) -> str | None:
    """Return the language whose script a text is mostly in; ``None`` for Latin letters."""
    foreign = [one for one in head if one > _LAST_LATIN]
    if len(foreign) * _SCRIPT_SHARE < len(head):
        return None
    if any("\u3040" <= one <= "\u30ff" for one in foreign):
        return "ja"  # its kana, among characters that Chinese has as well
    for language, first, last in _SCRIPTS:
        if sum(first <= one <= last for one in foreign) * 2 > len(foreign):
            return language
    return None
