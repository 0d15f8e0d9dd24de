"""``metabolic bench shadow``."""

__all__ = ["shadow"]

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from metabolic.bench.report import show

Flag = Annotated[bool, Parameter(negative="")]


def shadow(
    *,
    questions: Annotated[int, Parameter(validator=Number(gte=1))] = 69,
    preference: Annotated[float, Parameter(validator=Number(gte=0, lte=1))] = 0.5,
    price_ratio: Annotated[float, Parameter(validator=Number(gt=0))] = 3.14,
    seed: int = 0,
    quick: Flag = False,
    json: Flag = False,
) -> None:
    """Foretell a switch in the shadow of a real upstream, switch, and compare.

    Args:
        questions: Asked at most before the switch, and as many others after it.
        preference: The dial after the switch: 0 is quality, 1 is thrift.
        price_ratio: The large model's price over the small one's; by parameters 3.14.
        seed: Of the draw that splits the questions.
        quick: Fakes instead of models (under 30 s).
        json: Print one JSON object instead of tables.
    """
    from metabolic.bench.shadow import Options, run  # noqa: PLC0415 - `--help` does without

    options = Options(
        questions=questions,
        preference=preference,
        price_ratio=price_ratio,
        seed=seed,
        quick=quick,
    )
    show(run(options), as_json=json)
