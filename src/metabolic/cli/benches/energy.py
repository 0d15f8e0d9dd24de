"""``metabolic bench energy``."""

__all__ = ["energy"]

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from metabolic.bench.energy import run
from metabolic.bench.report import show

Flag = Annotated[bool, Parameter(negative="")]


def energy(
    *, data: Path | None = None, seed: int = 0, quick: Flag = False, json: Flag = False
) -> None:
    """Measure whether the joules add up, and whether they reach those who drew them.

    Args:
        data: Folder with recordings of metered runs (Parquet); works without.
        seed: Fixes schedules, traffic and how runs are joined.
        quick: Take fewer schedules, seconds and windows (under 30 s).
        json: Print one JSON object instead of tables.
    """
    show(run(seed=seed, quick=quick, data=data), as_json=json)
