"""``metabolic capacity``: what a model takes in memory, how many answers fit, how fast at best."""

__all__ = ["Fit", "Size", "capacity", "fits", "sized"]

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from msgspec import Struct

from metabolic.cli import show
from metabolic.config import load
from metabolic.core.errors import ConfigError
from metabolic.core.fleet import Model
from metabolic.decide.capacity import (
    CACHE_BYTES,
    WEIGHT_BYTES,
    Shape,
    answers_that_fit,
    cache_bytes,
    step_s,
    token_bytes,
    weight_bytes,
    weights_read_ratio,
)
from metabolic.wiring.fleet import assemble

_CONTEXTS = (1024, 4096, 16_384, 65_536, 131_072)
_GIB, _GB, _TERA = 2.0**30, 1e9, 1e12
_MOST_BATCH = 1024
_RESERVE = 0.05
"""Share of the memory for activations and the engine's own."""

Number = Literal["f32", "f16", "bf16", "fp8", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_0", "mxfp4"]
CacheNumber = Literal["f32", "f16", "bf16", "fp8", "q8_0", "q4_0"]


class Size(Struct, frozen=True, kw_only=True):
    """What a model is made of; parameters ``None`` are unknown."""

    name: str
    shape: Shape
    total_parameters: int
    active_parameters: int
    weights_bytes: float
    number_bytes: float


class Fit(Struct, frozen=True, kw_only=True):
    """What fits at one context, and how fast it is at best; speeds ``None`` without a bandwidth."""

    model: str
    weights_gib: float
    token_kib: float
    context_tokens: int
    answer_mib: float
    answers: int
    tokens_per_s: float | None = None
    tokens_per_s_each: float | None = None


def capacity(  # noqa: PLR0913 - a command's flags
    *,
    config: Annotated[Path | None, Parameter(env_var="METABOLIC_CONFIG")] = None,
    memory_gib: float = 24.0,
    bandwidth_gb_s: float | None = None,
    tflops: float | None = None,
    cache: CacheNumber = "f16",
    weights: Number = "f16",
    parameters: float | None = None,
    active: float | None = None,
    layers: int = 0,
    kv_heads: int = 0,
    head_dim: int = 0,
    latent_dim: int | None = None,
    window_layers: int = 0,
    window_tokens: int = 0,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Say what models take in memory, how many answers fit beside them, and how fast at best.

    Without ``--layers`` it looks at the models of the configuration whose shape is known.

    Args:
        config: The configuration file; without one the embedded defaults are looked at.
        memory_gib: Memory of the device, GiB.
        bandwidth_gb_s: Memory bandwidth, GB/s; with it the roofline is computed.
        tflops: Peak arithmetic of the device, TFLOP/s.
        cache: What a cached number is kept as.
        weights: What a weight is kept as, for the model given here.
        parameters: Billions of parameters of a model given here.
        active: Billions of parameters that a token uses; all, unless it is a mixture.
        layers: Layers that attend to everything.
        kv_heads: Key-value heads of a layer.
        head_dim: Numbers of a head.
        latent_dim: Numbers of latent attention, with the rotary part.
        window_layers: Layers that attend to a window.
        window_tokens: Tokens of that window.
        json: Print JSON instead of a table.

    Returns:
        0.

    Raises:
        ConfigError: a model given here has no parameters, or no model's shape is known.
    """
    shape = Shape(
        layers=layers,
        kv_heads=kv_heads,
        head_dim=head_dim,
        latent_dim=latent_dim,
        window_layers=window_layers,
        window_tokens=window_tokens,
    )
    if layers or window_layers:
        models = (_given(shape, parameters, active, weights, CACHE_BYTES[cache]),)
    else:
        models = _configured(config, CACHE_BYTES[cache])
    rows = [
        row
        for one in models
        for row in fits(one, memory_gib=memory_gib, bandwidth_gb_s=bandwidth_gb_s, tflops=tflops)
    ]
    show.print_json({"fits": rows}) if json else _print(rows)
    return 0


def _configured(config: Path | None, number_bytes: float) -> tuple[Size, ...]:
    """Return the models of a configuration whose shape is known. Raises ``ConfigError``."""
    fleet = assemble(load(config)).fleet
    found = (sized(one.model, number_bytes) for one in fleet.deployments)
    models = tuple(one for one in found if one is not None)
    if not models:
        message = "no model's shape is known: give --layers, --kv-heads, --head-dim, --parameters"
        raise ConfigError(message)
    return models


def _given(
    shape: Shape, parameters: float | None, active: float | None, weights: str, number_bytes: float
) -> Size:
    """Return the model of the flags. Raises ``ConfigError``."""
    if parameters is None:
        message = "--parameters: say how many billions the model has"
        raise ConfigError(message)
    total = round(parameters * _GB)
    return Size(
        name="given",
        shape=shape,
        total_parameters=total,
        active_parameters=total if active is None else round(active * _GB),
        weights_bytes=weight_bytes(total, number_bytes=WEIGHT_BYTES[weights]),
        number_bytes=number_bytes,
    )


def sized(model: Model, number_bytes: float) -> Size | None:
    """Return a model of the fleet; ``None`` where its shape or size is unknown."""
    layers, heads, dim = model.layers, model.kv_heads, model.head_dim
    if layers is None or heads is None or dim is None or model.total_parameters is None:
        return None
    number = WEIGHT_BYTES.get((model.quantisation or "f16").lower(), WEIGHT_BYTES["f16"])
    return Size(
        name=model.id,
        shape=Shape(layers=layers, kv_heads=heads, head_dim=dim),
        total_parameters=model.total_parameters,
        active_parameters=model.active_parameters or model.total_parameters,
        weights_bytes=model.file_bytes or weight_bytes(model.total_parameters, number_bytes=number),
        number_bytes=number_bytes,
    )


def fits(
    model: Size, *, memory_gib: float, bandwidth_gb_s: float | None, tflops: float | None
) -> list[Fit]:
    """Return what fits at every context of which at least one answer does."""
    free = memory_gib * _GIB * (1 - _RESERVE) - model.weights_bytes
    rows: list[Fit] = []
    for tokens in _CONTEXTS:
        count = answers_that_fit(free, model.shape, tokens, number_bytes=model.number_bytes)
        each = cache_bytes(model.shape, tokens, number_bytes=model.number_bytes, block=16)
        batch = min(count, _MOST_BATCH)
        speed = _speed(model, batch, each, bandwidth_gb_s, tflops)
        rows.append(
            Fit(
                model=model.name,
                weights_gib=model.weights_bytes / _GIB,
                token_kib=token_bytes(model.shape, number_bytes=model.number_bytes) / 1024,
                context_tokens=tokens,
                answer_mib=each / 2**20,
                answers=count,
                tokens_per_s=speed,
                tokens_per_s_each=None if speed is None else speed / batch,
            )
        )
    return rows


def _speed(
    model: Size, batch: int, each: float, bandwidth_gb_s: float | None, tflops: float | None
) -> float | None:
    """Return the most tokens a second of a full batch; ``None`` without one or a bandwidth."""
    if not batch or bandwidth_gb_s is None:
        return None
    ratio = weights_read_ratio(model.total_parameters, model.active_parameters, batch)
    seconds = step_s(
        weights=model.weights_bytes,
        read_ratio=ratio,
        cache=batch * each,
        flops=2.0 * model.active_parameters * batch,
        bandwidth_bytes_per_s=bandwidth_gb_s * _GB,
        compute_flops_per_s=None if tflops is None else tflops * _TERA,
    )
    return batch / seconds


def _print(rows: list[Fit]) -> None:
    """Print a table, and what it takes for granted."""
    cells = [
        (
            row.model,
            f"{row.weights_gib:.1f}",
            f"{row.token_kib:.1f}",
            f"{row.context_tokens:,}",
            f"{row.answer_mib:,.0f}",
            f"{row.answers:,}",
            "" if row.tokens_per_s is None else f"{row.tokens_per_s:,.0f}",
            "" if row.tokens_per_s_each is None else f"{row.tokens_per_s_each:,.1f}",
        )
        for row in rows
    ]
    heads = (
        "model", "weights GiB", "KiB/token", "context", "MiB/answer", "answers", "tok/s", "each"
    )  # fmt: skip
    console = show.console()
    console.print(show.table("capacity", heads, cells))
    console.print(
        f"{_RESERVE:.0%} of the memory is left to the engine; whole blocks of 16 tokens; speeds are"
        " the roofline's, engines reach about 0.6 of them"
    )
