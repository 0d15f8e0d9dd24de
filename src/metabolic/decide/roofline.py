"""How long a deployment takes for a prompt and for each token, refitted from what it answered.

Theory. A step reads the weights once, whatever the batch; it reads each answer's cache, computes
for each answer, and has an overhead. So the seconds of one answer add up as

    overhead + prompt x fresh tokens + (weights + share x batch ^ 0.8) x output tokens

with four constants that hold for one deployment. The batch enters with an exponent below one,
since the shares of cache, arithmetic and scheduling overlap; it was chosen on half of the models
of the ML.ENERGY measurements (see the lab log) and is reported on all.

The constants are a least squares fit of relative errors, none negative. Old answers are forgotten
exponentially. What was believed before (configured speeds) is a weak pull, first scaled by how far
off it proved: so two answers, of a small and of a larger batch, are enough to begin. Only fourteen
sums are kept, whatever the traffic.
"""

__all__ = [
    "BATCH_EXPONENT",
    "Constants",
    "Pace",
    "believed",
    "constants",
    "observe",
    "shown",
    "spread",
    "token_s",
]

from math import exp, log

from msgspec import Struct

from metabolic.core.fleet import Load

BATCH_EXPONENT = 0.8
"""How the batch enters the time of a token."""

_GROWTH = 0.04
"""Share of a lone answer's token time that grows with the batch.

Source: ML.ENERGY leaderboard v3: from batch 8 to 64 a token takes 1.81 times as long (median).
"""

_FORGET = 0.97
_PULL = 0.01
_LEAST = 2
_SWEEPS = 60
_TINY = 1e-12
_SIZE = 4


class Constants(Struct, frozen=True, array_like=True):
    """Seconds: of overhead, per fresh prompt token, per token for the weights, and per share."""

    overhead_s: float
    prompt_s: float
    weights_s: float
    share_s: float


class Pace(Struct, frozen=True, array_like=True):
    """What is remembered of one deployment's answers: discounted sums of the regression.

    ``ratio`` is the summed logarithm of observed over believed seconds, ``weight`` its weight.
    """

    count: int = 0
    gram: tuple[float, ...] = (0.0,) * 10
    moment: tuple[float, ...] = (0.0,) * 4
    ratio: float = 0.0
    weight: float = 0.0


def believed(
    prefill_tokens_per_s: float | None, decode_tokens_per_s: float | None
) -> Constants | None:
    """Return what configured speeds of a lone answer say; ``None`` when one is unknown."""
    if not prefill_tokens_per_s or not decode_tokens_per_s:
        return None
    token_s = 1.0 / decode_tokens_per_s
    return Constants(
        overhead_s=token_s,
        prompt_s=1.0 / prefill_tokens_per_s,
        weights_s=token_s * (1.0 - _GROWTH),
        share_s=token_s * _GROWTH,
    )


def spread(batch: float) -> float:
    """Return what a batch counts as: ``batch ^ 0.8``, and at least one answer."""
    return max(1.0, batch) ** BATCH_EXPONENT


def token_s(found: Constants, batch: float) -> float:
    """Return the seconds between two tokens of an answer among ``batch``."""
    return found.weights_s + found.share_s * spread(batch)


def shown(load: Load, *, fresh: int, output: int, slots: int) -> tuple[float, float]:
    """Return TTFT and TPOT (s) by what a load says its deployment has shown.

    The answer joins those that run; those that wait go first, as many at once as there is room.
    """
    room = max(1, slots if load.limit is None else min(slots, load.limit))
    found = Constants(
        overhead_s=load.ttft_s or 0.0,
        prompt_s=load.ttft_per_token_s or 0.0,
        weights_s=load.tpot_s or 0.0,
        share_s=load.tpot_per_answer_s or 0.0,
    )
    tpot_s = token_s(found, min(load.running + 1, room))
    ttft_s = found.overhead_s + found.prompt_s * fresh
    ahead = max(0, load.running + load.waiting + 1 - room) / room
    return ttft_s + ahead * (ttft_s + tpot_s * output), tpot_s


def observe(  # noqa: PLR0913 - what one span of an answer is
    pace: Pace,
    *,
    seconds: float,
    batch: float,
    prompt_tokens: float = 0.0,
    output_tokens: float = 0.0,
    first: bool = True,
    belief: Constants | None = None,
) -> Pace:
    """Return the pace with one more span of ``seconds``.

    ``first``: the span holds the prompt (else it begins at the first token). ``batch`` is the mean
    of answers in flight, this one included. A span of nothing teaches nothing.
    """
    if seconds <= 0.0 or (not first and output_tokens <= 0.0):
        return pace
    row = (
        1.0 if first else 0.0,
        prompt_tokens if first else 0.0,
        output_tokens,
        output_tokens * spread(batch),
    )
    scaled = [value / seconds for value in row]
    pairs = [scaled[i] * scaled[j] for i in range(_SIZE) for j in range(i, _SIZE)]
    ratio, weight = pace.ratio * _FORGET, pace.weight * _FORGET
    if belief is not None:
        guess = sum(value * one for value, one in zip(row, _listed(belief), strict=True))
        if guess > 0.0:
            ratio, weight = ratio + log(seconds / guess), weight + 1.0
    return Pace(
        count=pace.count + 1,
        gram=tuple([_FORGET * old + new for old, new in zip(pace.gram, pairs, strict=True)]),
        moment=tuple([_FORGET * old + new for old, new in zip(pace.moment, scaled, strict=True)]),
        ratio=ratio,
        weight=weight,
    )


def constants(pace: Pace, belief: Constants | None = None) -> Constants | None:
    """Return the fitted constants; ``None`` before two spans were seen."""
    if pace.count < _LEAST:
        return None
    scale = exp(pace.ratio / pace.weight) if pace.weight > 0.0 else 1.0
    prior = None if belief is None else [value * scale for value in _listed(belief)]
    gram = _full(pace.gram)
    moment = list(pace.moment)
    found = list(prior) if prior is not None else [0.0] * _SIZE
    for i in range(_SIZE):
        centre = prior[i] if prior is not None else 0.0
        pull = _PULL / (centre * centre) if centre > 0.0 else gram[i][i] * 1e-6
        gram[i][i] += pull
        moment[i] += pull * centre
    for _ in range(_SWEEPS):
        for i in range(_SIZE):
            if gram[i][i] > _TINY:
                rest = sum(gram[i][j] * found[j] for j in range(_SIZE) if j != i)
                found[i] = max(0.0, (moment[i] - rest) / gram[i][i])
    return Constants(*found)


def _listed(found: Constants) -> tuple[float, float, float, float]:
    """Return the constants in the order of the sums."""
    return found.overhead_s, found.prompt_s, found.weights_s, found.share_s


def _full(gram: tuple[float, ...]) -> list[list[float]]:
    """Return the symmetric matrix of its upper half."""
    made = [[0.0] * _SIZE for _ in range(_SIZE)]
    values = iter(gram)
    for i in range(_SIZE):
        for j in range(i, _SIZE):
            made[i][j] = made[j][i] = next(values)
    return made
