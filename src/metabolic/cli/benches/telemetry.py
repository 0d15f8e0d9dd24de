"""``metabolic bench telemetry``."""

__all__ = ["telemetry"]

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from metabolic.bench.report import show
from metabolic.bench.telemetry import run

Flag = Annotated[bool, Parameter(negative="")]


def telemetry(
    *, data: Path | None = None, seed: int = 0, quick: Flag = False, json: Flag = False
) -> None:
    """Compare what sensors read of recordings with what the recordings say.

    Args:
        data: A folder with recordings, found by what they hold; without one small ones are made.
        seed: Changes nothing here; every benchmark has one.
        quick: Measure costs and the probe's period for less long (under 30 s).
        json: Print one JSON object instead of tables.
    """
    show(run(data=data, seed=seed, quick=quick), as_json=json)
