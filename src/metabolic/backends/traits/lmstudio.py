"""LM Studio's local server."""

__all__ = ["TRAITS"]

from metabolic.core.engine import EngineTraits, SpeculationControl

TRAITS = EngineTraits(
    name="lmstudio",
    title="LM Studio",
    health=None,
    capabilities=("chat", "completions", "embeddings", "json_schema", "tools"),
    logprobs=False,
    state_path="/api/v0/models",
    speculation=SpeculationControl(
        granularity="request",
        methods=("draft_model",),
        field="draft_model",
        off="null",
        per_request="stats.accepted_draft_tokens_count",
    ),
    output_limit="max_tokens",
    cached_tokens=None,
    busy="it queues",
    quirks=(
        "response_format json_object is refused: ask for a json_schema",
        "a model is loaded by the first request that names it, and unloaded after its TTL",
        "any path it does not know is answered 200 with an error: only /v1/models tells",
    ),
)
"""Source: LM Studio, docs, "OpenAI compatibility", "REST API" and "Speculative decoding"."""
