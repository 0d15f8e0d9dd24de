"""Checks of what an answer says that need no model: they are right, wrong, or do not apply.

Equations are computed again, code blocks are parsed, dates looked up in the calendar, citations
among the sources the request gives, demands of the prompt (length, language) and of the
configuration (a pattern, words) counted. A fault makes an
answer doubtful: another model tries first. What a setting demands (``pattern``, ``code``) may be
made a condition of the form: then the answer is broken without it.
"""

__all__ = ["ContentValidator", "Options", "check_cost", "create", "score_version"]

import re
from collections.abc import Iterator

from msgspec import Struct

from metabolic.core.attempt import Attempt, Reply, Signal, Verdict
from metabolic.core.checking import CheckCost
from metabolic.core.errors import ConfigError
from metabolic.core.request import Request
from metabolic.validate.arithmetic import equations
from metabolic.validate.citations import unknown_citations
from metabolic.validate.code import blocks, fault_of
from metabolic.validate.constraints import Demands, demands_of, unmet
from metabolic.validate.context import context_of, question_of, texts_of
from metabolic.validate.dates import impossible_dates
from metabolic.validate.schema import is_cheap_pattern

_MAX_CHARS = 40_000
_MARKS = re.compile(r"[\[【]\^?\d|https?://")


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is checked.

    ``pattern`` is a regular expression the answer must hold; ``forbidden`` words it must not;
    ``language`` a code (``de``) it must be in. ``citations``: a source number or an address that
    the request does not hold, where it gives sources. ``strict`` breaks an answer that fails
    ``pattern``, ``forbidden`` or ``code`` instead of doubting it.
    """

    equations: bool = True
    code: bool = True
    dates: bool = True
    prompt: bool = True
    citations: bool = True
    pattern: str | None = None
    forbidden: tuple[str, ...] = ()
    language: str | None = None
    strict: bool = False


class ContentValidator:
    """Judges every choice; no confidence, only faults."""

    name = "content"
    cost_s = 3e-4

    def __init__(self, options: Options) -> None:
        """Compile the pattern. Raises ``ConfigError`` when it is none."""
        self._options = options
        self._pattern: re.Pattern[str] | None = None
        if options.pattern is not None:
            if not is_cheap_pattern(options.pattern, chars=_MAX_CHARS):
                message = "content pattern: it may take for ever on some answer"
                raise ConfigError(message)
            try:
                self._pattern = re.compile(options.pattern)
            except re.error as exc:
                message = f"content pattern: {exc}"
                raise ConfigError(message) from exc
        self._forbidden = tuple(word.casefold() for word in options.forbidden)

    async def check(self, request: Request, attempt: Attempt, reply: Reply) -> Verdict:
        """Return the verdict on all choices, with every fault found once."""
        del attempt
        silent = Verdict(well_formed=True, validator=self.name)
        if request.dialect == "embeddings":
            return silent
        demands = demands_of(question_of(request)) if self._options.prompt else Demands()
        reasons: dict[str, bool] = {}
        right = wrong = 0
        for choice in reply.choices:
            if choice.tool_calls or not choice.text:
                continue
            text = choice.text[:_MAX_CHARS]
            if self._options.equations:
                found = equations(text)
                bad = sum(not one.ok for one in found)
                right, wrong = right + len(found) - bad, wrong + bad
            reasons.update(self._faults(request, demands, text))
        if self._options.citations and _made_up(request, reply):
            reasons["citation"] = False
        if wrong:
            reasons["equation"] = False
        if not (reasons or right):
            return silent
        return Verdict(
            well_formed=not any(reasons.values()),
            doubtful=any(not breaks for breaks in reasons.values()),
            reasons=tuple(reasons),
            validator=self.name,
            signals=_counted(right, wrong),
        )

    def _faults(self, request: Request, demands: Demands, text: str) -> Iterator[tuple[str, bool]]:
        """Yield each fault of a text, and whether the answer is broken by it."""
        options = self._options
        if options.code:
            for block in blocks(text):
                fault = fault_of(block)
                if fault is not None:
                    yield f"code: {fault}", options.strict
        if options.dates and impossible_dates(text):
            yield "date", False
        if self._pattern is not None and self._pattern.search(text) is None:
            yield "pattern", options.strict
        folded = text.casefold()
        if any(word in folded for word in self._forbidden):
            yield "forbidden", options.strict
        if options.language is not None:
            demands = Demands(limits=demands.limits, language=options.language)
        if request.response_format.kind == "text":
            for fault in unmet(demands, text):
                yield fault, False


def _made_up(request: Request, reply: Reply) -> bool:
    """Say whether a choice cites what the request does not hold."""
    texts = [one.text[:_MAX_CHARS] for one in reply.choices if _MARKS.search(one.text)]
    if not texts:
        return False
    asked, evidence = texts_of(request), context_of(request)
    return any(unknown_citations(one, asked=asked, evidence=evidence) for one in texts)


def _counted(right: int, wrong: int) -> tuple[Signal, ...]:
    """Return the counts of equations, where there were any."""
    if not right + wrong:
        return ()
    return (
        Signal(name="equations_ok", value=float(right)),
        Signal(name="equations_bad", value=float(wrong)),
    )


def check_cost(options: Options) -> CheckCost:
    """Return what a draft typically takes."""
    del options
    return CheckCost(name="content", cpu_s=ContentValidator.cost_s)


def score_version() -> str:
    """Return the version of what is checked: certificates of another one are not in force."""
    return "2"


def create(options: Options) -> ContentValidator:
    """Return the validator. Raises ``ConfigError`` for a pattern that cannot be used."""
    return ContentValidator(options)
