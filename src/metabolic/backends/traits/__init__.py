"""What differs between engines and APIs, one small file each, imported only when it is named."""

__all__ = ["NAMES", "find"]

import importlib

from metabolic.core.engine import EngineTraits
from metabolic.core.errors import ConfigError

NAMES = (
    "anthropic",
    "azure",
    "dynamo",
    "gemini",
    "llama-swap",
    "llamacpp",
    "llm-d",
    "lmstudio",
    "mlx-lm",
    "ollama",
    "openai",
    "ray-serve",
    "sglang",
    "sglang-gateway",
    "tensorrt-llm",
    "tgi",
    "vllm",
)
"""Every engine there is a file for; ``openai`` is what anything unnamed is taken for."""


def find(name: str) -> EngineTraits:
    """Return the traits of an engine.

    Raises:
        ConfigError: there is no such engine; the message lists those there are.
    """
    if name not in NAMES:
        message = f"unknown engine {name!r}; known are {', '.join(NAMES)}"
        raise ConfigError(message)
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    found = module.TRAITS
    assert isinstance(found, EngineTraits)
    return found
