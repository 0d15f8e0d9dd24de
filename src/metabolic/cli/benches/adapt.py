"""``metabolic bench adapt``."""

__all__ = ["adapt"]

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from metabolic.bench.adapt import Options, run
from metabolic.bench.report import show
from metabolic.config import load

Flag = Annotated[bool, Parameter(negative="")]


def adapt(
    *,
    config: Annotated[Path | None, Parameter(env_var="METABOLIC_CONFIG")] = None,
    seed: int = 0,
    quick: Flag = False,
    json: Flag = False,
) -> None:
    """Play heat, a used-up power budget, short memory and a low battery, and see what moves.

    A made machine is read by the real sensors; real engines answer what was decided, if their
    models are at hand.

    Args:
        config: The configuration file; only its energy and engine tables matter here.
        seed: Of the made machine.
        quick: Ask no engine (under 30 s).
        json: Print one JSON object instead of tables.
    """
    show(run(load(config), Options(seed=seed, quick=quick)), as_json=json)
