"""Measured serving configurations from a folder of Parquet tables, found by their columns."""

__all__ = ["Group", "Point", "groups"]

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from msgspec import Struct

from metabolic.core.errors import ConfigError

_NEEDED = frozenset(
    {
        "model_id",
        "gpu_model",
        "num_gpus",
        "task",
        "avg_batch_size",
        "output_throughput_tokens_per_sec",
        "energy_per_token_joules",
        "avg_power_watts",
        "total_params_billions",
    }
)
_KEY = (
    "model_id",
    "gpu_model",
    "num_gpus",
    "task",
    "tensor_parallel",
    "expert_parallel",
    "data_parallel",
    "weight_precision",
)


class Point(Struct, frozen=True, kw_only=True):
    """One batch size: seconds and joules of a token, and watts of all GPUs."""

    batch: float
    token_s: float
    token_j: float
    power_w: float
    output_tokens: float


class Group(Struct, frozen=True, kw_only=True):
    """One deployment at several batch sizes, ascending."""

    set: str
    name: str
    model: str
    gpu: str
    gpus: int
    precision: str
    total: float
    active: float
    points: tuple[Point, ...]


def groups(data: Path) -> list[Group]:
    """Return every deployment below ``data`` that was measured at two batch sizes or more.

    Raises:
        ConfigError: pyarrow is not installed.
    """
    found: dict[tuple[object, ...], list[dict[str, Any]]] = {}
    for name, row in _rows(data):
        numbers = ("avg_batch_size", "output_throughput_tokens_per_sec", "energy_per_token_joules")
        if all((row.get(one) or 0) > 0 for one in numbers) and row.get("total_params_billions"):
            found.setdefault((name, *(row.get(one) for one in _KEY)), []).append(row)
    made = [_group(str(key[0]), rows) for key, rows in found.items()]
    return sorted((one for one in made if len(one.points) > 1), key=lambda one: (one.set, one.name))


def _rows(data: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the rows of every table that has the columns, with the name of its set."""
    try:
        from pyarrow import parquet as untyped  # noqa: PLC0415 - only this reads Parquet
    except ImportError as exc:
        message = "this needs pyarrow: pip install 'metabolic[bench]'"
        raise ConfigError(message) from exc
    parquet = cast("Any", untyped)
    for path in sorted(data.rglob("*.parquet")):
        names = set(cast("list[str]", parquet.read_schema(path).names))
        if names >= _NEEDED:
            columns = sorted(
                names & {*_NEEDED, *_KEY, "activated_params_billions", "avg_output_len", "dataset"}
            )
            table = parquet.read_table(path, columns=columns)
            for row in cast("list[dict[str, Any]]", table.to_pylist()):
                yield str(row.get("dataset") or path.stem), row


def _group(name: str, rows: list[dict[str, Any]]) -> Group:
    """Return one deployment; batch sizes that were measured twice count once."""
    first = rows[0]
    points = {round(float(row["avg_batch_size"]), 3): _point(row) for row in rows}
    total = float(first["total_params_billions"]) * 1e9
    return Group(
        set=name,
        name=" ".join(_label(first)),
        model=str(first["model_id"]),
        gpu=str(first["gpu_model"]),
        gpus=int(first["num_gpus"] or 1),
        precision=str(first.get("weight_precision") or "bfloat16"),
        total=total,
        active=float(first.get("activated_params_billions") or 0) * 1e9 or total,
        points=tuple(points[batch] for batch in sorted(points)),
    )


def _label(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield what names a deployment."""
    yield str(row["model_id"])
    yield f"{row['num_gpus']}x{row['gpu_model']}"
    yield str(row["task"])
    for short, key in (("tp", _KEY[4]), ("ep", _KEY[5]), ("dp", _KEY[6])):
        if (row.get(key) or 1) > 1:
            yield f"{short}{row[key]:g}"
    if row.get("weight_precision"):
        yield str(row["weight_precision"])


def _point(row: Mapping[str, Any]) -> Point:
    """Return one batch size."""
    batch = float(row["avg_batch_size"])
    token_s = batch / float(row["output_throughput_tokens_per_sec"])
    token_j = float(row["energy_per_token_joules"])
    return Point(
        batch=batch,
        token_s=token_s,
        token_j=token_j,
        power_w=token_j * batch / token_s,
        output_tokens=float(row.get("avg_output_len") or 500.0),
    )
