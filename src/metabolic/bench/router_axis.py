"""What a call costs in a table of outcomes: dollars if known, else modelled joules."""

__all__ = ["Axis", "axis_of"]

from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from metabolic.account.work import remote_energy_j
from metabolic.core.fleet import Model
from metabolic.train.families import active_parameters, tier_of
from metabolic.train.outcomes import Outcomes

Matrix = NDArray[np.float64]

_CHARS_PER_TOKEN = 4.0
_OUTPUT_TOKENS = 256
_MIN_SIZE_RATIO = 2.0


class Axis(Struct, frozen=True, kw_only=True):
    """What a call costs: ``usd`` as reported or derived, else ``joules`` modelled by size."""

    unit: Literal["usd", "joules"]
    costs: Matrix


def axis_of(outcomes: Outcomes) -> Axis | None:
    """Return what calls cost, in USD if all are known, else modelled joules of open weights.

    Joules say something only of models whose sizes are in their names and differ.
    """
    if not np.isnan(outcomes.costs).any():
        return Axis(unit="usd", costs=outcomes.costs)
    sizes = [active_parameters(name) for name in outcomes.models if "b" in name.lower()]
    known = [size for size in sizes if size is not None]
    if len(known) < len(outcomes.models) or max(known) < _MIN_SIZE_RATIO * min(known):
        return None
    tokens = [round(len(text) / _CHARS_PER_TOKEN) for text in outcomes.questions]
    columns: list[list[float]] = []
    for name, size in zip(outcomes.models, known, strict=True):
        model = Model(id=name, tier=tier_of(name) or "medium", active_parameters=int(size))
        columns.append(
            [remote_energy_j(model, input_tokens=n, output_tokens=_OUTPUT_TOKENS) for n in tokens]
        )
    return Axis(unit="joules", costs=np.array(columns).T)
