"""``metabolic bench speculation``."""

__all__ = ["speculation"]

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from metabolic.bench.report import show
from metabolic.config import load

Flag = Annotated[bool, Parameter(negative="")]


def speculation(  # noqa: PLR0913 - one for each option
    *,
    config: Annotated[Path | None, Parameter(env_var="METABOLIC_CONFIG")] = None,
    repetitions: Annotated[int, Parameter(validator=Number(gte=1))] = 5,
    seed: int = 0,
    simulated: Flag = False,
    save: Path | None = None,
    quick: Flag = False,
    json: Flag = False,
) -> None:
    """Ask local models with and without speculation, and see whether the gate knows which.

    Without models on this machine the servers are simulated, and the report says so.

    Args:
        config: The configuration file; it says where models are kept.
        repetitions: How often each prompt is asked of each server.
        seed: Of the resampled intervals.
        simulated: Ask simulated servers even where models are here.
        save: Keep the answers in this file, and go on with those it has.
        quick: Two kinds of prompts on the smallest model (under 30 s).
        json: Print one JSON object instead of tables.
    """
    from metabolic.bench.speculation import Options, run  # noqa: PLC0415 - `--help` does without

    options = Options(
        repetitions=repetitions, seed=seed, quick=quick, simulated=simulated, save=save
    )
    show(run(load(config), options), as_json=json)
