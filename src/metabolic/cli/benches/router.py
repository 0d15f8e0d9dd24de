"""``metabolic bench router``."""

__all__ = ["router"]

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from metabolic.bench.report import show
from metabolic.core.errors import ConfigError

Flag = Annotated[bool, Parameter(negative="")]
Count = Annotated[int, Parameter(validator=Number(gte=1))]


def router(  # noqa: PLR0913 - one keyword for each option
    *,
    data: Path | None = None,
    sets: tuple[str, ...] = (),
    weights: Path | None = None,
    unseen_only: Flag = False,
    splits: Count = 10,
    workers: Count = 2,
    seed: int = 0,
    quick: Flag = False,
    json: Flag = False,
) -> None:
    """Measure how well queries are known and models chosen, beside simple baselines.

    Args:
        data: A folder with tables of outcomes: every set in it gets its rows.
        sets: Only sets whose names begin so.
        weights: Heads made by `metabolic train` to use as the shipped ones.
        unseen_only: Leave out the questions the weights were trained on.
        splits: How many halvings of each kind.
        workers: How many processes work on sets.
        seed: Of the splits and resamples.
        quick: Few questions, two splits, four sets (under 30 s).
        json: Print one JSON object instead of tables.
    """
    try:
        from metabolic.bench.router import Options, run  # noqa: PLC0415 - NumPy is an extra
    except ImportError as exc:
        message = "this benchmark needs NumPy and SciPy: pip install 'metabolic[bench]'"
        raise ConfigError(message) from exc
    options = Options(
        data=data,
        sets=sets,
        weights=weights,
        unseen_only=unseen_only,
        splits=splits,
        workers=workers,
        seed=seed,
        quick=quick,
    )
    show(run(options), as_json=json)
