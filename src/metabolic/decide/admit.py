"""How much a deployment may work on at once, and who is let in next.

Theory. Answers in flight share a step, so more of them raise throughput and the time of a token
together. The limit therefore follows what is measured, by additive increase and multiplicative
decrease: an answer whose tokens took longer than ``slow_ratio`` times those of a lone answer, that
timed out or was refused as too many lowers it by a tenth, at most once for each limit's worth of
answers; one that went well while the limit was reached raises it by its share of one. A limit that
is not reached is not raised: nothing was learned. Memory pressure and heat lower what is in force
at once, without touching what was learned.

Who waits is let in by priority, then by deadline, then in order of arrival; who cannot be
answered in time is refused at once, with the time after which it is worth asking again.

The cache is counted in whole blocks, as engines allot it. An answer comes in only if it fits with
all it may still write, beside what the others may: an engine is never driven into preemption. An
answer that is alone comes in though it might write more than fits: it will never fit better. One
whose prompt alone is more than the whole cache never does.

Source: additive increase and multiplicative decrease: Chiu and Jain, 1989; earliest deadline
first: Liu and Layland, 1973; blocks: Kwon et al., PagedAttention, 2023.
"""

__all__ = [
    "Flow",
    "Rules",
    "Ticket",
    "fits",
    "in_force",
    "late",
    "learned",
    "order",
    "wait_s",
]

from math import ceil, inf

from msgspec import Struct
from msgspec.structs import replace

_DECREASE = 0.9
_KV_SHARE = 0.95
"""Share of the cache that is allotted; the rest is what the guesses of lengths are off by."""

_BASE_FORGET = 0.999
_NEVER_BELOW = 1.0


class Rules(Struct, frozen=True, kw_only=True):
    """``most`` answers at once; slower than ``slow_ratio`` lone answers is too slow."""

    most: int = 64
    start: int = 8
    slow_ratio: float = 3.0
    queue: int = 64
    wait_s: float = 30.0


class Flow(Struct, frozen=True, kw_only=True):
    """What is remembered of one deployment: its limit, and the time of a lone answer's token.

    ``since`` counts answers since the limit was last lowered.
    """

    limit: float
    base_s: float | None = None
    since: int = 0


class Ticket(Struct, frozen=True, kw_only=True):
    """One call that wants in: its place in line, and the cache it may come to fill.

    ``due_s`` is when it must be answered (monotonic; ``None``: whenever), ``answer_s`` how long
    its answer probably takes, ``tokens`` its prompt and all it may write, ``least`` its prompt
    alone: in tokens, or in bytes where the shape of the model's cache is known.
    """

    number: int
    priority: int = 0
    due_s: float | None = None
    answer_s: float = 0.0
    tokens: int = 0
    least: int = 0


def learned(
    flow: Flow, rules: Rules, *, token_s: float | None, reached: bool, refused: bool = False
) -> Flow:
    """Return the flow after an answer; ``token_s`` is what each token of it took.

    ``reached``: the limit was, when it came in. ``refused``: it was turned away or timed out.
    """
    base_s = flow.base_s
    if token_s is not None and token_s > 0.0:
        base_s = token_s if base_s is None else min(base_s / _BASE_FORGET, token_s)
    slow = token_s is not None and base_s is not None and token_s > rules.slow_ratio * base_s
    if slow or refused:
        if flow.since < flow.limit and not refused:
            return replace(flow, base_s=base_s, since=flow.since + 1)
        return Flow(limit=max(_NEVER_BELOW, flow.limit * _DECREASE), base_s=base_s, since=0)
    limit = flow.limit
    if reached and token_s is not None:
        limit = min(float(rules.most), limit + 1.0 / limit)
    return Flow(limit=limit, base_s=base_s, since=flow.since + 1)


def in_force(
    flow: Flow, *, throttle_risk_ratio: float | None = None, memory_ratio: float | None = None
) -> int:
    """Return how many answers may be worked on now: less while it is hot or memory is short.

    Below half, neither moves anything; at 1 each leaves a quarter. Unknown moves nothing.
    """
    worst = max(throttle_risk_ratio or 0.0, memory_ratio or 0.0)
    share = 1.0 if worst <= 0.5 else 1.0 - 1.5 * (min(1.0, worst) - 0.5)  # noqa: PLR2004
    return max(1, int(flow.limit * share))


def order(ticket: Ticket) -> tuple[int, float, int]:
    """Return what waiting tickets are sorted by: the first is let in next."""
    due_s = inf if ticket.due_s is None else ticket.due_s
    return -ticket.priority, due_s, ticket.number


def wait_s(ahead: int, limit: int, answer_s: float) -> float:
    """Return how long one waits behind ``ahead`` others when ``limit`` are answered at once."""
    return ceil((ahead + 1) / max(1, limit)) * answer_s if answer_s > 0 else 0.0


def late(ticket: Ticket, *, now_s: float, ahead: int, limit: int) -> bool:
    """Say whether it can no longer be answered in time."""
    if ticket.due_s is None:
        return False
    queue_s = wait_s(ahead, limit, ticket.answer_s) if ahead >= 0 else 0.0
    return now_s + queue_s + ticket.answer_s > ticket.due_s


def fits(
    tokens: int, *, held: int, used_ratio: float | None, capacity: int | None, block: int = 16
) -> bool:
    """Say whether an answer's cache fits beside what is ``held`` for others.

    ``used_ratio`` is what the engine says is in use, others' answers among it; the larger of both
    counts. ``capacity`` in tokens; ``None`` is unknown and refuses nobody.
    """
    if capacity is None or capacity <= 0:
        return True
    used = max(held, int((used_ratio or 0.0) * capacity))
    if used <= 0:
        return True
    return used + ceil(tokens / block) * block <= _KV_SHARE * capacity
