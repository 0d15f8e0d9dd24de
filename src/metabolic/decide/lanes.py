"""Which lane a query is on: what evidence is kept by, coarse enough to fill, stable in name.

A lane is the task type, what the answer needs most, and how hard the query looks; its parents
leave out the last parts, and ``*`` is every query. A table of evidence looks a lane up first and
shrinks it to its parents.
"""

__all__ = ["EVERY", "lane_of"]

from metabolic.core.signals import Signals

EVERY = "*"
"""The lane of every query: the last parent."""

_NEEDS = ("code", "math", "context")
"""In this order: a query that needs several is filed under the first."""


def lane_of(signals: Signals) -> tuple[str, ...]:
    """Return a query's lane and its parents, the narrowest first.

    >>> lane_of(Signals(task="open_qa", hints=("math",), p_simple=0.7, p_complex=0.1))
    ('open_qa/math/simple', 'open_qa/math', 'open_qa', '*')
    """
    need = next((one for one in _NEEDS if one in signals.hints), "plain")
    level = "medium"
    if signals.p_simple > max(signals.p_medium, signals.p_complex):
        level = "simple"
    elif signals.p_complex > max(signals.p_simple, signals.p_medium):
        level = "complex"
    family = f"{signals.task}/{need}"
    return f"{family}/{level}", family, signals.task, EVERY
