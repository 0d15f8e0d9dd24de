"""The dial: from 0, quality, to 1, thrift; who turns it."""

__all__ = ["dial_of", "nearly_spent"]

from metabolic.core.task import AgentTask
from metabolic.decide.estimate import View


def dial_of(seen: View) -> float:
    """Return the dial in force: the request's, else the policy's or the profile's.

    What the client did not ask for, a battery moves towards thrift. A task that has used up most
    of its budget moves it in any case: that budget is the client's word, too.
    """
    asked, policy = seen.ask.preference, seen.policy
    if asked is not None:
        dial = min(1.0, max(0.0, asked))
    else:
        dial = policy.profile.preference if policy.preference is None else policy.preference
        dial = min(1.0, max(0.0, dial))
        dial = dial if seen.strain is None else dial + (1 - dial) * seen.strain.thrift_ratio
    task = seen.ask.agent_task
    return dial if task is None else dial + (1 - dial) * task.thrift_ratio


def nearly_spent(task: AgentTask | None) -> tuple[str, ...]:
    """Return the reason that a task past its soft limit gives a decision; else none."""
    if task is None or task.thrift_ratio <= 0:
        return ()
    return ("the task nears its budget: the dial moves to thrift",)
