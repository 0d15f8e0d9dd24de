"""Variants of a deployment: the same weights at another effort or output budget, as candidates.

A variant competes like a deployment of its own, named ``deployment:variant``. It shares the prompt
cache of its deployment, so moving between variants loses nothing. What is known of it is its own
(beliefs and lanes keep it apart); what is not is its deployment's, shifted by what the variant
says: less thinking is believed to be worse, more thinking not to be better, until evidence says
otherwise.

The shifts are coarse on purpose, and ours: a step of effort halves or doubles what is written, and
no thinking costs the odds of a good answer a third. ``PRIOR_ROWS`` labelled answers outweigh them,
and ``output_ratio`` in the configuration replaces them.
"""

__all__ = ["at_variants", "believed", "foreseen", "key_of", "keys_of", "pinnable", "refusal"]

from collections.abc import Iterable, Mapping
from math import exp

from msgspec.structs import replace

from metabolic.core.decision import Stage
from metabolic.core.fleet import Deployment, Variant
from metabolic.core.request import Ask

_EFFORTS: dict[str, tuple[float, float]] = {
    "none": (0.25, -0.4),
    "minimal": (0.35, -0.3),
    "low": (0.5, -0.2),
    "medium": (1.0, 0.0),
    "high": (2.0, 0.0),
    "xhigh": (4.0, 0.0),
}
"""Effort → output over that of medium, and the shift of the log-odds of a good answer."""

_PLAIN = 1.0, 0.0
_LEAST_ROOM = 256
"""Tokens an answer needs besides its thinking."""


def key_of(deployment: str, variant: str | None) -> str:
    """Return the name under which a variant competes.

    >>> key_of("m", "low"), key_of("m", None)
    ('m:low', 'm')
    """
    return deployment if variant is None else f"{deployment}:{variant}"


def keys_of(deployments: Iterable[Deployment]) -> dict[str, tuple[str, str]]:
    """Return deployment and variant by the name of every variant; empty where there are none."""
    return {
        key_of(one.name, variant.name): (one.name, variant.name)
        for one in deployments
        for variant in one.variants
    }


def pinnable(deployments: Iterable[Deployment]) -> tuple[str, ...]:
    """Return all names a client may pin: deployments, each with its variants."""
    return tuple(
        [
            name
            for one in deployments
            for name in (one.name, *[key_of(one.name, each.name) for each in one.variants])
        ]
    )


def at_variants(
    stages: tuple[Stage, ...], names: Mapping[str, tuple[str, str]]
) -> tuple[Stage, ...]:
    """Return stages that name deployments and variants instead of keys."""
    return tuple(
        [
            replace(one, deployment=found[0], variant=found[1])
            if (found := names.get(one.deployment)) is not None
            else one
            for one in stages
        ]
    )


def foreseen(variant: Variant, tokens: int, learned: float | None) -> int:
    """Return the output tokens to expect; ``tokens`` are the deployment's own.

    ``learned`` is the ratio to these that its answers have shown (``None``: too few).
    """
    ratio = learned if learned is not None else variant.output_ratio or _effect(variant)[0]
    most = variant.max_output_tokens
    expected = max(1, round(tokens * ratio))
    return expected if most is None else min(expected, most)


def believed(variant: Variant, p: float, *, tokens: int) -> float:
    """Return the P(correct) of a variant nobody has tried, from its deployment's.

    An answer that will probably not fit in the output budget is good only as often as it fits.
    """
    shift = _effect(variant)[1]
    if shift:
        odds = p / max(1e-9, 1 - p) * exp(shift)
        p = odds / (1 + odds)
    most = variant.max_output_tokens
    return p if most is None or most >= tokens else p * most / tokens


def _effect(variant: Variant) -> tuple[float, float]:
    """Return what a variant's effort does to output and log-odds."""
    if variant.thinking is False:
        return _EFFORTS["none"]
    return _EFFORTS.get(variant.reasoning_effort or "", _PLAIN)


def refusal(variant: Variant, ask: Ask) -> str | None:
    """Return why a variant cannot answer a request that its deployment can; ``None``: it can."""
    if ask.dialect != "chat":
        return f"variants are for chat, not {ask.dialect}"
    thinks = variant.reasoning_effort is not None or variant.thinking is not None
    if ask.own_effort and (thinks or variant.thinking_tokens is not None):
        return "the client chose the effort itself"
    budget, most = variant.thinking_tokens, ask.max_output_tokens
    if budget is not None and most is not None and most < budget + _LEAST_ROOM:
        return f"thinks up to {budget} tokens, and the client allows {most}"
    return None
