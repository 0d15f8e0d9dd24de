"""``metabolic bench gateway``."""

__all__ = ["gateway"]

from typing import Annotated

from cyclopts import Parameter

from metabolic.bench.gateway import run
from metabolic.bench.report import show

Flag = Annotated[bool, Parameter(negative="")]


def gateway(*, seed: int = 0, quick: Flag = False, json: Flag = False) -> None:
    """Measure what the gateway adds to a request, against an upstream that costs nothing.

    Args:
        seed: Changes nothing here; every benchmark has one.
        quick: Take fewer and shorter windows (under 30 s).
        json: Print one JSON object instead of tables.
    """
    show(run(seed=seed, quick=quick), as_json=json)
