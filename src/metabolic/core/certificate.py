"""What was proved, on labelled answers, of keeping a small model's drafts."""

__all__ = ["Certificate", "Certified", "Labeller"]

from typing import Literal

from msgspec import Struct

from metabolic.core.checkpoint import Checkpoint

Labeller = Literal["exact_match", "deterministic_check", "user_feedback", "judge"]
"""Who said which of two answers is better; a certificate is never better than its labeller."""


class Certified(Struct, frozen=True, kw_only=True, gc=False):
    """One threshold that passed the test, with what it kept and lost on the calibration rows.

    ``loss_ratio`` is the mean loss among all rows, ``kept_loss_ratio`` among those kept (``None``:
    nothing was kept). Both are in [-1, 1]; below 0 the kept drafts were the better ones.
    """

    min_confidence: float
    kept_ratio: float
    loss_ratio: float
    kept_loss_ratio: float | None = None


class Certificate(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Thresholds at which one deployment's drafts may be kept on one lane, or why there are none.

    With probability ``1 - p_exceed`` over the draw of the calibration rows, every threshold in
    ``thresholds`` (strictest first) has a true loss of at most ``max_loss_ratio``: the share of
    queries where ``labeller`` prefers the answer of ``reference`` to the kept draft, less the share
    where it prefers the draft. It holds for queries like the calibration rows, for the scorer
    named in ``score`` and the models in ``models`` (ids of deployment and reference), for no other.

    With a ``partner`` the score is agreement: a draft is kept when it says in the end what the
    partner's says; 1 if so, 0 if not. Models then name the partner's last.

    ``family`` says how the error probability was split over lanes. ``labels_needed`` estimates the
    rows the test takes (``None``: no number would do). ``refused`` says why nothing is certified.
    ``checkpoints`` were in force when it was tested: a draft given up at one was not kept.
    """

    lane: str
    deployment: str
    reference: str
    labeller: Labeller
    score: str
    max_loss_ratio: float
    p_exceed: float
    rows: int
    labels_used: int
    labels_needed: int | None = None
    family: str = ""
    thresholds: tuple[Certified, ...] = ()
    tested: int = 0
    method: str = "betting"
    models: tuple[str, ...] = ()
    partner: str | None = None
    seed: int = 0
    refused: str | None = None
    checkpoints: tuple[Checkpoint, ...] = ()
    id: str = ""
