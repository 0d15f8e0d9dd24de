"""What a model's name says of its size, for tables of outcomes that give names only.

Sizes written in a name are read; of closed models, whose sizes are not published, a tier is
assumed by how their makers place them. Assumptions, not facts: they only group outcomes.
"""

__all__ = ["active_parameters", "tier_of"]

import re

from metabolic.core.fleet import Tier

_SIZE = re.compile(r"(?<![a-z\d.])(?:(\d+)x)?(\d+(?:\.\d+)?)b(?![a-z\d])")
_ACTIVE = re.compile(r"-a(\d+(?:\.\d+)?)b\b")
_EXPERTS_USED = 2
"""Of a mixture "8x7B" two experts work on each token. Source: Mixtral of Experts, 2401.04088."""

_CLOSED: tuple[tuple[str, float], ...] = (
    ("gpt-4o-mini", 8e9),
    ("o1-mini", 15e9),
    ("gpt-3.5", 15e9),
    ("gpt35", 15e9),
    ("haiku", 15e9),
    ("instant", 15e9),
    ("flash", 15e9),
    ("mistral-nemo", 12e9),
    ("mistral-small", 22e9),
    ("phi-3", 3.8e9),
    ("phi-2", 2.7e9),
    ("command-r-plus", 104e9),
    ("command-r", 35e9),
    ("deepseek", 21e9),
    ("mistral-large", 123e9),
    ("dbrx", 36e9),
    ("openai/ada", 0.35e9),
    ("openai/babbage", 1.3e9),
    ("openai/curie", 6.7e9),
    ("openai/davinci", 175e9),
    ("gpt-4", 100e9),
    ("gpt4", 100e9),
    ("o1-", 100e9),
    ("claude", 100e9),
    ("gemini", 100e9),
    ("grok", 100e9),
    ("yi-large", 100e9),
    ("reka-core", 67e9),
)
"""Beginning or part of a name → active parameters assumed; the first that fits."""


def active_parameters(name: str) -> float | None:
    """Return the active parameters a model's name tells or suggests; ``None`` if neither.

    >>> active_parameters("mistralai/Mixtral-8x7B-Instruct-v0.1")
    14000000000.0
    """
    low = name.lower()
    active = _ACTIVE.search(low)
    if active is not None:
        return float(active[1]) * 1e9
    found = _SIZE.search(low)
    if found is not None:
        return float(found[2]) * 1e9 * (_EXPERTS_USED if found[1] else 1)
    return next((size for part, size in _CLOSED if part in low), None)


def tier_of(name: str) -> Tier | None:
    """Return the tier of a model by its name; ``None`` when the name says nothing."""
    size = active_parameters(name)
    if size is None:
        return None
    if size < 1e9:  # noqa: PLR2004 - the bounds of core.fleet.Tier
        return "tiny"
    if size < 7e9:  # noqa: PLR2004 - as above
        return "small"
    return "medium" if size < 20e9 else "large"  # noqa: PLR2004 - as above
