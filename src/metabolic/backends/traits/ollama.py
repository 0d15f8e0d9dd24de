"""Ollama, through its OpenAI endpoint."""

__all__ = ["TRAITS"]

from metabolic.core.engine import EngineTraits, SpeculationControl

TRAITS = EngineTraits(
    name="ollama",
    title="Ollama",
    health="/api/version",
    capabilities=("chat", "completions", "embeddings", "json", "json_schema", "tools"),
    readings="ps",
    state_path="/api/ps",
    speculation=SpeculationControl(granularity="startup", methods=("DRAFT",)),
    output_limit="max_tokens",
    cached_tokens=None,
    busy="503 when its queue is full (OLLAMA_MAX_QUEUE)",
    continues=(),
    quirks=(
        "it goes on from a last assistant message, if the template leaves that open",
        "the context is the model's or OLLAMA_CONTEXT_LENGTH; longer prompts are cut silently",
        "a draft belongs to a tag: with and without are two tags",
        "/api/ps tells too little memory for models with a draft",
        "a model that is not pulled is a 404",
    ),
)
"""Source: Ollama, docs/openai.md, docs/api.md and docs/modelfile.md."""
