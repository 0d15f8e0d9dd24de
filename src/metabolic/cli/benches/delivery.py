"""``metabolic bench delivery``."""

__all__ = ["delivery"]

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from metabolic.bench.delivery import Options, run
from metabolic.bench.report import show
from metabolic.config import load

Flag = Annotated[bool, Parameter(negative="")]
Count = Annotated[int, Parameter(validator=Number(gte=1))]


def delivery(  # noqa: PLR0913 - one for each flag
    *,
    config: Annotated[Path | None, Parameter(env_var="METABOLIC_CONFIG")] = None,
    questions: Count = 60,
    tokens: Annotated[int, Parameter(validator=Number(gte=8))] = 32,
    draft: str | None = None,
    large: str | None = None,
    seed: int = 0,
    quick: Flag = False,
    json: Flag = False,
) -> None:
    """Ask a real cascade every question by every mode of delivery: first words, total, CPU.

    Args:
        config: The configuration file; the default fleet without one.
        questions: How many questions, each asked by every mode.
        tokens: The longest answer.
        draft: The deployment that drafts; with `large`, instead of the two smallest.
        large: The deployment it escalates to.
        seed: Of the questions and their order.
        quick: Ask two questions (under 30 s).
        json: Print one JSON object instead of tables.
    """
    options = Options(
        count=questions, tokens=tokens, draft=draft, large=large, seed=seed, quick=quick
    )
    show(run(load(config), options), as_json=json)
