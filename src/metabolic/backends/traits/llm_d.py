"""llm-d: a pool that balances its replicas itself."""

__all__ = ["TRAITS"]

from metabolic.core.engine import EngineTraits, SpeculationControl

TRAITS = EngineTraits(
    name="llm-d",
    title="llm-d",
    thinking="template",
    capabilities=("chat", "completions", "json", "json_schema", "tools"),
    speculation=SpeculationControl(granularity="none"),
    cached_tokens="what the engine behind it says",
    busy="429 or 503, as it sheds",
    pool=True,
    quirks=("its endpoint picker weighs queue, KV cache and prefix: no replica is picked here",),
)
"""Source: llm-d, its documentation on routing."""
