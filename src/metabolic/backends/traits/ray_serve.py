"""Ray Serve LLM: a pool that balances its replicas itself."""

__all__ = ["TRAITS"]

from metabolic.core.engine import EngineTraits, SpeculationControl

TRAITS = EngineTraits(
    name="ray-serve",
    title="Ray Serve LLM",
    thinking="template",
    capabilities=("chat", "completions", "json", "json_schema", "tools"),
    speculation=SpeculationControl(granularity="none"),
    cached_tokens="what the engine behind it says",
    busy="429 or 503, as it sheds",
    pool=True,
    quirks=("its router prefers replicas with the prefix: no replica is picked here",),
)
"""Source: Ray Serve LLM, its documentation on routing."""
