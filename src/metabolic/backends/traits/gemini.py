"""Gemini, through Google's OpenAI endpoint."""

__all__ = ["TRAITS"]

from metabolic.core.engine import EngineTraits

TRAITS = EngineTraits(
    name="gemini",
    title="Gemini (OpenAI endpoint)",
    health=None,
    capabilities=("chat", "embeddings", "json", "json_schema", "reasoning", "tools", "vision"),
    logprobs=False,
    drops=("logit_bias", "logprobs", "seed", "top_k", "top_logprobs", "user"),
    busy="429 RESOURCE_EXHAUSTED, often without Retry-After",
    quirks=(
        "the base_url is https://generativelanguage.googleapis.com/v1beta/openai",
        "errors may come as a list of one envelope",
        "tool calls may come without an index, whole in one chunk",
    ),
)
"""Source: Google, Gemini API, "OpenAI compatibility"."""
