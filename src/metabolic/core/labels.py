"""A labelled answer as it is kept: whose it was, on which lanes, how good, and who says so."""

__all__ = ["Judge", "Label"]

from typing import Literal

from msgspec import Struct

Judge = Literal[
    "user_feedback", "deterministic_check", "exact_match", "agreement", "judge", "anchor"
]
"""Who says how good an answer is."""


class Label(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One label; no text. It is a line of the file of labels, and all that learning needs.

    ``id`` is the request's; ``by`` labels one deployment's answer to it once. ``correct`` is in
    [0, 1]; ``preference`` is ``draft``, ``reference`` or ``tie``: of the two one is given.
    ``lane`` is the one certificates know, ``lanes`` are those of the table, narrowest first and
    without cuts, ``yes`` the questions (``decide.clusters``) whose answer is yes. ``shadow``: the
    client never got this answer. ``propensity`` is the chance, above 0, with which it was asked
    for. ``alone`` is false for an answer that a gate kept or passed on: no fair sample of its
    deployment's, so it does not count for the table.
    """

    id: str
    at_s: float
    tenant: str | None = None
    lane: str = "*"
    lanes: tuple[str, ...] = ()
    yes: tuple[str, ...] = ()
    deployment: str | None = None
    variant: str | None = None
    correct: float | None = None
    preference: str | None = None
    by: Judge = "user_feedback"
    shadow: bool = False
    propensity: float = 1.0
    alone: bool = True

    @property
    def name(self) -> str:
        """Return what no two labels share: the request, and for a shadow answer whose and who."""
        if not self.shadow:
            return self.id
        return f"{self.id}/{self.deployment}:{self.variant or ''}/{self.by}"
