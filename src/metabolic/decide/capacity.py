"""What a model takes in memory: bytes per token of cache, paged blocks, weights, and what fits.

Only tokens in the cache matter, however they are spread over answers: one of 128k takes what 32 of
4k take. Source of the formulas: Shazeer 2019 (MQA), Ainslie et al. 2023 (GQA), DeepSeek-V2 2024
(MLA), Kwon et al. 2023 (paged blocks); checked against the published sizes of Llama 3, DeepSeek V3
and Qwen3.
"""

__all__ = [
    "CACHE_BYTES",
    "WEIGHT_BYTES",
    "Cache",
    "Shape",
    "answers_that_fit",
    "cache_bytes",
    "fragmentation_ratio",
    "holds",
    "need",
    "step_s",
    "token_bytes",
    "weight_bytes",
    "weights_read_ratio",
]

from math import ceil

from msgspec import Struct

CACHE_BYTES = {"f32": 4.0, "f16": 2.0, "bf16": 2.0, "fp8": 1.0, "q8_0": 1.0625, "q4_0": 0.5625}
"""Bytes of one cached number. Source: ggml's blocks of 32 numbers and a scale of two bytes."""

WEIGHT_BYTES = {
    "f32": 4.0,
    "f16": 2.0,
    "bf16": 2.0,
    "fp8": 1.0,
    "q8_0": 1.0625,
    "q6_k": 0.8203,
    "q5_k_m": 0.7109,
    "q4_k_m": 0.6055,
    "q4_0": 0.5625,
    "mxfp4": 0.53125,
}
"""Bytes of one weight. Source: ggml's block layouts; OCP microscaling formats 1.0."""


class Shape(Struct, frozen=True, kw_only=True):
    """What the cache of a model depends on.

    ``layers`` attend to all that came before, ``window_layers`` to the last ``window_tokens``;
    layers of neither kind (hybrids, state spaces) keep ``state_bytes`` for each answer whatever
    its length. ``latent_dim`` is MLA's compressed vector with its rotary part: one a layer,
    instead of keys and values.
    """

    layers: int
    kv_heads: int = 0
    head_dim: int = 0
    latent_dim: int | None = None
    window_layers: int = 0
    window_tokens: int = 0
    state_bytes: int = 0


def _layer_bytes(shape: Shape, number_bytes: float) -> float:
    """Return the bytes of one token in one layer."""
    if shape.latent_dim is not None:
        return shape.latent_dim * number_bytes
    return 2 * shape.kv_heads * shape.head_dim * number_bytes


def token_bytes(shape: Shape, *, number_bytes: float = 2.0) -> float:
    """Return the bytes a further token takes in the layers that attend to everything.

    >>> token_bytes(Shape(layers=80, kv_heads=8, head_dim=128)) / 1024
    320.0
    """
    return shape.layers * _layer_bytes(shape, number_bytes)


def cache_bytes(
    shape: Shape, tokens: int, *, answers: int = 1, number_bytes: float = 2.0, block: int = 1
) -> float:
    """Return the bytes that ``answers`` of ``tokens`` each take, in whole blocks.

    >>> round(cache_bytes(Shape(layers=80, kv_heads=8, head_dim=128), 4096, answers=32) / 2**30)
    40
    """
    whole = ceil(tokens / block) * block
    window = min(whole, ceil(shape.window_tokens / block) * block)
    layer = _layer_bytes(shape, number_bytes)
    each = layer * (shape.layers * whole + shape.window_layers * window) + shape.state_bytes
    return answers * each


def fragmentation_ratio(lengths: tuple[int, ...], *, block: int = 16) -> float:
    """Return the share of allotted blocks that answers of these lengths leave empty."""
    held = sum(ceil(one / block) * block for one in lengths)
    return 1.0 - sum(lengths) / held if held else 0.0


def weight_bytes(parameters: int, *, number_bytes: float = 2.0) -> float:
    """Return the bytes of all weights: those of experts that sleep are in memory too."""
    return parameters * number_bytes


def weights_read_ratio(total: int, active: int, batch: int) -> float:
    """Return the share of a mixture's weights that one step of ``batch`` answers reads.

    Each token picks its experts by itself, so ``1 - (1 - active/total) ^ batch`` is expected; a
    dense model (``active >= total``) always reads all.

    >>> weights_read_ratio(30, 3, 1) < weights_read_ratio(30, 3, 64) < 1
    True
    """
    if active >= total or total <= 0:
        return 1.0
    return 1.0 - (1.0 - active / total) ** max(1, batch)


def answers_that_fit(
    free_bytes: float,
    shape: Shape,
    tokens: int,
    *,
    number_bytes: float = 2.0,
    block: int = 16,
) -> int:
    """Return how many answers of ``tokens`` fit into the memory that weights leave."""
    each = cache_bytes(shape, tokens, number_bytes=number_bytes, block=block)
    return max(0, int(free_bytes // each)) if each > 0 else 0


class Cache(Struct, frozen=True, kw_only=True):
    """An engine's cache as admission counts it: in bytes where the shape is known, else in tokens.

    ``tokens`` and ``memory_bytes`` is what it holds; ``None``: as the engine says.
    """

    shape: Shape | None = None
    number_bytes: float = 2.0
    block: int = 16
    tokens: int | None = None
    memory_bytes: int | None = None


def need(cache: Cache, tokens: int) -> int:
    """Return what an answer of so many tokens comes to fill, in whole blocks.

    >>> need(Cache(block=16), 100)
    112
    """
    if cache.shape is None:
        return ceil(tokens / cache.block) * cache.block
    each = cache_bytes(cache.shape, tokens, number_bytes=cache.number_bytes, block=cache.block)
    return ceil(each)


def holds(cache: Cache, told_tokens: int | None) -> int | None:
    """Return what the cache holds, in the unit of ``need``; ``None`` is unknown.

    ``told_tokens`` is what the engine says of itself: an engine that counts tokens allots every
    layer for each of them, those with a window too.
    """
    tokens = told_tokens if cache.tokens is None else cache.tokens
    if cache.shape is None:
        return tokens
    if cache.memory_bytes is not None:
        return cache.memory_bytes
    if tokens is None:
        return None
    shape = cache.shape
    return int(
        tokens * (shape.layers + shape.window_layers) * _layer_bytes(shape, cache.number_bytes)
    )


def step_s(
    *,
    weights: float,
    read_ratio: float,
    cache: float,
    flops: float,
    bandwidth_bytes_per_s: float,
    compute_flops_per_s: float | None = None,
) -> float:
    """Return the least seconds of one step: reading weights and caches, or computing.

    ``weights`` and ``cache`` are bytes in memory, ``read_ratio`` the share of weights that is
    read, ``flops`` what the whole batch computes. Real engines reach about 0.6 of this.

    Source: Williams, Waterman and Patterson, Roofline, 2009.
    """
    reading_s = (weights * read_ratio + cache) / bandwidth_bytes_per_s
    return reading_s if compute_flops_per_s is None else max(reading_s, flops / compute_flops_per_s)
