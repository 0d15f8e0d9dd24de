"""``metabolic bench load``."""

__all__ = ["load"]

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from metabolic.bench.report import show

Flag = Annotated[bool, Parameter(negative="")]


def load(
    *,
    seed: int = 0,
    requests: Annotated[int, Parameter(validator=Number(gte=100))] = 100_000,
    quick: Flag = False,
    json: Flag = False,
) -> None:
    """Play loads and days on simulated engines through the real decision and gates.

    Args:
        seed: Of the asks.
        requests: That the real runtime answers while its memory is watched.
        quick: Shorter loads, one day, 4,000 requests (under 30 s).
        json: Print one JSON object instead of tables.
    """
    from metabolic.bench.load import Options, run  # noqa: PLC0415 - `--help` does without

    show(run(Options(seed=seed, requests=requests, quick=quick)), as_json=json)
