"""Which thresholds are safe: Learn-then-Test on the paired loss of one lane.

Theory. Every threshold of a grid that was fixed before the rows were seen stands for a claim: "kept
at this threshold, the mean loss is at least epsilon". The claims are tested in one order, from the
strictest threshold to the loosest, each at the full ``delta``, up to the first that is not refuted.
Stopping there makes all the refuted ones hold together with probability ``1 - delta`` (fixed-
sequence testing); several lanes share ``delta`` equally (Bonferroni), so that they hold jointly.

The loss of a row is 0 where the draft is not kept, else what the labeller thinks of it: 1 if it
prefers the reference's answer, -1 if it prefers the draft, 0 if it has no preference. Credit for
drafts that are better than the reference is what makes the test affordable, and it needs both
answers on every calibration row.

Source: Angelopoulos et al., "Learn then Test", Ann. Appl. Stat. 2025, arXiv 2110.01052.
"""

__all__ = ["GRID", "Pair", "Refutes", "Subject", "certify", "kept_losses", "place"]

from bisect import bisect_left
from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from metabolic.core.certificate import Certificate, Certified, Labeller
from metabolic.core.checkpoint import Checkpoint
from metabolic.core.metabolic import Level
from metabolic.decide.betting import labels_needed, refutes
from metabolic.decide.digest import digest

GRID = (0.995, 0.99, *(round(0.98 - 0.02 * step, 2) for step in range(49)))
"""Thresholds tested unless others are given, strictest first: 0.995 down to 0.02."""


class Refutes(Protocol):
    """A test of the claim that the mean of some losses is at least ``epsilon``."""

    def __call__(self, losses: Sequence[float], *, epsilon: float, delta: float) -> bool:
        """Say whether the claim is refuted at level ``delta``."""
        ...


class Pair(Struct, frozen=True, kw_only=True, gc=False):
    """One labelled row: the score of the small model's draft, and what keeping it would lose.

    ``confidence`` ``None``: the draft has no score, or is not well-formed, and is never kept.
    ``loss`` is in [-1, 1].
    """

    confidence: float | None
    loss: float


class Subject(Struct, frozen=True, kw_only=True):
    """What is certified: the lane, whose drafts, against whose answers, by whose word.

    ``checkpoints`` were in force for the rows: they do not depend on them.
    """

    lane: str
    deployment: str
    reference: str
    labeller: Labeller
    score: str
    models: tuple[str, ...] = ()
    partner: str | None = None
    checkpoints: tuple[Checkpoint, ...] = ()


def certify(  # noqa: PLR0913 - everything the certificate names
    rows: Sequence[Pair],
    subject: Subject,
    *,
    epsilon: float,
    delta: float,
    lanes: int = 1,
    grid: Sequence[float] = GRID,
    test: Refutes = refutes,
    seed: int = 0,
) -> Certificate:
    """Return the certificate of these rows; one without thresholds says why it was refused.

    ``rows`` are in random order (``seed`` is only noted). ``delta`` is the error probability of all
    ``lanes`` together. ``grid`` was chosen without these rows. ``test`` is another test than the
    betting test, for comparison.
    """
    share = delta / lanes
    passed, stopped = _walk(rows, grid, test, epsilon=epsilon, delta=share)
    useful = bool(passed) and passed[-1].kept_ratio > 0
    shown = kept_losses(rows, passed[-1].min_confidence) if useful else stopped
    made = Certificate(
        lane=subject.lane,
        deployment=subject.deployment,
        reference=subject.reference,
        labeller=subject.labeller,
        score=subject.score,
        max_loss_ratio=epsilon,
        p_exceed=share,
        rows=len(rows),
        labels_used=len(rows),
        labels_needed=labels_needed(shown, epsilon=epsilon, delta=share),
        family=f"bonferroni: {delta:g} over {lanes} lanes" if lanes > 1 else "one lane",
        thresholds=tuple(passed) if useful else (),
        tested=len(set(grid)),
        models=subject.models,
        partner=subject.partner,
        seed=seed,
        refused=None if useful else _why(rows, shown, epsilon=epsilon, delta=share),
        checkpoints=subject.checkpoints,
    )
    return replace(made, id=digest(made))


def _walk(
    rows: Sequence[Pair],
    grid: Sequence[float],
    test: Refutes,
    *,
    epsilon: float,
    delta: float,
) -> tuple[list[Certified], list[float]]:
    """Return the thresholds that pass, strictest first, and the losses at the first that fails.

    A threshold that keeps the same drafts as the one before it is the same claim, tested once.
    """
    passed: list[Certified] = []
    scores = sorted([one.confidence for one in rows if one.confidence is not None])
    before: int | None = None
    for threshold in sorted(set(grid), reverse=True):
        kept = len(scores) - bisect_left(scores, threshold)
        if kept != before:
            losses = kept_losses(rows, threshold)
            if not losses or not test(losses, epsilon=epsilon, delta=delta):
                return passed, losses
            passed.append(_certified(threshold, losses, kept=kept))
        else:
            passed.append(replace(passed[-1], min_confidence=threshold))
        before = kept
    return passed, []


def kept_losses(rows: Sequence[Pair], threshold: float) -> list[float]:
    """Return each row's loss at a threshold, 0 where the draft is not kept."""
    return [
        one.loss if one.confidence is not None and one.confidence >= threshold else 0.0
        for one in rows
    ]


def _certified(threshold: float, losses: Sequence[float], *, kept: int) -> Certified:
    """Return a threshold with what it kept and lost."""
    total = sum(losses)
    return Certified(
        min_confidence=threshold,
        kept_ratio=kept / len(losses),
        loss_ratio=total / len(losses),
        kept_loss_ratio=total / kept if kept else None,
    )


def _why(rows: Sequence[Pair], stopped: Sequence[float], *, epsilon: float, delta: float) -> str:
    """Return, in words, why nothing is certified."""
    fewest = labels_needed((), epsilon=epsilon, delta=delta)
    assert fewest is not None
    if len(rows) < fewest:
        return f"{len(rows)} labelled rows; {fewest} are needed even without a single loss"
    if all(one.confidence is None for one in rows):
        return "no draft has a score"
    if not any(stopped):
        return "no threshold of the grid keeps a draft"
    mean = sum(stopped) / len(stopped)
    needed = labels_needed(stopped, epsilon=epsilon, delta=delta)
    if needed is None:
        return f"already the strictest threshold that keeps drafts loses {mean:.3f} of all rows"
    return (
        f"the strictest threshold that keeps drafts loses {mean:.3f} of all rows, which"
        f" {len(rows)} rows cannot tell from {epsilon:g}; about {needed} would"
    )


def place(certificate: Certificate, *, level: Level, preference: float) -> Certified:
    """Return the threshold to use: the dial's place in the certified set, moved by heat.

    At preference 0 it is the strictest that keeps anything, at 1 the loosest. An elevated level
    moves it half of the way to the loosest, a critical one all the way, and never beyond.
    """
    usable = [one for one in certificate.thresholds if one.kept_ratio > 0]
    last = len(usable) - 1
    at = min(1.0, max(0.0, preference))
    if level == "elevated":
        at = (1 + at) / 2
    elif level == "critical":
        at = 1.0
    return usable[round(at * last)]
