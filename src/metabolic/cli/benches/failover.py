"""``metabolic bench failover``."""

__all__ = ["failover"]

from typing import Annotated

from cyclopts import Parameter

from metabolic.bench.failover import run
from metabolic.bench.report import show

Flag = Annotated[bool, Parameter(negative="")]


def failover(*, seed: int = 0, quick: Flag = False, json: Flag = False) -> None:
    """Commit faults upstream and say what became of each answer: pass, safe or fail.

    Args:
        seed: Changes nothing here; every benchmark has one.
        quick: Commit a few faults only, on the fake upstream (under 30 s).
        json: Print one JSON object instead of tables.
    """
    show(run(seed=seed, quick=quick), as_json=json)
