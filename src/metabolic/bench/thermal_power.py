"""The power model against recorded configurations, each left out in turn.

A configuration is a model on a kind of accelerator in one way of splitting it, at all its batches:
none of them is in the fit that predicts it. Sets are found by their columns.
"""

__all__ = ["power_model"]

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, cast

from msgspec import Struct

from metabolic.bench.report import Figure, Missing, Row, quantile
from metabolic.decide.power import SHIPPED, PowerCurve, accelerator_w, features

_LIMITS_W = {"H100": 700.0, "B200": 1000.0, "H200": 700.0, "A100": 400.0}
_TYPICAL = 0.74
_RESAMPLES = 200
_MIN_CONFIGURATIONS = 3


class _Point(Struct, frozen=True, kw_only=True):
    """One recorded mean power per device."""

    set: str
    configuration: str
    limit_w: float
    watts: float
    batch: float
    parameters_per_device: float
    devices: float


def power_model(data: Path | None) -> tuple[dict[str, Figure], list[Row], list[Missing]]:
    """Return figures and rows for every set; missing ones say why."""
    names = ("power_model_mape", "power_model_mape_threshold", "power_model_mape_none")
    if data is None:
        why = "needs recordings: --data FOLDER"
        return {}, [], [Missing(figure=name, why=why) for name in names]
    points = list(_points(data))
    sets = sorted({one.set for one in points})
    rows = [row for name in sets for row in _judged([one for one in points if one.set == name])]
    errors = _errors(points)
    if not errors:
        why = f"no recordings of power by configuration under {data.name}"
        return {}, [], [Missing(figure=name, why=why) for name in names]
    figures = {
        f"power_model_mape{suffix}": _figure(errors, method)
        for suffix, method in (("", "left_out"), ("_threshold", "typical"), ("_none", "limit"))
    }
    return figures, rows, []


def _points(data: Path) -> Iterator[_Point]:
    """Yield the points of every table that has them."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - the extra `bench`

    for path in sorted(data.rglob("*.parquet")):
        columns = set(cast("list[str]", pq.read_schema(path).names))
        if {"avg_power_watts", "gpu_model", "num_gpus", "avg_batch_size"} <= columns:
            yield from _by_batch(path)
        elif {"average_power", "hardware", "tensor_parallel", "batch_size"} <= columns:
            yield from _by_share(path)


def _by_batch(path: Path) -> Iterator[_Point]:
    """Yield mean watts of a whole server by batch."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - as above

    for row in cast("list[dict[str, Any]]", pq.read_table(path).to_pylist()):
        limit_w, devices = _LIMITS_W.get(row["gpu_model"]), row["num_gpus"]
        known = (row["avg_power_watts"], row["avg_batch_size"], row["activated_params_billions"])
        if limit_w is None or not devices or not all(known):
            continue
        split = "x".join(str(row.get(name)) for name in ("tensor_parallel", "expert_parallel"))
        yield _Point(
            set=path.stem,
            configuration=f"{row['model_id']}/{row['gpu_model']}/{devices}/{split}",
            limit_w=limit_w,
            watts=known[0] / devices,
            batch=known[1],
            parameters_per_device=known[2] * 1e9 / devices,
            devices=devices,
        )


_BILLIONS = {"llama2-70b": 70.0, "bloom-176b": 176.0}


def _by_share(path: Path) -> Iterator[_Point]:
    """Yield mean power as a share of the limit; zeros were not measured."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - as above

    for row in cast("list[dict[str, Any]]", pq.read_table(path).to_pylist()):
        size, devices = _BILLIONS.get(row["model"]), row["tensor_parallel"]
        if size is None or not row["average_power"] or not devices:
            continue
        yield _Point(
            set=path.stem,
            configuration=f"{row['model']}/{row['hardware']}/{devices}",
            limit_w=1.0,
            watts=row["average_power"],
            batch=row["batch_size"],
            parameters_per_device=size * 1e9 / devices,
            devices=devices,
        )


def _fitted(points: Sequence[_Point]) -> PowerCurve:
    """Return the least-squares curve of these points."""
    import numpy as np  # noqa: PLC0415 - the extra `bench`

    rows = np.array([_features(one) for one in points])
    shares = np.array([one.watts / one.limit_w for one in points])
    ridge = np.diag([0.0, 1.0, 1.0, 1.0])
    found = np.linalg.solve(rows.T @ rows + ridge, rows.T @ shares)
    return PowerCurve(
        share=float(found[0]),
        per_batch=float(found[1]),
        per_parameters=float(found[2]),
        per_devices=float(found[3]),
    )


def _features(one: _Point) -> tuple[float, float, float, float]:
    """Return the inputs of a point."""
    return features(
        batch=one.batch, parameters_per_device=one.parameters_per_device, devices=one.devices
    )


def _predicted(curve: PowerCurve, one: _Point) -> float:
    """Return a curve's watts for a point."""
    return accelerator_w(
        curve,
        limit_w=one.limit_w,
        batch=one.batch,
        parameters_per_device=one.parameters_per_device,
        devices=one.devices,
    )


def _errors(points: Sequence[_Point]) -> list[Mapping[str, float | str]]:
    """Return every point's relative error by each method, by set and configuration."""
    found: list[Mapping[str, float | str]] = []
    for name in sorted({one.set for one in points}):
        ours = [one for one in points if one.set == name]
        configurations = sorted({one.configuration for one in ours})
        if len(configurations) < _MIN_CONFIGURATIONS:
            continue
        for configuration in configurations:
            curve = _fitted([one for one in ours if one.configuration != configuration])
            found += [_compared(one, curve) for one in ours if one.configuration == configuration]
    return found


def _compared(one: _Point, curve: PowerCurve) -> Mapping[str, float | str]:
    """Return one point's relative errors."""
    guesses = {
        "left_out": _predicted(curve, one),
        "shipped": _predicted(SHIPPED, one),
        "typical": _TYPICAL * one.limit_w,
        "limit": one.limit_w,
    }
    errors = {name: abs(watts - one.watts) / one.watts for name, watts in guesses.items()}
    return {"set": one.set, "configuration": one.configuration, **errors}


def _figure(errors: Sequence[Mapping[str, float | str]], method: str) -> Figure:
    """Return a mean relative error over all points, with an interval by configuration."""
    groups: dict[str, list[float]] = {}
    for one in errors:
        groups.setdefault(f"{one['set']}/{one['configuration']}", []).append(float(one[method]))
    random, names = Random(0), sorted(groups)
    drawn = sorted(
        _mean([error for name in random.choices(names, k=len(names)) for error in groups[name]])
        for _ in range(_RESAMPLES)
    )
    every = [float(one[method]) for one in errors]
    return Figure(
        value=_mean(every),
        unit="ratio",
        n=len(every),
        low=drawn[int(0.025 * _RESAMPLES)],
        high=drawn[int(0.975 * _RESAMPLES) - 1],
        unit_note=f"{len(names)} configurations",
    )


def _judged(points: Sequence[_Point]) -> Iterator[Row]:
    """Yield a line for each method on one set."""
    errors = _errors(points)
    for method in ("left_out", "shipped", "typical", "limit") if errors else ():
        every = [float(one[method]) for one in errors]
        yield {
            "scenario": "power_model",
            "device": points[0].set,
            "method": method,
            "n": len(every),
            "configurations": len({one["configuration"] for one in errors}),
            "power_model_mape": _mean(every),
            "power_model_ape_p90": quantile(every, 0.9),
        }


def _mean(values: Sequence[float]) -> float:
    """Return the mean."""
    return sum(values) / len(values)
