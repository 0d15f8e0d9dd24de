"""NVIDIA Dynamo: a pool that balances its replicas itself."""

__all__ = ["TRAITS"]

from metabolic.core.engine import EngineTraits, SpeculationControl

TRAITS = EngineTraits(
    name="dynamo",
    title="NVIDIA Dynamo",
    thinking="template",
    capabilities=("chat", "completions", "json", "json_schema", "tools"),
    speculation=SpeculationControl(granularity="none"),
    cached_tokens="what the engine behind it says",
    busy="429 or 503, as it sheds",
    pool=True,
    quirks=("its KV router weighs overlap and active blocks: no replica is picked here",),
)
"""Source: NVIDIA Dynamo, its documentation on routing."""
