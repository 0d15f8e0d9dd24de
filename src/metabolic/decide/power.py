"""What an accelerator draws while it answers, where nothing measures it.

A share of the power limit, linear in the logarithms of the batch, of the active parameters that
each device holds, and of the number of devices: decoding is bound by memory at small batches and
by arithmetic at large ones, and the more devices share a model the more each waits for the others.
The driver's utilisation is no input: it reads 100 % whenever any kernel runs.

The shipped curve has the batch only. Source: own fit to published medians of 515 configurations on
two accelerators (ML.ENERGY benchmark); mean error 13 % and 25 %, against 41 % and 51 % for
the power limit itself. State it as +-30 %.
"""

__all__ = ["SHIPPED", "PowerCurve", "accelerator_w", "features"]

from math import log2

from msgspec import Struct

_BATCH, _PARAMETERS = 8.0, 1e10


class PowerCurve(Struct, frozen=True, kw_only=True):
    """Coefficients of the share of the power limit: at batch 8, and per doubling of each input."""

    share: float
    per_batch: float = 0.0
    per_parameters: float = 0.0
    per_devices: float = 0.0
    least: float = 0.15
    most: float = 1.0


SHIPPED = PowerCurve(share=0.62, per_batch=0.04)
"""Nothing but the batch; see the module."""


def features(
    *, batch: float, parameters_per_device: float, devices: float
) -> tuple[float, float, float, float]:
    """Return what the coefficients are multiplied with."""
    return (
        1.0,
        log2(max(batch, 0.25) / _BATCH),
        log2(max(parameters_per_device, 1e7) / _PARAMETERS),
        log2(max(devices, 1.0)),
    )


def accelerator_w(
    curve: PowerCurve,
    *,
    limit_w: float,
    batch: float,
    parameters_per_device: float = _PARAMETERS,
    devices: float = 1.0,
) -> float:
    """Return the watts of each device, idle power included.

    >>> round(accelerator_w(SHIPPED, limit_w=700.0, batch=64))
    518
    """
    one, doublings, sizes, spread = features(
        batch=batch, parameters_per_device=parameters_per_device, devices=devices
    )
    share = (
        curve.share * one
        + curve.per_batch * doublings
        + curve.per_parameters * sizes
        + curve.per_devices * spread
    )
    return limit_w * min(curve.most, max(curve.least, share))
