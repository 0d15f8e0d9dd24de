"""``metabolic bench sessions``."""

__all__ = ["sessions"]

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from metabolic.bench.report import show

Flag = Annotated[bool, Parameter(negative="")]
Count = Annotated[int, Parameter(validator=Number(gte=1))]


def sessions(
    *,
    data: Path | None = None,
    sessions: Count = 300,
    seed: int = 0,
    quick: Flag = False,
    json: Flag = False,
) -> None:
    """Replay conversations routed turn by turn, as a whole, and by one model that stays warm.

    With --data it needs the extra `bench`.

    Args:
        data: A folder with traces (blocks of prompts) and price tables; else they are made up.
        sessions: At most so many conversations of each set.
        seed: Of all that is drawn.
        quick: 60 conversations of each set.
        json: Print one JSON object instead of tables.
    """
    from metabolic.bench.sessions import Options, run  # noqa: PLC0415 - `--help` does without

    show(run(Options(data=data, sessions=sessions, seed=seed, quick=quick)), as_json=json)
