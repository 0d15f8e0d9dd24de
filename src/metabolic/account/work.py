"""What an answer takes a device: seconds of work, and joules above idle.

The one place with these formulas: ``decide.estimate`` predicts with them, ``account.bill`` writes
provisional receipts with them.
"""

__all__ = [
    "MODEL_HIGH_RATIO",
    "MODEL_LOW_RATIO",
    "REMOTE_J_PER_TOKEN_PER_PARAMETER",
    "active_energy_j",
    "modelled",
    "parameters_of",
    "remote_energy_j",
    "service_s",
]

from metabolic.core.fleet import Model
from metabolic.core.receipt import Energy

MODEL_LOW_RATIO = 0.5
MODEL_HIGH_RATIO = 2.0
"""A modelled CPU or API energy may be wrong by a factor of two either way.

Source: CodeCarbon's RAPL sweeps of four CPUs against utilisation models: mean error 20-94 %.
"""

REMOTE_J_PER_TOKEN_PER_PARAMETER = 1.1e-11
"""Joules per output token and active parameter of a batched server.

Source: ML.ENERGY benchmark, H100, batch 64: 0.80 J/token for 70e9 parameters, 0.119 for 8e9.
"""

_INPUT_TOKEN_SHARE = 0.36
"""Energy of an input token over that of an output token.

Source: 0.29 J per prefilled token against 0.80 J per decoded one for 70e9 parameters (batch 64).
"""

_TIER_PARAMETERS = {"tiny": 5e8, "small": 3e9, "medium": 1.2e10, "large": 7e10}


def parameters_of(model: Model) -> float:
    """Return active parameters: published, else total, else the middle of the tier."""
    known = model.active_parameters or model.total_parameters
    return float(known) if known else _TIER_PARAMETERS[model.tier]


def service_s(
    *,
    input_tokens: int,
    output_tokens: int,
    cached_tokens: int,
    prefill_tokens_per_s: float | None,
    decode_tokens_per_s: float | None,
) -> float | None:
    """Return seconds of device work; ``None`` when a speed is unknown."""
    if not prefill_tokens_per_s or not decode_tokens_per_s:
        return None
    fresh = max(0, input_tokens - cached_tokens)
    return fresh / prefill_tokens_per_s + output_tokens / decode_tokens_per_s


def active_energy_j(seconds: float | None, *, active_w: float | None) -> float | None:
    """Return joules above idle for seconds of work; ``None`` when either is unknown."""
    if seconds is None or active_w is None:
        return None
    return seconds * active_w


def remote_energy_j(model: Model, *, input_tokens: int, output_tokens: int) -> float:
    """Return the modelled joules of a remote API, by active parameters."""
    per_token = parameters_of(model) * REMOTE_J_PER_TOKEN_PER_PARAMETER
    return per_token * (output_tokens + _INPUT_TOKEN_SHARE * input_tokens)


def modelled(energy_j: float) -> Energy:
    """Return a modelled, provisional energy with its bounds."""
    return Energy(
        energy_j=energy_j,
        low_j=energy_j * MODEL_LOW_RATIO,
        high_j=energy_j * MODEL_HIGH_RATIO,
        origin="modelled",
    )
