"""An agent's task: what it may take, what it has taken, and whether it goes in circles."""

__all__ = ["AgentTask", "TaskBudget"]

from typing import Literal

from msgspec import Struct


class TaskBudget(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What a task may take in all; ``None`` is no limit. Joules are those of this machine."""

    usd: float | None = None
    energy_j: float | None = None
    total_tokens: int | None = None


class AgentTask(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A task so far: before a request on an ``Ask``, with it on a ``Receipt``.

    ``id`` is the client's word for it, its session's or a digest. ``requests``, dollars, joules and
    tokens are sums, discarded drafts included. ``thrift_ratio`` in [0, 1] is how far the dial is
    moved from where it stands towards thrift. ``loop`` says what goes in circles, ``loop_repeats``
    how often it has.
    """

    id: str
    requests: int = 0
    usd: float = 0.0
    energy_j: float = 0.0
    total_tokens: int = 0
    budget: TaskBudget = TaskBudget()
    thrift_ratio: float = 0.0
    loop: Literal["tool", "request"] | None = None
    loop_repeats: int = 0
