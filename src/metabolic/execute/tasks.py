"""What is remembered of agent tasks: sums, limits, and the digest of the last request. No text."""

__all__ = ["TaskRules", "Tasks"]

from collections import OrderedDict
from hashlib import blake2b
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from metabolic.account.tasks import spent_ratio
from metabolic.core.ports import Clock
from metabolic.core.receipt import Receipt
from metabolic.core.request import Request
from metabolic.core.task import AgentTask, TaskBudget
from metabolic.decide.tasks import circles, steps_of, thrift_of

_NO_BUDGET = TaskBudget()
_FORGOTTEN_AT_ONCE = 8

_Key = tuple[str | None, str]


class TaskRules(Struct, frozen=True, kw_only=True):
    """What holds for every task; meanings as in ``[tasks]``."""

    budget: TaskBudget = _NO_BUDGET
    soft_ratio: float = 0.8
    loop_repeats: int = 3
    idle_s: float = 3600.0
    max_tasks: int = 10_000


class _Kept:
    """One task: what it took, what is under way, and what it asked last."""

    __slots__ = ("at_s", "last", "open", "repeats", "task")

    def __init__(self, task: AgentTask, at_s: float) -> None:
        self.task, self.at_s = task, at_s
        self.open = 0
        self.last, self.repeats = b"", 0


class Tasks:
    """The tasks heard of lately, by tenant and id."""

    def __init__(self, rules: TaskRules, clock: Clock) -> None:
        """Know none yet."""
        self.rules, self._clock = rules, clock
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()

    def __len__(self) -> int:
        """Return how many are remembered."""
        return len(self._kept)

    def known(self, tenant: str | None, name: str) -> bool:
        """Say whether a task of this name is under way."""
        kept = self._kept.get((tenant, name))
        return kept is not None and self._clock.monotonic_s() - kept.at_s <= self.rules.idle_s

    def look(
        self, tenant: str | None, name: str, request: Request, given: TaskBudget | None = None
    ) -> AgentTask:
        """Return a task as it stands before this request; ``given`` limits replace its own.

        Its sums hold what is under way, at the mean of what its requests took so far: so many
        requests at once cannot all slip through the last cent of a budget.
        """
        kept = self._find(tenant, name)
        if given is not None:
            kept.task = replace(kept.task, budget=_merged(kept.task.budget, given))
        task = kept.task
        shown = _with_open(task, kept.open)
        loop, repeats = self._loop(kept, request)
        thrift = thrift_of(spent_ratio(shown), self.rules.soft_ratio)
        return replace(task, thrift_ratio=thrift, loop=loop, loop_repeats=repeats)

    def spent(self, tenant: str | None, name: str) -> bool:
        """Say whether a limit is reached, with what is under way."""
        kept = self._kept.get((tenant, name))
        if kept is None:
            return False
        ratio = spent_ratio(_with_open(kept.task, kept.open))
        return ratio is not None and ratio >= 1

    def began(self, tenant: str | None, task: AgentTask) -> None:
        """Count a request as under way."""
        self._find(tenant, task.id).open += 1

    def ended(self, tenant: str | None, task: AgentTask, receipt: Receipt | None) -> None:
        """Count it out again, with what it took."""
        kept = self._find(tenant, task.id)
        kept.open = max(0, kept.open - 1)
        if receipt is None or receipt.agent_task is None:
            return
        after, before = receipt.agent_task, task
        kept.task = replace(
            kept.task,
            requests=kept.task.requests + 1,
            usd=kept.task.usd + after.usd - before.usd,
            energy_j=kept.task.energy_j + after.energy_j - before.energy_j,
            total_tokens=kept.task.total_tokens + after.total_tokens - before.total_tokens,
        )

    def _find(self, tenant: str | None, name: str) -> _Kept:
        """Return a task, begun anew if it was not heard of for too long."""
        now_s, key = self._clock.monotonic_s(), (tenant, name)
        kept = self._kept.get(key)
        if kept is None or now_s - kept.at_s > self.rules.idle_s:
            kept = _Kept(AgentTask(id=name, budget=self.rules.budget), now_s)
            self._kept[key] = kept
        kept.at_s = now_s
        self._kept.move_to_end(key)
        self._forget(now_s)
        return kept

    def _forget(self, now_s: float) -> None:
        """Forget the oldest: those beyond the bound, and a few that were idle for too long."""
        while len(self._kept) > self.rules.max_tasks:
            self._kept.popitem(last=False)
        for _ in range(_FORGOTTEN_AT_ONCE):
            key, oldest = next(iter(self._kept.items()))
            if now_s - oldest.at_s <= self.rules.idle_s or oldest.open:
                return
            del self._kept[key]

    def _loop(self, kept: _Kept, request: Request) -> tuple[Literal["tool", "request"] | None, int]:
        """Return what goes in circles: a tool, or the same request again and again."""
        least = self.rules.loop_repeats
        if not least:
            return None, 0
        said = blake2b(request.body, digest_size=16).digest()
        kept.repeats = kept.repeats + 1 if said == kept.last else 1
        kept.last = said
        rounds = circles(steps_of(request), least)
        if rounds:
            return "tool", rounds
        return ("request", kept.repeats) if kept.repeats >= max(2, least) else (None, 0)


def _with_open(task: AgentTask, under_way: int) -> AgentTask:
    """Return a task with what is under way, at the mean of what its requests took."""
    if not under_way or not task.requests:
        return task
    grows = 1 + under_way / task.requests
    return replace(
        task,
        usd=task.usd * grows,
        energy_j=task.energy_j * grows,
        total_tokens=round(task.total_tokens * grows),
    )


def _merged(old: TaskBudget, new: TaskBudget) -> TaskBudget:
    """Return limits, the new ones where they are given."""
    return TaskBudget(
        usd=old.usd if new.usd is None else new.usd,
        energy_j=old.energy_j if new.energy_j is None else new.energy_j,
        total_tokens=old.total_tokens if new.total_tokens is None else new.total_tokens,
    )
