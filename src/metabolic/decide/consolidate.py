"""How many replicas must be awake, and whether easy work is worth models of its own.

Joules leave the meter only when a replica sleeps, so the question is never what an answer costs
but what the whole fleet draws: awake replicas their idle power, sleeping ones less, every answer
its marginal joules. A pool is awake enough when the rate it gets is at most ``HEADROOM`` of what
it can answer in time. Easy work goes to the small models while the fleet as a whole draws less for
it, by more than ``MARGIN``; while it does not, they sleep and the large ones answer everything.

Replicas wake as soon as they are needed and fall asleep only when fewer are needed and they have
been idle for as long as the joules of waking would have kept them idle: whoever waits so long
never pays more than twice what one who knew the future would.

Source: the break-even rule: Karlin et al., Competitive randomized algorithms (ski rental), 1994.
"""

__all__ = [
    "HEADROOM",
    "MARGIN",
    "Moves",
    "Pool",
    "Rate",
    "Replica",
    "Split",
    "break_even_s",
    "draw_w",
    "follow",
    "moves",
    "needed",
    "split",
]

from collections.abc import Sequence
from math import ceil

from msgspec import Struct
from msgspec.structs import replace

HEADROOM = 0.7
MARGIN = 0.05
_FAST_S, _SLOW_S = 20.0, 90.0
"""Seconds over which a rate is followed: what rises is seen soon, what falls late."""


class Pool(Struct, frozen=True, kw_only=True):
    """Replicas of one model: each answers ``rate_per_s`` in time, at ``answer_j`` above idle.

    ``wake_s`` and ``wake_j`` are measured: what it takes until a sleeping one answers.
    """

    name: str
    replicas: int
    rate_per_s: float
    answer_j: float
    idle_w: float
    asleep_w: float
    wake_s: float
    wake_j: float


class Split(Struct, frozen=True, kw_only=True):
    """Who gets the easy work, how many of each pool must be awake, and what that draws.

    ``credit_j`` is what splitting would have saved since it began to pay without being done.
    """

    apart: bool = False
    large: int = 1
    small: int = 0
    watts: float = 0.0
    credit_j: float = 0.0


def needed(pool: Pool, per_s: float, *, least: int = 0) -> int:
    """Return how many replicas must be awake for a rate of answers.

    Raises:
        ZeroDivisionError: the pool answers nothing.
    """
    return min(pool.replicas, max(least, ceil(per_s / (HEADROOM * pool.rate_per_s) - 1e-9)))


def draw_w(pool: Pool, awake: int, per_s: float) -> float:
    """Return what a pool draws with so many awake at a rate of answers."""
    asleep = pool.replicas - awake
    return awake * pool.idle_w + asleep * pool.asleep_w + per_s * pool.answer_j


def split(
    large: Pool,
    small: Pool | None,
    *,
    easy_per_s: float,
    hard_per_s: float,
    before: Split,
    seconds: float,
) -> Split:
    """Return how the work is split, ``seconds`` after it was split as ``before``.

    One large replica stays awake: something always answers at once. Small ones are woken when
    what they would have saved has paid for waking them.
    """
    rate = easy_per_s + hard_per_s
    count = needed(large, rate, least=1)
    rest = 0.0 if small is None else draw_w(small, 0, 0.0)
    together = Split(large=count, watts=draw_w(large, count, rate) + rest)
    if small is None or easy_per_s > HEADROOM * small.replicas * small.rate_per_s:
        return together
    some, few = needed(large, hard_per_s, least=1), needed(small, easy_per_s, least=1)
    watts = draw_w(large, some, hard_per_s) + draw_w(small, few, easy_per_s)
    apart = Split(apart=True, large=some, small=few, watts=watts)
    if before.apart:
        return apart if watts < together.watts else together
    if watts >= together.watts * (1.0 - MARGIN):
        return together
    credit_j = before.credit_j + (together.watts - watts) * seconds
    if credit_j >= few * small.wake_j:
        return apart
    return replace(together, credit_j=credit_j)


def break_even_s(pool: Pool) -> float:
    """Return how long a replica may stand idle before sleeping is cheaper than waking it again."""
    saved_w = pool.idle_w - pool.asleep_w
    return pool.wake_j / saved_w if saved_w > 0 else float("inf")


class Rate(Struct, frozen=True, kw_only=True):
    """A rate of asks, as followed over a short and over a long time."""

    fast_per_s: float = 0.0
    slow_per_s: float = 0.0

    @property
    def per_s(self) -> float:
        """Return the larger: a rise counts at once, a fall only when it lasts."""
        return max(self.fast_per_s, self.slow_per_s)


def follow(rate: Rate, count: int, seconds: float) -> Rate:
    """Return the rate after ``count`` asks in so many seconds: moving averages."""
    if seconds <= 0.0:
        return rate
    now = count / seconds
    fast, slow = min(1.0, seconds / _FAST_S), min(1.0, seconds / _SLOW_S)
    return Rate(
        fast_per_s=rate.fast_per_s + fast * (now - rate.fast_per_s),
        slow_per_s=rate.slow_per_s + slow * (now - rate.slow_per_s),
    )


class Replica(Struct, frozen=True, kw_only=True):
    """One replica: ``up`` is awake or waking, ``busy`` has work or somebody who waits for it."""

    name: str
    up: bool
    busy: bool = False
    idle_s: float = 0.0


class Moves(Struct, frozen=True, kw_only=True):
    """Who is to wake, who gets no further work, and who of these may sleep now."""

    wake: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()
    sleep: tuple[str, ...] = ()


def moves(replicas: Sequence[Replica], wanted: int, *, idle_s: float) -> Moves:
    """Return what brings a pool to ``wanted`` replicas awake.

    Who is idle longest leaves first; it sleeps once it has been idle for ``idle_s``.
    """
    up = [one for one in replicas if one.up]
    if len(up) <= wanted:
        down = [one.name for one in replicas if not one.up]
        return Moves(wake=tuple(down[: wanted - len(up)]))
    ordered = sorted(up, key=lambda one: (one.busy, -one.idle_s, one.name))
    leave = ordered[: len(up) - wanted]
    return Moves(
        leave=tuple(one.name for one in leave),
        sleep=tuple(one.name for one in leave if not one.busy and one.idle_s >= idle_s),
    )
