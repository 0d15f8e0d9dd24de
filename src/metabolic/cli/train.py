"""``metabolic train``: make the weights of the learned classifier."""

__all__ = ["train"]

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from metabolic.core.errors import ConfigError

Flag = Annotated[bool, Parameter(negative="")]
Share = Annotated[float, Parameter(validator=Number(gt=0, lte=1))]


def train(
    data: Path,
    *,
    out: Path = Path("heads"),
    deployments: Flag = False,
    share: Share = 1.0,
    seed: int = 0,
) -> None:
    """Learn from tables of outcomes which questions models of each size get wrong.

    Writes heads.bin, heads.keys and MODEL_CARD.md. Equal data and seed give equal files. Use them
    with `routing.classifier = {kind = "learned", weights = "…/heads.bin"}`.

    Args:
        data: A folder with tables of outcomes: dataset, query_id, query, category, model, score,
            cost_usd.
        out: The folder to write to.
        deployments: The data are your own and its models are your deployments: a head for each.
            Without it only sets are used whose licence is known to allow it.
        share: Use this share of the questions, the rest is left for measuring.
        seed: Which questions those are.
    """
    try:
        from metabolic.train.outcomes import read  # noqa: PLC0415 - NumPy is an extra
        from metabolic.train.shipped import save  # noqa: PLC0415 - as above
        from metabolic.train.shipped import train as fitted  # noqa: PLC0415 - as above
    except ImportError as exc:
        message = "training needs NumPy and SciPy: pip install 'metabolic[bench]'"
        raise ConfigError(message) from exc
    sets, _ = read(data)
    made = fitted(sets, seed=seed, share=share, own=deployments)
    save(made, out)
    heads = ", ".join(
        f"{name} ({rows})" for name, rows in zip(made.columns, made.rows, strict=True)
    )
    print(f"{out}: {heads}")
