"""The predictions: a roofline over models, the product's fit to two probes, power over batch."""

__all__ = ["Curves", "curves", "power_after", "time_after"]

from collections.abc import Iterable, Sequence
from math import exp, log, sqrt
from typing import Any, cast

from metabolic.bench.estimators_read import Group, Point
from metabolic.decide.capacity import WEIGHT_BYTES, weights_read_ratio
from metabolic.decide.roofline import Constants, Pace, constants, observe, spread, token_s

_SPECS = {
    "H100": (3.35e12, 9.9e14),
    "H200": (4.8e12, 9.9e14),
    "B200": (8.0e12, 2.25e15),
    "A100": (2.0e12, 3.1e14),
    "L4": (3.0e11, 1.2e14),
    "MI300X": (5.3e12, 1.3e15),
}
"""Memory bytes and dense BF16 operations per second. Source: the vendors' data sheets."""

_UNKNOWN = (2.0e12, 4.0e14)
_NAMES = {"bfloat16": "bf16", "float16": "f16", "fp8": "fp8", "mxfp4": "mxfp4", "float32": "f32"}
_PROMPT_TOKENS = 300.0
"""Assumed: the tables do not say."""

_ROUNDS = 8
_SOFT = 0.05
_PROBE_TOKENS = 500.0
_GROWTH = 0.04
"""A belief that the batch costs nothing would be one that no probe can move."""

Curves = dict[Group, list[tuple[float, float]]]
"""Seconds of a token and watts at each of a deployment's batches, foretold by other models."""


def curves(found: Sequence[Group], *, models: Iterable[str]) -> Curves:
    """Return what all other models on the same GPU foretell of each of ``models``.

    A GPU with fewer than two other models is foretold by all GPUs together.
    """
    made: Curves = {}
    for model in sorted(set(models)):
        others = [one for one in found if one.model != model]
        for gpu in sorted({one.gpu for one in found if one.model == model}):
            same = [one for one in others if one.gpu == gpu]
            teach = same if len({one.model for one in same}) > 1 else others
            if not teach:
                continue
            ours = [one for one in found if one.model == model and one.gpu == gpu]
            made |= _foretold(teach, ours)
    return made


def _foretold(teach: Sequence[Group], ours: Sequence[Group]) -> Curves:
    """Fit to some deployments and foretell others."""
    import numpy as np  # noqa: PLC0415 - of the extra `bench`

    pairs = [(one, point) for one in teach for point in one.points]
    terms = np.array([_terms(one, point) for one, point in pairs])
    times = np.array([point.token_s for _, point in pairs])
    found = _not_negative(terms, times)
    busy = np.array([_busy(one, point, point.token_s) for one, point in pairs])
    power = np.array([point.power_w / one.gpus for one, point in pairs])
    watts = cast("Any", np.linalg.lstsq(busy / power[:, None], np.ones(len(power)), rcond=None))[0]
    made: Curves = {}
    for one in ours:
        line: list[tuple[float, float]] = []
        for point in one.points:
            seconds = max(1e-6, float(np.array(_terms(one, point)) @ found))
            each = float(np.array(_busy(one, point, seconds)) @ watts)
            line.append(
                (seconds, max(float(power.min()), min(float(power.max()), each)) * one.gpus)
            )
        made[one] = line
    return made


def _not_negative(terms: Any, times: Any) -> Any:  # noqa: ANN401 - arrays of numpy
    """Return coefficients, none negative, of least absolute relative error (reweighted)."""
    import numpy as np  # noqa: PLC0415 - of the extra `bench`
    from scipy import optimize  # noqa: PLC0415 - as above

    nnls = cast("Any", optimize).nnls
    weights = 1.0 / times
    found = np.zeros(terms.shape[1])
    for _ in range(_ROUNDS):
        found = nnls(terms * weights[:, None], times * weights, maxiter=10_000)[0]
        off = np.abs(terms @ found - times) / times
        weights = 1.0 / times / np.sqrt(np.maximum(off, _SOFT))
    return found


def _reading(one: Group, point: Point) -> tuple[float, float, float, float]:
    """Return seconds that weights, cache and arithmetic would take, and layers, all ideal."""
    memory, arithmetic = _SPECS.get(one.gpu.split("-")[0].upper(), _UNKNOWN)
    memory, arithmetic = memory * one.gpus, arithmetic * one.gpus
    number = WEIGHT_BYTES.get(_NAMES.get(one.precision, "bf16"), 2.0)
    share = weights_read_ratio(int(one.total), int(one.active), round(point.batch))
    layers = 16.0 * (one.active / 1e9) ** (1 / 3)
    tokens = (_PROMPT_TOKENS + point.output_tokens / 2) * point.batch
    return (
        number * one.total * share / memory,
        layers * 2 * 1024 * 2 * tokens / memory,
        2 * one.active * point.batch / arithmetic,
        layers,
    )


def _terms(one: Group, point: Point) -> list[float]:
    """Return what the time of a step may be made of."""
    weights, cache, arithmetic, layers = _reading(one, point)
    several, mixture = one.gpus > 1, one.active < 0.95 * one.total
    return [
        1e-3,
        1e-3 * several,
        5e-5 * layers,
        weights,
        cache,
        arithmetic,
        1e-5 * point.batch,
        1e-3 * mixture,
        1e-5 * point.batch * several,
        1e-4 * sqrt(point.batch),
        arithmetic * mixture,
        weights * mixture,
    ]


def _busy(one: Group, point: Point, seconds: float) -> list[float]:
    """Return what the power of one GPU may be made of: idle, busy memory, busy arithmetic."""
    weights, cache, arithmetic, _ = _reading(one, point)
    return [1.0, (weights + cache) / seconds, arithmetic / seconds]


def time_after(
    group: Group, probes: tuple[int, int], curve: Sequence[float] | None
) -> list[dict[str, float]]:
    """Return by protocol the seconds of a token at each batch, once two were measured."""
    points, (first, second) = group.points, probes
    belief = None if curve is None else _belief(group, curve)
    pace = Pace()
    for index in probes:
        point = points[index]
        pace = observe(
            pace,
            seconds=_PROBE_TOKENS * point.token_s,
            batch=point.batch,
            output_tokens=_PROBE_TOKENS,
            first=False,
            belief=belief,
        )
    found = constants(pace, belief)
    made: list[dict[str, float]] = []
    a, b = points[first], points[second]
    slope = (b.token_s - a.token_s) / (b.batch - a.batch)
    for index, point in enumerate(points):
        straight = max(1e-6, a.token_s + slope * (point.batch - a.batch))
        ours = straight if found is None else token_s(found, point.batch)
        both = ours if curve is None else sqrt(ours * _righted(group, probes, curve, index))
        made.append({"two_probes": both, "two_probes_line": ours, "straight_line": straight})
    return made


def _belief(group: Group, curve: Sequence[float]) -> Constants:
    """Return the unseen model's curve as the product's constants: nearest in relative error."""
    import numpy as np  # noqa: PLC0415 - of the extra `bench`
    from scipy import optimize  # noqa: PLC0415 - as above

    nnls = cast("Any", optimize).nnls
    rows = np.array([[1.0, spread(point.batch)] for point in group.points])
    line = np.array(curve)
    found = nnls(rows / line[:, None], np.ones(len(line)))[0]
    weights_s = max(1e-7, float(found[0]))
    least_s = _GROWTH * (weights_s + float(found[1]))
    return Constants(0.0, 0.0, weights_s, max(least_s, float(found[1])))


def _righted(group: Group, probes: tuple[int, int], curve: Sequence[float], index: int) -> float:
    """Return the curve multiplied so that it meets both probes; between them in log of batch."""
    points, (first, second) = group.points, probes
    offs = [log(points[one].token_s / curve[one]) for one in probes]
    way = log(points[index].batch / points[first].batch)
    share = way / log(points[second].batch / points[first].batch)
    return curve[index] * exp(offs[0] + (offs[1] - offs[0]) * min(1.0, max(0.0, share)))


def power_after(group: Group, probes: tuple[int, int]) -> list[float]:
    """Return watts at each batch once two were measured: a power of the batch, never falling.

    This is the curve that ``account.curve`` learns from meters: ``W ~ batch ^ exponent``, the
    exponent between 0 and 1.
    """
    a, b = group.points[probes[0]], group.points[probes[1]]
    exponent = log(b.power_w / a.power_w) / log(b.batch / a.batch)
    exponent = min(1.0, max(0.0, exponent))
    return [b.power_w * (one.batch / b.batch) ** exponent for one in group.points]
