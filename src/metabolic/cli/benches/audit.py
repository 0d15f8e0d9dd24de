"""``metabolic bench audit``."""

__all__ = ["audit"]

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from metabolic.bench.report import show

Flag = Annotated[bool, Parameter(negative="")]
Count = Annotated[int, Parameter(validator=Number(gte=1))]


def audit(
    *,
    data: Path | None = None,
    logs: Count = 150,
    rows: Count = 5_000_000,
    seed: int = 0,
    quick: Flag = False,
    json: Flag = False,
) -> None:
    """Count how often the audit's interval holds the true saving; time it on a long log.

    Needs the extras `audit` and `bench`. Without --data only made-up outcomes are drawn from.

    Args:
        data: A folder with traces and tables of outcomes.
        logs: How many logs are drawn and audited.
        rows: Of the log that is read for speed and memory.
        seed: Of everything that is drawn.
        quick: Few logs and rows (under 30 s).
        json: Print one JSON object instead of tables.
    """
    from metabolic.bench.audit import Options, run  # noqa: PLC0415 - `--help` does without

    show(run(Options(data=data, logs=logs, rows=rows, seed=seed, quick=quick)), as_json=json)
