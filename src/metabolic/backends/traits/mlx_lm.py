"""mlx-lm's server, on Apple silicon."""

__all__ = ["TRAITS"]

from metabolic.core.engine import EngineTraits, SpeculationControl

TRAITS = EngineTraits(
    name="mlx-lm",
    title="mlx-lm",
    thinking="template",
    capabilities=("chat", "completions", "tools"),
    speculation=SpeculationControl(
        granularity="request",
        methods=("draft_model",),
        field="num_draft_tokens",
        off="0",
    ),
    cached_tokens="usage.prompt_tokens_details.cached_tokens",
    busy="it queues",
    quirks=(
        "a loaded draft model makes it answer one request at a time",
        "another draft_model in a request loads it anew",
        "response_format is not held to",
    ),
)
"""Source: mlx-lm 0.32.2, server.py."""
