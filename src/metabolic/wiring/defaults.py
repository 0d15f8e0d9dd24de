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
"""Task types a model is restricted to where it is not named in the configuration: the 135M found
11 of 14 of our extraction questions (0.5B 11, 1.5B 13) and lags far behind everywhere else."""


def _measured(name: str, *rows: tuple[str, float, float | None, float | None, int]) -> list[Belief]:
    """Return one deployment's beliefs from rows of lane, shares and number of questions."""
    return [
        Belief(
            deployment=name,
            lane=lane,
            p_correct=right,
            p_accept=kept,
            p_correct_accepted=right_kept,
            evidence=questions,
        )
        for lane, right, kept, right_kept, questions in rows
    ]


BELIEFS: tuple[Belief, ...] = (
    *_measured(
        "smollm2-135m-instruct",
        ("*", 0.435, 0.022, 0.667, 138),
        ("extraction", 0.786, None, None, 14),
        ("open_qa", 0.317, 0.0, None, 101),
    ),
    *_measured(
        "qwen2.5-coder-0.5b-instruct",
        ("*", 0.609, 0.384, 0.906, 138),
        ("extraction", 0.786, None, None, 14),
        ("open_qa", 0.554, 0.307, 0.935, 101),
    ),
    *_measured(
        "qwen2.5-coder-1.5b-instruct",
        ("*", 0.855, 0.833, 0.965, 138),
        ("extraction", 0.929, None, None, 14),
        ("open_qa", 0.832, 0.802, 0.975, 101),
    ),
)
"""Shares of right answers on the questions that ship with ``metabolic bench cascade`` (138 of our
own, short answers, no reasoning), drafts kept at the edge profile's threshold of 0.82."""


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
