"""What is known of the models that come along, before this machine has been measured.

Speeds are tokens per second of one thread; they are measured on one machine and modelled on any
other. Beliefs are shares of right answers on labelled questions (``metabolic bench cascade``).
"""

__all__ = ["BELIEFS", "LOCAL_CAPABILITIES", "PROVEN_TASKS", "Speed", "load_s_of", "speed_of"]

from msgspec import Struct

from metabolic.account.work import parameters_of
from metabolic.core.decision import Belief
from metabolic.core.fleet import Capability, Model
from metabolic.core.hardware import Origin

LOCAL_CAPABILITIES: tuple[Capability, ...] = (
    "chat",
    "completions",
    "json",
    "json_schema",
    "logprobs",
    "tools",
)
"""What a llama.cpp server offers for an instruct model."""


class Speed(Struct, frozen=True, kw_only=True):
    """Tokens per second of one sequence on one thread."""

    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    origin: Origin = "modelled"


_MEASURED: dict[str, Speed] = {
    "smollm2-135m-instruct": Speed(prefill_tokens_per_s=136, decode_tokens_per_s=70),
    "qwen2.5-coder-0.5b-instruct": Speed(prefill_tokens_per_s=72, decode_tokens_per_s=24),
    "qwen2.5-coder-1.5b-instruct": Speed(prefill_tokens_per_s=33, decode_tokens_per_s=12),
}
"""One thread of an AMD EPYC (Zen 3, AVX2), llama.cpp, tokens per CPU second, best of two runs."""

_PREFILL_PARAMETERS_PER_S = 4.5e10
_DECODE_PARAMETERS_PER_S = 1.6e10
"""Parameters times tokens per second of such a thread: what the measured models come to."""

_LOAD_BYTES_PER_S = 4e8

PROVEN_TASKS: dict[str, tuple[str, ...]] = {"smollm2-135m-instruct": ("extraction",)}
"""Task types a model is restricted to where it is not named in the configuration."""

BELIEFS: tuple[Belief, ...] = ()
"""Measured shares of right answers, by deployment and lane."""


def speed_of(model: Model) -> Speed:
    """Return how fast a model is on one thread: measured elsewhere, or modelled by its size."""
    known = _MEASURED.get(model.id)
    if known is not None:
        return known
    size = parameters_of(model)
    return Speed(
        prefill_tokens_per_s=_PREFILL_PARAMETERS_PER_S / size,
        decode_tokens_per_s=_DECODE_PARAMETERS_PER_S / size,
    )


def load_s_of(model: Model) -> float | None:
    """Return seconds to wake a model, by the size of its file; ``None`` when that is not known."""
    return None if model.file_bytes is None else 0.5 + model.file_bytes / _LOAD_BYTES_PER_S
