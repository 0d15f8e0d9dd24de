"""``metabolic bench certificate``."""

__all__ = ["certificate"]

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from metabolic.bench.report import show

Flag = Annotated[bool, Parameter(negative="")]
Count = Annotated[int, Parameter(validator=Number(gte=1))]


def certificate(  # noqa: PLR0913 - each is an option of the command
    *,
    data: Path | None = None,
    sets: tuple[str, ...] = (),
    splits: Count = 40,
    draws: Count = 10_000,
    delta: Annotated[float, Parameter(validator=Number(gt=0, lt=1))] = 0.1,
    seed: int = 0,
    quick: Flag = False,
    json: Flag = False,
) -> None:
    """Count how often certified thresholds lose too much, and what they keep and cost.

    Needs the extra `bench`. Without --data only the synthetic truth is drawn.

    Args:
        data: A folder with tables of stored answers.
        sets: Only these sets.
        splits: How often each set is split anew.
        draws: From the synthetic truth.
        delta: The chance of losing too much that is allowed.
        seed: Of splits and draws.
        quick: Two small sets, few splits and draws (under 30 s).
        json: Print one JSON object instead of tables.
    """
    from metabolic.bench.certificate import Options, run  # noqa: PLC0415 - `--help` does without

    options = Options(
        data=data, splits=splits, draws=draws, delta=delta, sets=sets, seed=seed, quick=quick
    )
    show(run(options), as_json=json)
