"""P(correct): a prior by model size and complexity, moved by the evidence of lane and query.

The prior is a logistic curve in log10 of active parameters, one for each complexity. It is ours,
coarse on purpose, and outweighed by ``PRIOR_ROWS`` labelled outcomes. That a kept draft is better
than any other is believed on evidence only: without labelled rows P(correct | accepted) is
P(correct), so a gate that nobody has tested gives up quality and is seldom allowed. What learned
heads say of this query moves the odds of all three, by size; a head of the deployment's own takes
the belief's place, with less evidence the less familiar the query is. A variant is believed to be
what its deployment is, shifted, until it has evidence of its own.
"""

__all__ = ["PRIOR_ROWS", "judged", "size_prior"]

from math import exp, log10

from metabolic.account.work import parameters_of
from metabolic.core.fleet import Model, Variant
from metabolic.decide.prepared import Known, View
from metabolic.decide.variants import believed

PRIOR_ROWS = 20
"""How many labelled outcomes the size prior is worth."""

_CURVES = ((1.4, 1.1), (0.2, 1.3), (-1.2, 1.3))
"""Intercept at 1e9 parameters and slope per decade, for simple, medium and complex queries."""


def size_prior(model: Model) -> tuple[float, float, float]:
    """Return the prior P(correct) of a model on simple, medium and complex queries."""
    decades = log10(parameters_of(model) / 1e9)
    simple, medium, complex_ = (1 / (1 + exp(-(a + b * decades))) for a, b in _CURVES)
    return simple, medium, complex_


def judged(seen: View, known: Known) -> tuple[float, float, float, int]:
    """Return the quality, its odds moved by what learned heads say of models of this size."""
    if known.variant is not None and known.base is not None:
        return _varied(seen, known, known.variant, known.base)
    *ps, rows = _quality(seen, known)
    if not seen.signals.odds_ratio or known.name in seen.learned:
        return ps[0], ps[1], ps[2], rows
    ratio = seen.signals.odds_ratio[known.size]
    p_correct, p_accept, p_kept = [ratio * p / (1 - p + ratio * p) for p in ps]
    return p_correct, p_accept, p_kept, rows


def _quality(seen: View, known: Known) -> tuple[float, float, float, int]:
    """Return P(correct), P(accept), P(correct | accepted) and the rows behind them."""
    signals = seen.signals
    simple, medium, complex_ = known.priors
    prior = signals.p_simple * simple + signals.p_medium * medium + signals.p_complex * complex_
    belief = known.beliefs.get(signals.lane) or known.beliefs.get("*")
    if belief is None:
        p, rows = seen.learned.get(known.name, (prior, 0))
        p_correct = (rows * p + PRIOR_ROWS * prior) / (rows + PRIOR_ROWS)
        return p_correct, p_correct, p_correct, rows
    p, rows = seen.learned.get(known.name, (belief.p_correct, belief.evidence))
    p_correct = (rows * p + PRIOR_ROWS * prior) / (rows + PRIOR_ROWS)
    p_kept = p_correct
    if belief.p_correct_accepted is not None:
        total = belief.evidence + PRIOR_ROWS
        p_kept = (belief.evidence * belief.p_correct_accepted + PRIOR_ROWS * p_kept) / total
    p_accept = p_correct if belief.p_accept is None else belief.p_accept
    return p_correct, p_accept, p_kept, rows


def _varied(
    seen: View, known: Known, variant: Variant, base: Known
) -> tuple[float, float, float, int]:
    """Return the quality of a variant: its deployment's, shifted, until it has rows of its own."""
    p = believed(variant, judged(seen, base)[0], tokens=seen.output_tokens)
    belief = known.beliefs.get(seen.signals.lane) or known.beliefs.get("*")
    own, rows = (p, 0) if belief is None else (belief.p_correct, belief.evidence)
    own, rows = seen.learned.get(known.name, (own, rows))
    p = (rows * own + PRIOR_ROWS * p) / (rows + PRIOR_ROWS)
    return p, p, p, rows
