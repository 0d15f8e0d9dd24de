"""What bounds a shadow, what it tries out, and what one look at a request finds."""

__all__ = ["Found", "Line", "ShadowRules"]

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from metabolic.core.fleet import Deployment, Situation
from metabolic.core.labels import Label
from metabolic.core.request import Ask, Request
from metabolic.core.shadow import ShadowRow
from metabolic.core.signals import Signals
from metabolic.decide.estimate import Prepared
from metabolic.execute.drive import Driver


class Found(Struct, frozen=True, kw_only=True):
    """What was learned: the row, labels of both answers, and texts.

    ``certified`` is the lane whose certificate the decision went by (``None``: none). Texts are the
    question, the draft and the answer.
    """

    row: ShadowRow
    labels: tuple[Label, ...] = ()
    certified: str | None = None
    texts: tuple[str, ...] = ()


class ShadowRules(Struct, frozen=True, kw_only=True):
    """What bounds a shadow; meanings as in ``[shadow]``.

    ``reference`` is the upstream's deployment, ``references`` those of its models, by model.
    """

    reference: str
    references: Mapping[str, str]
    candidates: tuple[str, ...]
    sample_ratio: float = 0.05
    concurrency: int = 1
    queue: int = 64
    busy_in_flight: int = 16
    max_usd_per_day: float | None = None
    max_energy_j_per_day: float | None = None
    judge: str | None = None
    keep_texts: bool = False
    seed: int = 0


class Line(Protocol):
    """What a shadow needs of the line it tries out."""

    @property
    def driver(self) -> Driver:
        """Return what runs are driven with."""
        ...

    def classify(self, request: Request, ask: Ask) -> Signals:
        """Return the signals."""
        ...

    def situation(self) -> Situation:
        """Return the situation now."""
        ...

    def prepared(self) -> Prepared:
        """Return the policy in force."""
        ...

    def fleet(self) -> Mapping[str, Deployment]:
        """Return deployments by name."""
        ...

    async def keep(self, found: Found) -> None:
        """Take what was learned; texts are in it only where keeping them is allowed."""
        ...
