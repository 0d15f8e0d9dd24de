"""Where a draft may be given up while it is being written, and how that is learned.

Theory. A checkpoint stops a draft whose first ``k`` tokens have a mean log-probability below a
threshold. What it costs is drafts that would have been kept: they are paid for twice. Given ``n``
drafts that were kept, sorted by that mean, at most a share ``q`` of all such drafts lies below the
``j``-th smallest, with probability at least ``1 - delta``, when::

    P(Binomial(n, q) <= j - 1) <= delta

The largest such ``j`` gives the threshold; without one there are too few rows and no checkpoint.
Nothing is assumed of the distribution. Several checkpoints share ``q`` and ``delta`` equally.

A window lets a draft out above another threshold, and what that costs is drafts that would have
been refused: they are given. It is learned in the same way from the drafts that were refused, of
which at most a share ``q`` may lie above it.

Source: Wilks, "Determination of sample sizes for setting tolerance limits", Ann. Math. Stat. 1941.
"""

__all__ = ["NEVER", "Draft", "learn_checkpoints", "watched", "with_release"]

from collections.abc import Sequence
from math import exp, inf, log1p, nextafter

from msgspec import Struct
from msgspec.structs import replace

from metabolic.core.checkpoint import Checkpoint
from metabolic.core.decision import Stage
from metabolic.core.request import Ask
from metabolic.decide.tokens import FIRST, first_tokens

NEVER = -100.0
"""A mean log-probability (nats) that no draft falls below."""


class Draft(Struct, frozen=True, kw_only=True, gc=False):
    """One finished draft to learn from: its token log-probabilities, and whether it was kept.

    Instead of all of them ``firsts`` may be given: the means at the counts of ``tokens.FIRST``.
    """

    logprobs: tuple[float, ...] = ()
    kept: bool
    firsts: tuple[float, ...] = ()


def watched(
    stages: tuple[Stage, ...], ask: Ask, lane: str, checkpoints: Sequence[Checkpoint]
) -> tuple[Stage, ...]:
    """Return the stages with the checkpoints at which their drafts may be given up.

    Only a stage that is gated by confidence and has another after it; only answers of one choice,
    in the chat dialect, without tools and without log-probabilities for the client. The lane's own
    checkpoints go before those of all lanes.
    """
    if ask.dialect != "chat" or ask.n != 1 or not {"tools", "logprobs"}.isdisjoint(ask.needs):
        return stages
    return tuple(
        replace(one, checkpoints=_of(one.deployment, lane, checkpoints))
        if one.min_confidence is not None and one.rule == "confidence" and one is not stages[-1]
        else one
        for one in stages
    )


def _of(deployment: str, lane: str, checkpoints: Sequence[Checkpoint]) -> tuple[Checkpoint, ...]:
    """Return one deployment's checkpoints on a lane, by tokens."""
    mine = [one for one in checkpoints if one.deployment == deployment]
    own = [one for one in mine if one.lane == lane] or [one for one in mine if one.lane == "*"]
    return tuple(sorted(own, key=lambda one: one.tokens))


def learn_checkpoints(
    drafts: Sequence[Draft],
    *,
    deployment: str,
    lane: str = "*",
    counts: Sequence[int] = FIRST,
    max_missed_ratio: float = 0.05,
    delta: float = 0.1,
) -> tuple[Checkpoint, ...]:
    """Return the checkpoints these drafts allow; none where they are too few, or stop nothing.

    With probability ``1 - delta``, at most ``max_missed_ratio`` of the drafts that would be kept
    are given up, at all of ``counts`` together. ``counts`` are chosen without seeing the drafts.
    """
    share, risk = max_missed_ratio / len(counts), delta / len(counts)
    kept = [one for one in drafts if one.kept]
    rest = [one for one in drafts if not one.kept]
    rank = _rank(len(kept), share=share, delta=risk)
    if rank == 0:
        return ()
    found: list[Checkpoint] = []
    for count in sorted(set(counts)):
        # A draft that ends before the checkpoint is never given up there.
        sure = sorted(_first(one, count) for one in kept)[rank - 1]
        if sure < inf and any(_first(one, count) < sure for one in rest):
            one = Checkpoint(
                deployment=deployment, tokens=count, min_logprob=sure, lane=lane, rows=len(kept)
            )
            found.append(one)
    return tuple(found)


def with_release(  # noqa: PLR0913 - as above, and what was found there
    checkpoints: Sequence[Checkpoint],
    drafts: Sequence[Draft],
    *,
    deployment: str,
    lane: str = "*",
    counts: Sequence[int] = FIRST,
    max_missed_ratio: float = 0.05,
    delta: float = 0.1,
) -> tuple[Checkpoint, ...]:
    """Return the checkpoints with the thresholds at which a window lets a draft out.

    With probability ``1 - delta``, at most ``max_missed_ratio`` of the drafts that would be refused
    are let out, at all of ``counts`` together. A count without a threshold of its own to stop at
    gets one that never stops; where refused drafts are too few nothing is added.
    """
    share, risk = max_missed_ratio / len(counts), delta / len(counts)
    kept = [one for one in drafts if one.kept]
    refused = [one for one in drafts if not one.kept]
    rank = _rank(len(refused), share=share, delta=risk)
    made = {one.tokens: one for one in checkpoints}
    for count in sorted(set(counts)) if rank else ():
        # A draft that ends before the checkpoint is never let out there.
        means = [_first(one, count) for one in refused]
        worst = sorted((-inf if one == inf else one for one in means), reverse=True)[rank - 1]
        sure = max(nextafter(worst, inf), NEVER)
        if sure <= 0 and any(sure <= _first(one, count) < inf for one in kept):
            plain = Checkpoint(
                deployment=deployment, tokens=count, min_logprob=NEVER, lane=lane, rows=len(kept)
            )
            made[count] = replace(made.get(count, plain), release_logprob=sure)
    return tuple(made[count] for count in sorted(made))


def _first(draft: Draft, count: int) -> float:
    """Return the mean of the first tokens; infinite for a draft that ends before."""
    if draft.firsts and count in FIRST:
        at = FIRST.index(count)
        return draft.firsts[at] if at < len(draft.firsts) else inf
    mean = first_tokens(draft.logprobs, count)
    return inf if mean is None else mean


def _rank(n: int, *, share: float, delta: float) -> int:
    """Return the largest ``j`` with P(Binomial(n, share) <= j - 1) <= delta; 0 without one."""
    if share <= 0:
        return 0
    term = exp(n * log1p(-share)) if share < 1 else 0.0
    total, rank = term, 0
    while total <= delta and rank < n:
        rank += 1
        term *= (n - rank + 1) / rank * share / (1 - share) if share < 1 else 0.0
        total += term
    return rank
