"""``[deployment.cache]``: what the key-value cache of an engine holds, where it does not say so."""

__all__ = ["CacheTable"]

from typing import Annotated, Literal

from msgspec import Meta, Struct

from metabolic.decide.capacity import CACHE_BYTES, Cache, Shape

_Count = Annotated[int, Meta(ge=1)]
_NotNegative = Annotated[int, Meta(ge=0)]


class CacheTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[deployment.cache]``: without it, a cache holds as many tokens as the engine says.

    ``tokens`` or ``memory_bytes`` is what there is; the other keys are the model's shape, as its
    ``config.json`` has them: ``layers`` that attend to everything, ``window_layers`` that attend
    to the last ``window_tokens``, ``latent_dim`` for latent attention (with its rotary part),
    ``state_bytes`` that each answer takes whatever its length. ``number`` is what a cached number
    is kept as, ``block_tokens`` what is allotted at once.
    """

    tokens: _Count | None = None
    memory_bytes: _Count | None = None
    layers: _NotNegative = 0
    kv_heads: _NotNegative = 0
    head_dim: _NotNegative = 0
    latent_dim: _Count | None = None
    window_layers: _NotNegative = 0
    window_tokens: _NotNegative = 0
    state_bytes: _NotNegative = 0
    number: Literal["f32", "f16", "bf16", "fp8", "q8_0", "q4_0"] = "f16"
    block_tokens: _Count = 16

    def shape(self) -> Shape | None:
        """Return the model's shape; ``None`` where nothing of it is given."""
        if not (self.layers or self.window_layers or self.state_bytes):
            return None
        return Shape(
            layers=self.layers,
            kv_heads=self.kv_heads,
            head_dim=self.head_dim,
            latent_dim=self.latent_dim,
            window_layers=self.window_layers,
            window_tokens=self.window_tokens,
            state_bytes=self.state_bytes,
        )

    def cache(self) -> Cache:
        """Return it as admission counts it."""
        return Cache(
            shape=self.shape(),
            number_bytes=CACHE_BYTES[self.number],
            block=self.block_tokens,
            tokens=self.tokens,
            memory_bytes=self.memory_bytes,
        )
