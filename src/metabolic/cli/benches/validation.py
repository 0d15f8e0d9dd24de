"""``metabolic bench validation``."""

__all__ = ["validation"]

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from metabolic.bench.report import show
from metabolic.bench.validation import Options, run

Flag = Annotated[bool, Parameter(negative="")]


def validation(
    *,
    data: Path,
    items: Annotated[int, Parameter(validator=Number(gte=20))] = 3000,
    seed: int = 0,
    quick: Flag = False,
    json: Flag = False,
) -> None:
    """Measure how well the validators tell bad answers from good, on labelled sets.

    Args:
        data: A folder with Parquet files of labelled answers (needs the extra `bench`).
        items: Most items of each set.
        seed: Of the folds, the sample, and the numbers made wrong.
        quick: Read 150 items of each set (under 30 s).
        json: Print one JSON object instead of tables.
    """
    show(run(Options(data=data, items=items, seed=seed, quick=quick)), as_json=json)
