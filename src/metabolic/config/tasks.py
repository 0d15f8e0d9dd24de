"""``[tasks]``: budgets of agent tasks, and how a task is known."""

__all__ = ["TasksTable"]

from typing import Annotated, Literal

from msgspec import Meta, Struct

_Positive = Annotated[float, Meta(gt=0)]


class TasksTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[tasks]``: what a task may take where its headers do not say (``None``: no limit).

    ``detect``: a task is known by its header alone, by the session too, or besides by the prefix
    that requests with tools share. From ``soft_ratio`` of a budget on the dial moves to thrift.
    ``loop_repeats`` times the same tool with the same arguments and the same result is a loop
    (0: nobody looks), which is reported or ends the task. A task not heard of for ``idle_s`` is
    forgotten, as are the oldest beyond ``max_tasks``.
    """

    budget_usd: _Positive | None = None
    budget_energy_j: _Positive | None = None
    budget_tokens: Annotated[int, Meta(ge=1)] | None = None
    detect: Literal["header", "session", "prefix"] = "header"
    soft_ratio: Annotated[float, Meta(gt=0, le=1)] = 0.8
    loop_repeats: Annotated[int, Meta(ge=0, le=64)] = 3
    on_loop: Literal["report", "stop"] = "report"
    idle_s: _Positive = 3600.0
    max_tasks: Annotated[int, Meta(ge=1)] = 10_000
