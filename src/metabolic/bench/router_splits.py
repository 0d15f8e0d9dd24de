"""Which questions teach and which are reported: at random, and by domains never seen."""

__all__ = ["Split", "splits"]

from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from metabolic.train.outcomes import Outcomes

Kind = Literal["random", "unseen_domain"]

_MIN_DOMAINS = 4
_MIN_PART = 20


class Split(Struct, frozen=True, kw_only=True):
    """Two halves of a set's questions: ``train`` teaches, ``test`` is reported."""

    train: NDArray[np.int64]
    test: NDArray[np.int64]


def splits(outcomes: Outcomes, kind: Kind, *, count: int, seed: int) -> tuple[Split, ...]:
    """Return ``count`` halvings of a set; none where it has too few domains for the kind.

    Questions that are the same (by key) stay on one side.
    """
    groups = np.asarray(outcomes.keys if kind == "random" else outcomes.categories)
    names = np.unique(groups)
    if kind == "unseen_domain" and len(names) < _MIN_DOMAINS:
        return ()
    made: list[Split] = []
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        known = set(rng.permutation(names)[: len(names) // 2].tolist())
        inside = np.array([name in known for name in groups.tolist()])
        train, test = np.where(inside)[0], np.where(~inside)[0]
        if min(len(train), len(test)) >= _MIN_PART:
            made.append(Split(train=rng.permutation(train), test=test))
    return tuple(made)
