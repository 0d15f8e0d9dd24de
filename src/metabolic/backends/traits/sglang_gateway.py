"""SGLang gateway: a pool that balances its replicas itself."""

__all__ = ["TRAITS"]

from metabolic.core.engine import EngineTraits, SpeculationControl

TRAITS = EngineTraits(
    name="sglang-gateway",
    title="SGLang gateway",
    thinking="template",
    capabilities=("chat", "completions", "json", "json_schema", "tools"),
    speculation=SpeculationControl(granularity="none"),
    cached_tokens="what the engine behind it says",
    busy="429 or 503, as it sheds",
    pool=True,
    quirks=("its cache-aware policy keeps a radix tree of prefixes: no replica is picked here",),
)
"""Source: SGLang gateway, its documentation on routing."""
