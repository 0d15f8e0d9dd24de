"""How sure the model was of its own words, from token log-probabilities."""

__all__ = ["ConfidenceValidator", "Options", "check_cost", "create"]

import math
from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from metabolic.core.attempt import Attempt, Reply, ReplyChoice, Signal, Verdict
from metabolic.core.checking import CheckCost
from metabolic.core.request import Request
from metabolic.decide.agreement import final_answer
from metabolic.decide.evidence import confidence, summarise
from metabolic.decide.tokens import TOKEN_SIGNALS, answer_margin, token_signals, top_entropy

_TAIL = 200
"""Tokens from the end among which the final answer is looked for."""


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is read, and whether the whole vector is recorded.

    ``by``: ``mean`` is the geometric mean token probability, ``q10`` the probability that nine of
    ten tokens reach, ``minimum`` that of the least sure token; ``margin`` how far the tokens of the
    final answer are ahead of their best rivals, ``entropy`` how little the model hesitated: both
    need ``top_logprobs`` of the deployment, and say nothing without. ``signals`` records all
    figures. The threshold is the policy's, since it depends on profile and level.
    """

    by: Literal["mean", "q10", "minimum", "margin", "entropy"] = "mean"
    signals: bool = False


class ConfidenceValidator:
    """Reports how sure the least sure choice is, by one figure of its log-probabilities.

    Every answer is well-formed to it; whether it is sure enough is the stage's business. Without
    log-probabilities (a tool call, a server that gives none) it has nothing to say.
    """

    name = "confidence"
    cost_s = 5e-6

    def __init__(self, options: Options) -> None:
        """Choose what is read."""
        self._options = options

    async def check(self, request: Request, attempt: Attempt, reply: Reply) -> Verdict:
        """Return the confidence in [0, 1], ``None`` without log-probabilities."""
        del request
        options = self._options
        if options.by != "mean":
            value = _least(_by(options.by, one) for one in reply.choices)
        elif attempt.choices:
            value = confidence(choice.logprobs for choice in attempt.choices)
        else:
            value = confidence(summarise(choice.logprobs) for choice in reply.choices)
        signals = _vector(reply.choices[0]) if options.signals and reply.choices else ()
        return Verdict(well_formed=True, confidence=value, validator=self.name, signals=signals)


def _least(found: Iterable[float | None]) -> float | None:
    """Return the lowest of all; ``None`` without any, or where one is not known."""
    least: float | None = None
    for one in found:
        if one is None:
            return None
        least = one if least is None else min(least, one)
    return least


def _by(name: str, choice: ReplyChoice) -> float | None:
    """Return one choice's confidence by a figure, in [0, 1]; ``None`` where it is not known."""
    if name in {"q10", "minimum"}:
        summary = summarise(choice.logprobs)
        if summary is None:
            return None
        return math.exp(summary.q10 if name == "q10" else summary.minimum)
    if name == "margin":
        margin = _margin(choice)
        return None if margin is None else 1 / (1 + math.exp(-margin))
    entropy = top_entropy(choice.alternatives)
    return None if entropy is None else math.exp(-entropy)


def _margin(choice: ReplyChoice) -> float | None:
    """Return the least lead over the tokens of the final answer, of all tokens without one."""
    begin, end = _span(choice)
    return answer_margin(choice.logprobs[begin:end], choice.alternatives[begin:end])


def _span(choice: ReplyChoice) -> tuple[int, int]:
    """Return which tokens say the final answer: from, to; all where it cannot be told.

    A number or a choice is looked for from the end, as its digits or its letter.
    """
    final, tokens = final_answer(choice.text), choice.tokens
    everything = (0, len(choice.logprobs))
    if final is None or final.kind not in {"number", "choice"} or len(tokens) != everything[1]:
        return everything
    wanted = final.value if isinstance(final.value, str) else f"{abs(final.value):.10g}"
    said = ""
    for at in range(len(tokens) - 1, max(-1, len(tokens) - _TAIL), -1):
        said = tokens[at].replace(",", "") + said
        if wanted in said:
            return at, min(len(tokens), at + len(wanted) + 1)
    return everything


def _vector(choice: ReplyChoice) -> tuple[Signal, ...]:
    """Return every figure that is known, by name."""
    found = token_signals(choice.logprobs)
    named = [] if found is None else list(zip(TOKEN_SIGNALS, found, strict=True))
    margin, entropy = _margin(choice), top_entropy(choice.alternatives)
    named += [] if margin is None else [("lp_answer_margin", margin)]
    named += [] if entropy is None else [("lp_top_entropy", entropy)]
    return tuple([Signal(name=name, value=value) for name, value in named])


def check_cost(options: Options) -> CheckCost:
    """Return what a draft typically takes."""
    cost_s = ConfidenceValidator.cost_s
    if options.signals or options.by != "mean":
        cost_s *= 20  # the vector is sorted, the alternatives are read
    return CheckCost(name="confidence", cpu_s=cost_s)


def create(options: Options) -> ConfidenceValidator:
    """Return the validator."""
    return ConfidenceValidator(options)
