"""What an answer says of its own quality: log-probabilities in, a verdict out.

The evidence is the mean log-probability of the answer's tokens, ``exp`` of which is the geometric
mean of the probabilities the model gave to what it wrote. It costs nothing beyond asking for it.

Source: "Zero-shot confidence for small LLMs", arXiv 2605.02241: average token log-probability
tells right from wrong answers with AUROC .65-.71 in and .72-.83 out of distribution, where
routers trained on the question alone reach .51-.56. It is a rank and no probability of being
right: thresholds are chosen per deployment on labelled answers.
"""

__all__ = ["confidence", "merge", "summarise", "summary_of"]

import math
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from metabolic.core.attempt import LogprobSummary, Verdict
from metabolic.decide.tokens import FIRST, firsts_of

_FLOOR = -100.0
"""Nats below which a log-probability says no more; engines write -inf or -9999 for "none"."""


def summarise(logprobs: Sequence[float]) -> LogprobSummary | None:
    """Return count, mean, minimum and quantiles of token log-probabilities (nats).

    ``None`` without tokens. Values are clamped to [-100, 0]; those that are not a number are left
    out. A quantile is the smallest value that at least that share of the tokens does not exceed.

    >>> summarise([-0.5, -0.1, -0.3]).q50
    -0.3
    """
    known = sorted(logprobs)
    # Almost every answer needs no cleaning; a NaN anywhere shows in the sum.
    if not known or not (known[0] >= _FLOOR and known[-1] <= 0.0 and sum(known) <= 0.0):
        known = sorted(min(max(one, _FLOOR), 0.0) for one in logprobs if not math.isnan(one))
    if not known:
        return None
    count = len(known)
    return LogprobSummary(
        tokens=count,
        mean=max(math.fsum(known) / count, known[0]),
        minimum=known[0],
        q10=known[(count + 9) // 10 - 1],
        q50=known[(count + 1) // 2 - 1],
    )


def summary_of(logprobs: Sequence[float]) -> LogprobSummary | None:
    """Return the summary of a whole answer, with the means of its first tokens (in their order)."""
    summary = summarise(logprobs)
    if summary is None or len(logprobs) < FIRST[0]:
        return summary
    return replace(summary, first=firsts_of(logprobs))


def confidence(summaries: Iterable[LogprobSummary | None]) -> float | None:
    """Return the geometric mean token probability of the least sure choice, in [0, 1].

    ``None`` when there is no choice, or one without log-probabilities: a set of answers is as
    sure as its weakest, and an unknown one is not known to be sure.
    """
    lowest: float | None = None
    for summary in summaries:
        if summary is None:
            return None
        if lowest is None or summary.mean < lowest:
            lowest = summary.mean
    return None if lowest is None else math.exp(min(lowest, 0.0))


def merge(verdicts: Sequence[Verdict]) -> Verdict:
    """Return one verdict for what several validators said of the same answer.

    Well-formed when all say so, doubtful when any does; the confidence is the lowest of those
    known, ``None`` when none is. Reasons, claims and signals keep their order. Nobody's verdict
    is well-formed.
    """
    if len(verdicts) == 1:
        return verdicts[0]
    known = [verdict.confidence for verdict in verdicts if verdict.confidence is not None]
    return Verdict(
        well_formed=all(verdict.well_formed for verdict in verdicts),
        doubtful=any(verdict.doubtful for verdict in verdicts),
        confidence=min(known) if known else None,
        reasons=tuple(reason for verdict in verdicts for reason in verdict.reasons),
        validator="+".join(verdict.validator for verdict in verdicts if verdict.validator),
        claims=tuple([claim for verdict in verdicts for claim in verdict.claims]),
        signals=tuple([signal for verdict in verdicts for signal in verdict.signals]),
    )
