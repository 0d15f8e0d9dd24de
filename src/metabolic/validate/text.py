"""Faults that can be read off a text: it refuses, hedges, or goes round in circles."""

__all__ = ["declines", "hedges", "is_looping"]

import re

_NOT = (
    r"(?:can(?:not| not|['’]?t)|could(?: not|n['’]t)|will not|won['’]?t"
    r"|(?:am|['’]m) (?:not able|unable))"
)
_OPENING = (
    r"(?:(?:i['’]?m |i am )?(?:so |very |really |truly )?sorry|i (?:sincerely )?apologi[sz]e"
    r"|apologies|unfortunately|as an? (?:ai|large language|language)[\w -]{0,30}?)"
)
_TURN = r"[\s,.:;!—-]+(?:but |however,? |for (?:the|any) \w+[,.]? )?"
_ACT = (
    r"(?:help|assist|provide|comply|answer|do (?:that|this)|fulfil|generate|create|engage"
    r"|support|share|access|browse|determine)"
)
_LACK = (
    r"i (?:don['’]?t|do not) (?:know(?: the answer)?\s*(?:[.!,]|$)"
    r"|have (?:access|enough information|the ability|real-time|information|any information"
    r"|personal))"
)
_ELSEWHERE = (
    r"(?:lo siento|disculpa|perdón)[\s,.]+(?:pero )?no (?:puedo|sé|tengo)",
    r"(?:je suis )?désolée?[\s,.]+(?:mais )?je ne (?:peux|puis|sais)",
    r"(?:es )?tut mir leid[\s,.]+(?:aber )?(?:ich kann|das kann ich|dabei kann ich|ich weiß)",
    r"mi dispiace[\s,.]+(?:ma )?non (?:posso|so)",
    r"(?:desculpe|sinto muito|lamento)[\s,.]+(?:mas )?(?:eu )?não (?:posso|sei)",
    r"(?:很?抱歉|对不起)[，,。\s]*(?:我|但)?.{0,6}(?:无法|不能|不知道)",
    r"申し訳(?:ありません|ございません).{0,20}(?:できません|できかねます)",
)
_REFUSALS = re.compile(
    r"[\s\"'*_>#-]*+(?:"
    + "|".join(
        (
            rf"{_OPENING}{_TURN}i ?(?:{_NOT}|(?:must|have to) (?:decline|refuse))",
            rf"(?:{_OPENING}{_TURN})?{_LACK}",
            rf"i ?{_NOT}(?: to)? {_ACT}",
            r"i must (?:decline|refuse)",
            *_ELSEWHERE,
        )
    )
    + ")",
    re.IGNORECASE,
)
_REFUSAL_HEAD = 240
"""Characters looked at: an answer that refuses does so at once."""

_HEDGE_CHARS = 24_000
_HEDGES = re.compile(
    r"\b(?:i think|i believe|i guess|i assume|assum(?:e|ing|ption)|probably|possibly|perhaps|maybe"
    r"|might be|could be|not sure|uncertain|unclear|not clear|it seems|appears to|as far as i know"
    r"|i'm not certain|hard to say|cannot be determined|not enough information|let'?s say"
    r"|approximately"
    r"|quizás?|tal vez|probablemente|creo que|no estoy segur[oa]|peut-être|probablement"
    r"|je crois que|je ne suis pas sûre?|vielleicht|vermutlich|wahrscheinlich|ich glaube"
    r"|nicht sicher|forse"
    r"|probabilmente|credo che|talvez|provavelmente|acho que)\b"
    r"|可能|也许|大概|我认为|不确定|おそらく|たぶん|かもしれ",
    re.IGNORECASE,
)

_TAIL = 2048
"""Characters at the end in which a loop is looked for: one that ended by itself did no harm."""

_MIN_LOOP = 96
"""Shortest loop in characters: shorter ones are lists, rhymes and ``ha ha ha``."""

_MIN_REPEATS = 4
_PROBE = 24
_MAX_PERIODS = 64
_MIN_PHRASES = 64
_PHRASES_PER_KIND = 5


def declines(text: str) -> bool:
    """Say whether an answer begins by refusing, or by saying that it does not know.

    >>> declines("I'm sorry, but I can't help with that.")
    True
    """
    return _REFUSALS.match(text[:_REFUSAL_HEAD]) is not None


def hedges(text: str) -> int:
    """Count the words with which an answer takes itself back; linear in its first 24,000 signs.

    English, Spanish, French, German, Italian, Portuguese, Chinese and Japanese, modestly.

    >>> hedges("I think it is probably 7, but I am not sure.")
    3
    """
    return sum(1 for _ in _HEDGES.finditer(text, 0, _HEDGE_CHARS))


def is_looping(text: str) -> bool:
    """Say whether a text ends in the same words again and again; linear in its length.

    True when its end is one unit repeated at least four times over at least 96 characters, or
    when its many word 4-grams are nearly all the same few. Rows of signs (rules, padding) do not
    count.
    """
    tail = text[-_TAIL:].rstrip()
    return len(tail) >= _MIN_LOOP and (_repeats_at_end(tail) or _few_phrases(tail))


def _repeats_at_end(tail: str) -> bool:
    """Say whether the end repeats: its last words stand one period earlier, and all between."""
    probe = tail[-_PROBE:]
    begin = len(tail) - _PROBE
    at = begin
    for _ in range(_MAX_PERIODS):
        at = tail.rfind(probe, 0, at + _PROBE - 1)
        period = begin - at
        if at < 0 or period * _MIN_REPEATS > len(tail):
            return False
        length = max(_MIN_LOOP, _MIN_REPEATS * period)
        if tail[-length:-period] == tail[period - length :]:
            return any(map(str.isalnum, tail[-period:]))
    return False


def _few_phrases(tail: str) -> bool:
    """Say whether at least 64 word 4-grams are of fewer than a fifth as many kinds."""
    words = tail.split()
    count = len(words) - 3
    # There are at least as many kinds of 4-grams as of words, less three.
    if count < _MIN_PHRASES or (len(set(words)) - 3) * _PHRASES_PER_KIND >= count:
        return False
    phrases = set(zip(words, words[1:], words[2:], words[3:], strict=False))
    return len(phrases) * _PHRASES_PER_KIND < count
