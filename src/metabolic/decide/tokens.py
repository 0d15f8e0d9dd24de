"""What token log-probabilities say of an answer, whole or so far: a vector of plain numbers.

A mean hides one guess among many sure words and depends on the length; quantiles, the last tokens
and the first ones do not. Every function takes the log-probabilities of a prefix just as well, so
the same numbers can be read at a checkpoint of a stream.

Source: "Language Model Cascades: Token-level uncertainty and beyond", arXiv 2404.10136: sums and
means are biased by length, a learned rule on the quantile vector is best.
"""

__all__ = [
    "FIRST",
    "TOKEN_SIGNALS",
    "answer_margin",
    "first_tokens",
    "firsts_of",
    "token_signals",
    "top_entropy",
]

import math
from collections.abc import Sequence

FIRST = (8, 16, 32, 64)
"""Tokens after which a checkpoint may be taken."""

_FLOOR = -20.0
"""Nats below which a token is no more surprising: one token must not decide everything."""

_LAST = 8
_QUANTILES = (0.05, 0.1, 0.25, 0.5)

TOKEN_SIGNALS = (
    "lp_mean",
    "lp_min",
    "lp_q05",
    "lp_q10",
    "lp_q25",
    "lp_q50",
    "lp_first",
    "lp_first4",
    "lp_last8",
    "lp_sum",
    "lp_low_share",
    "lp_tokens",
)
"""Names of ``token_signals``, in order."""


def token_signals(logprobs: Sequence[float]) -> tuple[float, ...] | None:
    """Return mean, minimum, quantiles, first, last, sum, share below -1 and log length.

    ``None`` without tokens. Values that are no number are left out.
    """
    kept = [min(max(one, _FLOOR), 0.0) for one in logprobs if not math.isnan(one)]
    if not kept:
        return None
    ranked = sorted(kept)
    count = len(kept)
    first, last = kept[:4], kept[-_LAST:]
    return (
        sum(kept) / count,
        ranked[0],
        *(ranked[max(0, math.ceil(share * count) - 1)] for share in _QUANTILES),
        kept[0],
        sum(first) / len(first),
        sum(last) / len(last),
        -math.log1p(-sum(kept)),
        sum(one < -1.0 for one in kept) / count,
        math.log(count),
    )


def first_tokens(logprobs: Sequence[float], count: int) -> float | None:
    """Return the mean of the first ``count`` log-probabilities; ``None`` before there are as many.

    Of a stream this is known after ``count`` tokens and never changes again.
    """
    if count <= 0 or len(logprobs) < count:
        return None
    kept = [min(max(one, _FLOOR), 0.0) for one in logprobs[:count]]
    return sum(kept) / count


def firsts_of(logprobs: Sequence[float]) -> tuple[float, ...]:
    """Return the means of the first tokens at each of ``FIRST`` that the answer reached.

    >>> firsts_of([-1.0] * 20)
    (-1.0, -1.0)
    """
    if len(logprobs) < FIRST[0]:
        return ()
    means = [first_tokens(logprobs, count) for count in FIRST]
    return tuple([one for one in means if one is not None])


def answer_margin(
    logprobs: Sequence[float], alternatives: Sequence[Sequence[float]]
) -> float | None:
    """Return the least lead (nats) of a token over its best rival, over the answer's span.

    ``alternatives`` are the top log-probabilities at each position; ``None`` without them. A
    negative margin is a token that was sampled against a likelier one.
    """
    margins: list[float] = []
    for chosen, others in zip(logprobs, alternatives, strict=False):
        rivals = sorted((one for one in others if not math.isnan(one)), reverse=True)
        if len(rivals) > 1:
            # The chosen token is among them: its rival is the best of the others.
            rival = rivals[1] if chosen >= rivals[0] else rivals[0]
            margins.append(max(chosen, _FLOOR) - max(rival, _FLOOR))
    return min(margins) if margins else None


def top_entropy(alternatives: Sequence[Sequence[float]]) -> float | None:
    """Return the mean entropy (nats) of the top tokens, the rest taken as one more token."""
    entropies: list[float] = []
    for others in alternatives:
        shares = [math.exp(min(one, 0.0)) for one in others if not math.isnan(one)]
        if shares:
            shares.append(max(0.0, 1.0 - sum(shares)))
            entropies.append(-sum(one * math.log(one) for one in shares if one > 0))
    return sum(entropies) / len(entropies) if entropies else None
