"""``metabolic bench estimators``."""

__all__ = ["estimators"]

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from metabolic.bench.report import show

Flag = Annotated[bool, Parameter(negative="")]


def estimators(
    *, data: Path | None = None, seed: int = 0, quick: Flag = False, json: Flag = False
) -> None:
    """Foretell times and joules of tokens: for unseen models, and after two probes.

    Needs the extra `bench`.

    Args:
        data: A folder with tables of measured serving configurations.
        seed: Of the resampled intervals, and of what --quick picks.
        quick: Thirty deployments (under 30 s).
        json: Print one JSON object instead of tables.
    """
    from metabolic.bench.estimators import Options, run  # noqa: PLC0415 - `--help` does without

    show(run(Options(data=data, seed=seed, quick=quick)), as_json=json)
