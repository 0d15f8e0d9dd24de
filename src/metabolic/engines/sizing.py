"""How much memory a model takes, and what context, slots and threads a machine allows. Pure.

A server needs its weights, a key-value cache and some work space. With ``repack`` llama.cpp also
copies weights into the processor's own layout; the originals, mapped from the file, can then be
dropped by the kernel, so they are not counted twice.
"""

__all__ = [
    "Wish",
    "kv_bytes_per_token",
    "least_bytes",
    "needed_bytes",
    "size",
    "threads_for",
]

from msgspec import Struct
from msgspec.structs import replace

from metabolic.core.fleet import LaunchSpec, Model

_KV_ELEMENT_BYTES = 2
"""An element of the key-value cache is a 16-bit float, llama.cpp's default."""

_UNKNOWN_KV_BYTES = 64 * 1024
"""Bytes per token when the shape is unknown: that of a 7B model with grouped queries
(2 × 32 layers × 4 heads × 128 × 2 bytes), more than any model of the default fleets."""

_WORK_BYTES = 160 * 1024 * 1024
"""Interpreter, code and compute buffers of one server: 60 to 130 MB measured on three models of
0.1 to 1.5 billion parameters with xllamacpp 2026.10, rounded up."""

_LEAST_CONTEXT_TOKENS = 1024
_DEFAULT_CONTEXT_TOKENS = 8192


class Wish(Struct, frozen=True, kw_only=True):
    """What a server should have if memory allows; ``context_tokens`` is per slot.

    ``least_context_tokens`` is the smallest context worth starting with.
    """

    context_tokens: int = _DEFAULT_CONTEXT_TOKENS
    slots: int = 1
    least_context_tokens: int = _LEAST_CONTEXT_TOKENS
    prompt_cache_bytes: int = 128 * 1024 * 1024


def kv_bytes_per_token(model: Model) -> int:
    """Return the bytes one token takes in the key-value cache.

    Keys and values, of each layer and each key-value head: 2 × layers × kv_heads × head_dim × 2
    bytes. A model whose shape is not known is taken for a large one.

    Source: Shazeer 2019, Fast Transformer Decoding (arXiv:1911.02150); Ainslie et al. 2023, GQA
    (arXiv:2305.13245).

    >>> kv_bytes_per_token(Model(id="m", tier="tiny", layers=24, kv_heads=2, head_dim=64))
    12288
    """
    if model.layers is None or model.kv_heads is None or model.head_dim is None:
        return _UNKNOWN_KV_BYTES
    return 2 * model.layers * model.kv_heads * model.head_dim * _KV_ELEMENT_BYTES


def needed_bytes(
    model: Model, *, context_tokens: int, slots: int, prompt_cache_bytes: int = 0
) -> int | None:
    """Return the memory a server takes; ``None`` when the size of the weights is unknown."""
    if model.file_bytes is None:
        return None
    cache = kv_bytes_per_token(model) * context_tokens * slots
    return model.file_bytes + cache + prompt_cache_bytes + _WORK_BYTES


def least_bytes(model: Model, wish: Wish | None = None) -> int | None:
    """Return the least memory worth starting with: one slot, a short context, no prompt cache."""
    wish = wish or Wish()
    context = min(wish.least_context_tokens, _context(model, wish))
    return needed_bytes(model, context_tokens=context, slots=1)


def size(
    spec: LaunchSpec, model: Model, *, room_bytes: int | None, wish: Wish | None = None
) -> LaunchSpec | None:
    """Return ``spec`` with the most context and slots that fit; ``None``: not even the least.

    Slots go first (they add little where the processor is the limit), then context is halved.
    ``room_bytes`` ``None`` is unknown memory: what is wished for is taken.
    """
    wish = wish or Wish()
    context, slots = _context(model, wish), max(1, wish.slots)
    least = min(wish.least_context_tokens, context)
    while True:
        need = needed_bytes(
            model,
            context_tokens=context,
            slots=slots,
            prompt_cache_bytes=wish.prompt_cache_bytes,
        )
        if room_bytes is None or need is None or need <= room_bytes:
            return _sized(spec, context, slots)
        if slots > 1:
            slots -= 1
        elif context > least:
            context = max(least, context // 2)
        else:
            break
    bare = needed_bytes(model, context_tokens=context, slots=slots)
    return _sized(spec, context, slots) if bare is not None and bare <= room_bytes else None


def threads_for(*, hot: int, cores: int) -> int:
    """Return the threads of one server when ``hot`` of them may work at once on ``cores``.

    One alone has every physical core; several share them, one thread each at least. More threads
    than cores fight for them: two spinning servers on two cores cost 20 times the CPU.

    >>> threads_for(hot=1, cores=2), threads_for(hot=3, cores=2), threads_for(hot=2, cores=16)
    (2, 1, 8)
    """
    return max(1, cores // max(1, hot))


def _context(model: Model, wish: Wish) -> int:
    """Return the context wished for, within what the model was trained on."""
    if model.context_tokens is None:
        return wish.context_tokens
    return min(wish.context_tokens, model.context_tokens)


def _sized(spec: LaunchSpec, context_tokens: int, slots: int) -> LaunchSpec:
    """Return ``spec`` at this size."""
    return replace(spec, context_tokens=context_tokens, slots=slots)
