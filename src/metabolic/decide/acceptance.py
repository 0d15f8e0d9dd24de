"""What drafting is worth, learned from what engines report: accepted tokens, and their cost.

Theory. A step of the model verifies what was drafted and always writes one token more, so an
answer of ``n`` tokens with ``A`` accepted took ``n - A`` steps. With ``a`` accepted and ``d``
drafted tokens a step, and a drafted token costing ``r`` plain steps (verifying and drafting it),

    speed-up S = (1 + a) / (1 + r d)

which needs no assumption on how acceptance falls with the position: where a draft model always
drafts ``g`` tokens, ``a`` is the sum of the survivals ``s_1 .. s_g``, ``1 + a`` is the tau and
``1 + r d`` the ``V + D`` of the literature. How sure ``a`` is comes from the chance ``alpha`` that
a drafted token is right: a draft ends at its first error, so ``alpha`` is estimated from a
geometric distribution cut off at the draft's length, ``A / (A + D - F)`` with ``D`` drafts of which
``F`` were kept whole, and never by accepted over drafted, which is biased low. Its posterior is a
Beta, discounted by every answer. What a kind of answer lacks in evidence, its parents lend.

Source: Leviathan et al. 2023, Fast inference from transformers via speculative decoding
(arXiv:2211.17192), for tau and its use; Chen et al. 2023 (arXiv:2302.01318).
"""

__all__ = [
    "FORGET",
    "Acceptance",
    "StepCost",
    "alpha_of",
    "bounds",
    "context_of",
    "lent",
    "observe",
    "observe_cost",
    "prior",
    "tau",
    "temperature_of",
    "token_cost",
]

from collections.abc import Sequence

from msgspec import Struct

from metabolic.core.speculation import Drafts

FORGET = 0.98
"""What an older answer counts beside the next one."""

_LENT_STEPS = 24.0
"""How many steps of evidence a parent lends to a kind of answer, at most."""

_Z = 1.2816
"""One in ten lies below the lower bound, one in ten above the upper."""

_LEAST_STEPS = 1.0
_SOLVE = 40
_PULL = 0.01

_ALPHA: dict[str, float] = {
    "code_generation": 0.8,
    "rewrite": 0.7,
    "extraction": 0.7,
    "closed_qa": 0.6,
    "classification": 0.6,
    "open_qa": 0.6,
    "chatbot": 0.6,
    "other": 0.55,
    "text_generation": 0.35,
    "brainstorming": 0.35,
    "summarization": 0.3,
}
"""Prior chance that a draft model's token is right, by task. Guesses, worth ``_LENT_STEPS`` steps;
ordered as measured speed-ups of code, chat, prose and long summaries are in public issue threads
(llama.cpp #23052, vLLM #52258)."""

_COPIES: dict[str, float] = {
    "code_generation": 0.15,
    "rewrite": 0.3,
    "extraction": 0.05,
    "closed_qa": 0.05,
}
"""Prior tokens a step that a look into the text so far finds right. Guesses, as above."""

_FEW_COPIES = 0.01

_GREEDY, _HOT = 0.05, 0.95
_SHORT_TOKENS, _LONG_TOKENS = 1024, 8192


class Acceptance(Struct, frozen=True, array_like=True, gc=False):
    """What drafting did for one kind of answer: discounted sums over answers.

    A step of the model writes one token and those it accepts; ``drafts`` is on how many steps
    something was drafted, ``full`` of how many drafts every token was kept.
    """

    steps: float = 0.0
    drafted_tokens: float = 0.0
    accepted_tokens: float = 0.0
    drafts: float = 0.0
    full: float = 0.0


class StepCost(Struct, frozen=True, array_like=True, gc=False):
    """Discounted sums of a regression of seconds on steps (``x``) and drafted tokens (``y``)."""

    sxx: float = 0.0
    sxy: float = 0.0
    syy: float = 0.0
    sxz: float = 0.0
    syz: float = 0.0
    sx: float = 0.0
    sy: float = 0.0
    sz: float = 0.0


def tau(alpha: float, tokens: int) -> float:
    """Return the tokens a step writes when each of ``tokens`` drafted is right with ``alpha``.

    Source: Leviathan et al. 2023, equation 1.

    >>> tau(0.5, 2)
    1.75
    """
    return 1.0 + sum(alpha**position for position in range(1, tokens + 1))


def alpha_of(accepted_per_draft: float, tokens: int) -> float:
    """Return the chance at which drafts of ``tokens`` have so many accepted on average."""
    low, high = 0.0, 1.0
    for _ in range(_SOLVE):
        middle = (low + high) / 2
        if tau(middle, tokens) - 1.0 < accepted_per_draft:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def observe(
    known: Acceptance, drafts: Drafts, *, output_tokens: int, method: str, tokens: int
) -> Acceptance:
    """Return the sums with one more answer.

    ``tokens`` is the most a draft holds. Where the engine does not say how often it drafted, a
    model is taken to draft at every step, and a look-up as seldom as its drafts can explain.
    """
    steps = max(_LEAST_STEPS, float(output_tokens - drafts.accepted_tokens))
    drafted, accepted = float(drafts.drafted_tokens), float(drafts.accepted_tokens)
    least = drafted / max(1, tokens)
    made = float(drafts.drafts) if drafts.drafts is not None else least
    if drafts.drafts is None and method != "ngram" and drafted:
        made = max(least, min(steps, drafted))
    per_draft = drafted / made if made else 0.0
    full = max(0.0, made - (drafted - accepted)) if per_draft <= 1.0 else 0.0
    if made and per_draft > 1.0:
        alpha = alpha_of(accepted / made, round(per_draft))
        full = made * alpha ** round(per_draft)
    return Acceptance(
        steps=FORGET * known.steps + steps,
        drafted_tokens=FORGET * known.drafted_tokens + drafted,
        accepted_tokens=FORGET * known.accepted_tokens + accepted,
        drafts=FORGET * known.drafts + made,
        full=FORGET * known.full + full,
    )


def prior(task: str, *, method: str, tokens: int) -> Acceptance:
    """Return what is believed before any answer was seen, as sums worth a few steps."""
    if method == "ngram":
        accepted = _COPIES.get(task, _FEW_COPIES)
        drafted = 1.2 * accepted
        drafts, full = drafted / max(1, tokens), 0.0
    else:
        alpha = _ALPHA.get(task, _ALPHA["other"])
        accepted, drafted = tau(alpha, tokens) - 1.0, float(tokens)
        drafts, full = 1.0, alpha**tokens
    steps = _LENT_STEPS
    return Acceptance(steps, steps * drafted, steps * accepted, steps * drafts, steps * full)


def lent(kinds: Sequence[Acceptance], first: Acceptance) -> Acceptance:
    """Return the narrowest kind's sums with what its parents lend; ``first`` is the prior.

    ``kinds`` are from the widest to the narrowest. Each adds to what it inherits, which counts for
    ``_LENT_STEPS`` steps at most.
    """
    made = first
    for own in kinds:
        share = min(1.0, _LENT_STEPS / made.steps) if made.steps else 0.0
        made = Acceptance(
            steps=own.steps + share * made.steps,
            drafted_tokens=own.drafted_tokens + share * made.drafted_tokens,
            accepted_tokens=own.accepted_tokens + share * made.accepted_tokens,
            drafts=own.drafts + share * made.drafts,
            full=own.full + share * made.full,
        )
    return made


def bounds(known: Acceptance) -> tuple[float, float, float]:
    """Return accepted tokens a step: probable least, mean and probable most (10 % beyond each).

    The spread is that of ``alpha``: a Beta of the tokens that were right and of the drafts that
    ended in an error, which is its likelihood where drafts are cut off (and Jeffreys' prior).
    """
    steps = max(_LEAST_STEPS, known.steps)
    mean = known.accepted_tokens / steps
    failed = max(0.0, known.drafts - known.full)
    trials = known.accepted_tokens + failed
    if trials <= 0.0 or known.drafts <= 0.0:
        return 0.0, mean, mean
    a, b = known.accepted_tokens + 0.5, failed + 0.5
    alpha = a / (a + b)
    spread = _Z * (a * b / ((a + b) ** 2 * (a + b + 1.0))) ** 0.5
    tokens = max(1, round(known.drafted_tokens / known.drafts))
    centre = tau(alpha, tokens) - 1.0
    low = tau(max(0.0, alpha - spread), tokens) - 1.0
    high = tau(min(1.0, alpha + spread), tokens) - 1.0
    return mean * low / centre, mean, min(mean * high / centre, known.drafted_tokens / steps)


def observe_cost(
    known: StepCost, *, seconds: float, steps: float, drafted_tokens: float
) -> StepCost:
    """Return the sums of the cost of a step with one more answer; an empty one teaches nothing."""
    if seconds <= 0.0 or steps <= 0.0:
        return known
    x, y = steps, drafted_tokens
    new = (x * x, x * y, y * y, x * seconds, y * seconds, x, y, seconds)
    old = (known.sxx, known.sxy, known.syy, known.sxz, known.syz, known.sx, known.sy, known.sz)
    return StepCost(*[FORGET * one + other for one, other in zip(old, new, strict=True)])


def token_cost(known: StepCost, believed: float) -> float | None:
    """Return what a drafted token costs in plain steps; ``None`` before anything was drafted.

    Least squares of seconds on steps and drafted tokens, pulled a little towards ``believed``, so
    that answers which all drafted alike, and cannot tell the two apart, leave that as it was.
    """
    if known.sy <= 0.0 or known.sz <= 0.0:
        return None
    step_s = known.sz / (known.sx + believed * known.sy)
    pull_x, pull_y = _PULL * known.sxx, _PULL * known.syy
    xx, yy = known.sxx + pull_x, known.syy + pull_y
    x = known.sxz + pull_x * step_s
    y = known.syz + pull_y * step_s * believed
    determinant = xx * yy - known.sxy * known.sxy
    a, b = (x * yy - y * known.sxy) / determinant, (y * xx - x * known.sxy) / determinant
    return max(0.0, b / a) if a > 0.0 else believed


def temperature_of(temperature: float | None) -> str:
    """Return the kind of a sampling temperature; ``None`` is the engine's own.

    >>> temperature_of(0.0), temperature_of(None), temperature_of(1.2)
    ('greedy', 'warm', 'hot')
    """
    if temperature is None:
        return "warm"
    return "greedy" if temperature <= _GREEDY else "warm" if temperature < _HOT else "hot"


def context_of(input_tokens: int) -> str:
    """Return the kind of a context.

    >>> context_of(200), context_of(4000), context_of(30_000)
    ('short', 'medium', 'long')
    """
    if input_tokens < _SHORT_TOKENS:
        return "short"
    return "medium" if input_tokens < _LONG_TOKENS else "long"
