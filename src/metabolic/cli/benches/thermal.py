"""``metabolic bench thermal``."""

__all__ = ["thermal"]

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from metabolic.bench.report import show
from metabolic.bench.thermal import Options, run

Flag = Annotated[bool, Parameter(negative="")]


def thermal(
    *,
    data: Path | None = None,
    seeds: Annotated[int, Parameter(validator=Number(gte=1))] = 4,
    seed: int = 0,
    quick: Flag = False,
    json: Flag = False,
) -> None:
    """Check forecasts of heat on simulated devices, and the power model on recordings.

    Args:
        data: A folder with recordings of power (needs the extra `bench`).
        seeds: Devices drawn for each kind and scenario.
        seed: Of all that is drawn.
        quick: Fewer and shorter runs (under 30 s).
        json: Print one JSON object instead of tables.
    """
    show(run(Options(data=data, seeds=seeds, seed=seed, quick=quick)), as_json=json)
