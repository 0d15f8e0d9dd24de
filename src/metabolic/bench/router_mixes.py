"""Mixed traffic: several sets of one source as the labelled tasks of one tenant.

Within a set one model is often best throughout; what a table of lanes is for shows where tasks
differ. Sets belong together if their names begin alike (up to the first ``_``) and they have at
least two priced models in common.
"""

__all__ = ["MIX", "mixes"]

from collections.abc import Sequence

import numpy as np

from metabolic.train.outcomes import Outcomes

MIX = "mix of "
"""How the name of such a set begins."""


def mixes(found: Sequence[Outcomes]) -> tuple[Outcomes, ...]:
    """Return a set for every family of sets, its questions' categories being their sets."""
    families: dict[str, list[Outcomes]] = {}
    for one in found:
        families.setdefault(one.name.partition("_")[0], []).append(one)
    made = [_mixed(name, sets) for name, sets in sorted(families.items()) if len(sets) > 1]
    return tuple([one for one in made if one is not None])


def _mixed(name: str, sets: Sequence[Outcomes]) -> Outcomes | None:
    """Return the sets as one; ``None`` without two models that all of them know the prices of."""
    priced = [one for one in sets if _priced(one)]
    common = sorted(set[str].intersection(*map(_priced, priced))) if len(priced) > 1 else []
    if len(common) < 2:  # noqa: PLR2004 - a choice needs two
        return None
    parts = [one.columns([one.models.index(model) for model in common]) for one in priced]
    return Outcomes(
        name=f"{MIX}{name}",
        questions=tuple([text for one in parts for text in one.questions]),
        categories=tuple([one.name for one in parts for _ in one.questions]),
        keys=tuple([key for one in parts for key in one.keys]),
        models=tuple(common),
        scores=np.concatenate([one.scores for one in parts]),
        costs=np.concatenate([one.costs for one in parts]),
    )


def _priced(one: Outcomes) -> set[str]:
    """Return the models whose every call has a known cost."""
    return {model for j, model in enumerate(one.models) if not np.isnan(one.costs[:, j]).any()}
