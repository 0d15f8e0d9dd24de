"""Checkpoints of a certificate: learned on some drafts, in force while others are tested.

A draft that is given up at a checkpoint is not kept, so whatever is tested must be tested with the
checkpoints in force, and they must not depend on the rows of the test. They are learned from
drafts nobody labelled, where the ledger has them (only what the gate did with them is needed), else
from a share of the labelled rows, which the test then does without.
"""

__all__ = ["Drafted", "learned", "with_checkpoints"]

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from metabolic.calibrate.rows import Labelled
from metabolic.core.checkpoint import Checkpoint
from metabolic.decide.certificate import Pair, kept_losses
from metabolic.decide.checkpoints import Draft, learn_checkpoints
from metabolic.decide.tokens import FIRST


class Drafted(Struct, frozen=True, kw_only=True):
    """A draft without a label: whose and of which lane, its first tokens, and was it kept."""

    lane: str
    deployment: str
    firsts: tuple[float, ...]
    kept: bool


def learned(  # noqa: PLR0913 - rows, drafts, and what is asked of both
    rows: Sequence[Labelled],
    drafts: Sequence[Drafted],
    *,
    deployment: str,
    lane: str,
    epsilon: float,
    share: float,
    grid: Sequence[float],
) -> tuple[tuple[Checkpoint, ...], list[Labelled]]:
    """Return the checkpoints, and the rows that are left for the test.

    ``rows`` are in random order. ``share`` of them teach where ``drafts`` are too few for any
    checkpoint; 0 learns nothing of labelled rows. Where nothing is learned all rows are left.
    """
    if drafts:
        found = _learn(
            [Draft(firsts=one.firsts, kept=one.kept) for one in drafts],
            deployment=deployment,
            lane=lane,
        )
        if found:
            return found, list(rows)
    cut = int(share * len(rows))
    if not cut or not any(one.firsts for one in rows):
        return (), list(rows)
    teach, test = rows[:cut], list(rows[cut:])
    least = _naive(teach, epsilon=epsilon, grid=grid)
    if least is None:
        return (), test
    taught = [
        Draft(firsts=one.firsts, kept=one.confidence is not None and one.confidence >= least)
        for one in teach
    ]
    return _learn(taught, deployment=deployment, lane=lane), test


def _learn(drafts: Sequence[Draft], *, deployment: str, lane: str) -> tuple[Checkpoint, ...]:
    """Return what these drafts allow: all counts, else the first few, else the earliest alone."""
    for counts in (FIRST, FIRST[:2], FIRST[:1]):
        found = learn_checkpoints(drafts, deployment=deployment, lane=lane, counts=counts)
        if found:
            return found
    return ()


def _naive(rows: Sequence[Labelled], *, epsilon: float, grid: Sequence[float]) -> float | None:
    """Return the loosest threshold that loses little on these rows, proved or not; ``None``: none.

    Only what is kept there can be missed by a checkpoint; that costs, and endangers no bound.
    """
    pairs = [Pair(confidence=one.confidence, loss=one.loss) for one in rows]
    fitting = [one for one in grid if sum(kept_losses(pairs, one)) <= epsilon * len(pairs)]
    return min(fitting, default=None)


def with_checkpoints(rows: Sequence[Labelled], checkpoints: Sequence[Checkpoint]) -> list[Labelled]:
    """Return the rows as they would be with the checkpoints: what is given up is not kept."""
    return [replace(one, confidence=None) if _given_up(one, checkpoints) else one for one in rows]


def _given_up(row: Labelled, checkpoints: Sequence[Checkpoint]) -> bool:
    """Say whether a draft is below a checkpoint's threshold; one that is not known is not."""
    means = dict(zip(FIRST, row.firsts, strict=False))
    return any(one.tokens in means and means[one.tokens] < one.min_logprob for one in checkpoints)
