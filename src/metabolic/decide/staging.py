"""Stages with the time that each should take."""

__all__ = ["timed"]

from msgspec.structs import replace

from metabolic.core.decision import Candidate, Stage


def timed(stages: tuple[Stage, ...], candidates: tuple[Candidate, ...]) -> tuple[Stage, ...]:
    """Return the stages with the time each should take: queue, waking and answer."""
    known = {
        one.deployment: one.estimate.ttft_s + one.estimate.tpot_s * one.estimate.output_tokens
        for one in candidates
        if one.estimate is not None
        and one.estimate.ttft_s is not None
        and one.estimate.tpot_s is not None
    }
    return tuple(replace(one, expected_s=known.get(one.deployment)) for one in stages)
