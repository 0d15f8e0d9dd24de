"""Azure OpenAI: the same dialect at another path, with another header for the key."""

__all__ = ["TRAITS"]

from metabolic.core.engine import EngineTraits

TRAITS = EngineTraits(
    name="azure",
    title="Azure OpenAI",
    paths=(
        ("chat", "/openai/deployments/{model}/chat/completions"),
        ("completions", "/openai/deployments/{model}/completions"),
        ("embeddings", "/openai/deployments/{model}/embeddings"),
        ("models", "/openai/models"),
    ),
    origin_paths=True,
    api_version="2024-10-21",
    auth="api-key",
    health=None,
    drops=("top_k",),
    capabilities=(
        "chat",
        "completions",
        "embeddings",
        "json",
        "json_schema",
        "logprobs",
        "tools",
        "vision",
    ),
    busy="429 with retry-after or retry-after-ms",
    proven="client",
    quirks=(
        "with a base_url that ends in /openai/v1 the newer paths without a version are taken",
        "content_filter_results come along, and a first chunk without choices",
        "the model's name is the deployment's in Azure",
    ),
)
"""Source: Azure OpenAI REST API reference, 2024-10-21 (GA) and v1."""
