"""Prompts as a sparse matrix of grams and a small one of surface counts."""

__all__ = ["Prompts", "prompts_of"]

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from msgspec import Struct
from numpy.typing import NDArray

from metabolic.classify.features import look
from metabolic.classify.grams import BITS, MAX_CHARS, SURFACE, buckets, surface
from metabolic.classify.heads import Heads
from metabolic.core.request import Message, Request, Text

Matrix = NDArray[np.float64]


class Prompts(Struct, frozen=True, kw_only=True):
    """Prompts as a classifier sees them.

    ``grams`` is 0/1 by bucket, ``surface`` has counts, ``base`` what heads trained before say
    (no columns without them).
    """

    grams: Any
    surface: Matrix
    base: Matrix

    def rows(self, kept: NDArray[np.int64]) -> "Prompts":
        """Return some of the prompts."""
        return Prompts(grams=self.grams[kept], surface=self.surface[kept], base=self.base[kept])


def prompts_of(texts: Sequence[str], heads: Heads | None = None) -> Prompts:
    """Return the matrices of some texts, each taken as a single user turn.

    With ``heads`` their values are the base.
    """
    index: list[list[int]] = []
    counts: list[tuple[float, ...]] = []
    base: list[tuple[float, ...]] = []
    for text in texts:
        turn = Message(role="user", content=(Text(text=text),))
        seen = look(Request(id="", dialect="chat", model="", messages=(turn,)), max_chars=MAX_CHARS)
        index.append(sorted(buckets(seen.words)))
        counts.append(surface(seen))
        base.append(() if heads is None else heads.score(seen).values)
    ends = np.cumsum([0, *map(len, index)])
    columns = np.fromiter((one for row in index for one in row), np.int64, int(ends[-1]))
    grams = sp.csr_matrix(
        (np.ones(len(columns)), columns, ends), shape=(len(index), 1 << BITS), dtype=np.float64
    )
    return Prompts(
        grams=grams,
        surface=np.asarray(counts, dtype=np.float64).reshape(-1, len(SURFACE)),
        base=np.asarray(base, dtype=np.float64).reshape(len(index), -1),
    )
