"""llama-swap: one address that starts and swaps other servers by model name."""

__all__ = ["TRAITS"]

from metabolic.core.engine import EngineTraits, SpeculationControl

TRAITS = EngineTraits(
    name="llama-swap",
    title="llama-swap",
    thinking="template",
    capabilities=("chat", "completions", "embeddings", "json", "json_schema", "logprobs", "tools"),
    state_path="/running",
    speculation=SpeculationControl(granularity="startup", methods=("two models of one file",)),
    cached_tokens="what the server behind it says",
    busy="429 when too many wait for one model",
    quirks=(
        "the first request for a model waits until its server is up: allow for it",
        "/unload stops every server; /upstream/MODEL/… reaches one",
    ),
)
"""Source: llama-swap, README and docs/configuration.md."""
