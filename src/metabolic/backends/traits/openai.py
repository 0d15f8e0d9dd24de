"""OpenAI's API, and everything compatible that needs no word of its own."""

__all__ = ["TRAITS"]

from metabolic.core.engine import EngineTraits

TRAITS = EngineTraits(
    name="openai",
    title="OpenAI and compatible APIs",
    capabilities=(
        "chat",
        "completions",
        "embeddings",
        "json",
        "json_schema",
        "tools",
        "vision",
    ),
    busy="429 with Retry-After or retry-after-ms; 503",
    proven="client",
    quirks=("reasoning models take max_completion_tokens only; it passes through as asked",),
)
"""Source: OpenAI API reference, chat completions, rate limits and error codes."""
