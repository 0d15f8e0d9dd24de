"""What a task has taken, request by request, and which share of its budget that is."""

__all__ = ["grown", "spent_ratio"]

from msgspec.structs import replace

from metabolic.core.receipt import Cost, Energy
from metabolic.core.request import Usage
from metabolic.core.task import AgentTask


def grown(task: AgentTask, *, cost: Cost, energy: Energy | None, usage: Usage) -> AgentTask:
    """Return a task with one more request, and what that took; what is unknown counts as none."""
    return replace(
        task,
        requests=task.requests + 1,
        usd=task.usd + cost.total_usd,
        energy_j=task.energy_j + (0.0 if energy is None else energy.energy_j),
        total_tokens=task.total_tokens + (usage.input_tokens or 0) + (usage.output_tokens or 0),
    )


def spent_ratio(task: AgentTask) -> float | None:
    """Return the largest share of a budget that is used up; ``None`` where there is no budget.

    >>> from metabolic.core.task import TaskBudget
    >>> spent_ratio(AgentTask(id="t", usd=0.3, budget=TaskBudget(usd=0.5)))
    0.6
    """
    budget, shares = task.budget, list[float]()
    if budget.usd is not None:
        shares.append(task.usd / budget.usd)
    if budget.energy_j is not None:
        shares.append(task.energy_j / budget.energy_j)
    if budget.total_tokens is not None:
        shares.append(task.total_tokens / budget.total_tokens)
    return max(shares, default=None)
