"""Anthropic's Messages API: another dialect, with a backend of its own."""

__all__ = ["TRAITS"]

from metabolic.core.engine import EngineTraits

TRAITS = EngineTraits(
    name="anthropic",
    title="Anthropic Messages",
    backend="anthropic",
    paths=(("chat", "/messages"),),
    auth="x-api-key",
    headers=(("anthropic-version", "2023-06-01"),),
    health=None,
    capabilities=("chat", "json_schema", "reasoning", "tools", "vision"),
    logprobs=False,
    output_limit="max_tokens",
    cached_tokens="usage.cache_read_input_tokens (and cache_creation_input_tokens)",
    busy="429 with retry-after; 529 overloaded_error",
    proven="client",
    continues=(),
    quirks=(
        "it goes on from a last assistant message; models from 4.6 on refuse that (400)",
        "input_tokens leaves cached tokens out: they are added",
        "max_tokens is required: 4096 is asked where the client says nothing",
        "n, seed, logprobs and penalties do not exist there",
    ),
)
"""Source: Anthropic API reference, "Messages", "Streaming messages", "Errors"."""
