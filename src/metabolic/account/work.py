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
    "remote_range",
    "service_s",
    "usage_energy_j",
    "usage_s",
]

from metabolic.core.fleet import Deployment, Model
from metabolic.core.receipt import Energy
from metabolic.core.request import Usage

MODEL_LOW_RATIO = 0.5
MODEL_HIGH_RATIO = 2.0
"""A modelled CPU or API energy may be wrong by a factor of two either way.

Source: CodeCarbon's RAPL sweeps of four CPUs against utilisation models: mean error 20-94 %.
"""

REMOTE_J_PER_TOKEN_PER_PARAMETER = 1.1e-11
"""Joules per output token and active parameter of a batched server.

Source: ML.ENERGY benchmark, H100, batch 64: 0.80 J/token for 70e9 parameters, 0.119 for 8e9.
"""

_REMOTE_LOW_RATIO, _REMOTE_HIGH_RATIO = 0.32, 5.0
"""How much less and more a remote token may take, where the model's size is published.

Source: a 70e9 model on the best of servers, at the wall: 0.244 J/token (MLPerf Inference v4.1,
8 x H200 MaxQ, offline), on a half-empty one: 3.75 J (ML.ENERGY, batch 8, GPUs alone); against
0.77 here. EcoLogits' published fit lies between, at 0.29 J for 70e9 and batch 64, GPUs alone.
"""

_UNKNOWN_SIZE_RATIO = 4.0
"""Where the size is not published it is the middle of a tier, and may be off by this factor."""

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


def remote_range(model: Model, *, input_tokens: int, output_tokens: int) -> Energy:
    """Return the modelled joules of a remote API with the range they may lie in.

    ``input_tokens`` are those not cached. The range is wide because it is: nobody outside knows
    the batch, the hardware, nor often the size of the model.
    """
    energy_j = remote_energy_j(model, input_tokens=input_tokens, output_tokens=output_tokens)
    size = 1.0 if model.active_parameters or model.total_parameters else _UNKNOWN_SIZE_RATIO
    return Energy(
        energy_j=energy_j,
        low_j=energy_j * _REMOTE_LOW_RATIO / size,
        high_j=energy_j * _REMOTE_HIGH_RATIO * size,
        origin="modelled",
    )


def usage_s(usage: Usage, deployment: Deployment) -> float | None:
    """Return the seconds of device work the tokens stand for; ``None`` when not known."""
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    return service_s(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cached_tokens=usage.cached_tokens or 0,
        prefill_tokens_per_s=deployment.prefill_tokens_per_s,
        decode_tokens_per_s=deployment.decode_tokens_per_s,
    )


def usage_energy_j(usage: Usage, deployment: Deployment) -> float | None:
    """Return the joules above idle a local deployment's figures foresee for these tokens."""
    return active_energy_j(usage_s(usage, deployment), active_w=deployment.active_w)


def modelled(energy_j: float) -> Energy:
    """Return a modelled, provisional energy with its bounds."""
    return Energy(
        energy_j=energy_j,
        low_j=energy_j * MODEL_LOW_RATIO,
        high_j=energy_j * MODEL_HIGH_RATIO,
        origin="modelled",
    )
