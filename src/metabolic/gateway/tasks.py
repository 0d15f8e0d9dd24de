"""Agent tasks on the request path: from headers to a budget, from a budget to a refusal.

``metabolic-task: KIND/NAME`` names a task (and the kind of question, if there is one before the
slash). A plain word names one, too, where a budget comes with it or one of that name is under
way; else it is the kind of question, as ever. Without any header a task is known by its session
or its prefix, where the configuration says so.
"""

__all__ = ["Looping", "Overspent", "TaskDoor", "task_headers"]

import math
import secrets
from collections.abc import Mapping
from typing import NoReturn

from metabolic.account.tasks import spent_ratio
from metabolic.config.tasks import TasksTable
from metabolic.core.errors import RequestError
from metabolic.core.ports import Clock
from metabolic.core.receipt import Receipt
from metabolic.core.request import Ask, Request
from metabolic.core.signals import TASKS
from metabolic.core.task import AgentTask, TaskBudget
from metabolic.execute.chains import Chains
from metabolic.execute.tasks import TaskRules, Tasks

_TASK = b"metabolic-task"
_USD, _J, _TOKENS = (
    b"metabolic-task-budget-usd",
    b"metabolic-task-budget-j",
    b"metabolic-task-budget-tokens",
)
_HEADERS = frozenset({_TASK, _USD, _J, _TOKENS})
_KINDS = frozenset(TASKS)
_NAME_CHARS = 128

Headers = Mapping[bytes, bytes]


class _TaskError(RequestError):
    """A task may not go on; clients are told not to try again, and what the task has taken."""

    def __init__(self, message: str, task: AgentTask) -> None:
        super().__init__(message, param="metabolic-task")
        self.headers = ((b"x-should-retry", b"false"), *task_headers(task))


class Overspent(_TaskError):
    """The task's budget is used up; no model was asked."""

    status = 402
    kind = "insufficient_quota"
    code = "task_budget_exceeded"


class Looping(_TaskError):
    """The task goes in circles, and the operator lets none; no model was asked."""

    status = 422
    code = "task_loop_detected"


class TaskDoor:
    """Lets requests of agent tasks in, and keeps their sums."""

    def __init__(self, table: TasksTable, clock: Clock) -> None:
        """Know no task yet."""
        self._table = table
        self.tasks = Tasks(_rules(table), clock)
        self._chains = Chains(secrets.token_bytes(16))
        self.detects = table.detect != "header"

    def configure(self, table: TasksTable) -> None:
        """Take over a configuration; tasks under way go on."""
        self._table, self.tasks.rules = table, _rules(table)
        self.detects = table.detect != "header"

    def concerns(self, headers: Headers) -> bool:
        """Say whether a request may belong to a task: cheap, asked of every request."""
        return self.detects or not _HEADERS.isdisjoint(headers)

    def enter(
        self, request: Request, headers: Headers, tenant: str | None
    ) -> tuple[Headers, AgentTask | None]:
        """Return headers with nothing but the kind in ``metabolic-task``, and the task if any.

        Raises:
            RequestError: a header's value is not allowed.
            Overspent: its budget is used up.
            Looping: it goes in circles, and that ends it here.
        """
        given = _budget(headers)
        kind, name = self._named(request, headers, tenant, budgeted=given is not None)
        if name is None:
            if given is not None:
                _refuse("metabolic-task", "must name the task that a budget is for")
            return headers, None
        task = self.tasks.look(tenant, name, request, given)
        self._stop(tenant, task)
        plain = {key: value for key, value in headers.items() if key != _TASK}
        return (plain if kind is None else plain | {_TASK: kind}), task

    def began(self, ask: Ask) -> None:
        """Count a request of a task as under way."""
        if ask.agent_task is not None:
            self.tasks.began(ask.tenant, ask.agent_task)

    def ended(self, ask: Ask, receipt: Receipt | None) -> None:
        """Count it out, with what it took."""
        if ask.agent_task is not None:
            self.tasks.ended(ask.tenant, ask.agent_task, receipt)

    def _stop(self, tenant: str | None, task: AgentTask) -> None:
        """Refuse a request of a task that is over. Raises ``Overspent`` or ``Looping``."""
        if self.tasks.spent(tenant, task.id):
            message = f"The budget of this task is used up: {_told(task)}. Nobody was asked."
            raise Overspent(message, task)
        if task.loop is not None and self._table.on_loop == "stop":
            what = "the same tool with the same arguments and result"
            if task.loop == "request":
                what = "the same request"
            message = f"This task goes in circles: {what}, {task.loop_repeats} times."
            raise Looping(message, task)

    def _named(
        self, request: Request, headers: Headers, tenant: str | None, *, budgeted: bool
    ) -> tuple[bytes | None, str | None]:
        """Return the kind of question and the task's name, as far as there are any."""
        value = headers.get(_TASK)
        if value is not None:
            kind, slash, name = value.strip().partition(b"/")
            if slash:
                return kind or None, _name(name)
            plain = value.strip().decode("latin-1")
            if plain not in _KINDS and (budgeted or self.tasks.known(tenant, plain)):
                return None, _name(value.strip())
        detected = self._detected(request, headers, tenant, budgeted=budgeted)
        return value, detected

    def _detected(
        self, request: Request, headers: Headers, tenant: str | None, *, budgeted: bool
    ) -> str | None:
        """Return the task that a request shows to belong to without naming it."""
        detect = self._table.detect
        session = headers.get(b"metabolic-session")
        if session is not None and (budgeted or detect != "header"):
            return f"session:{session.decode('latin-1')}"[:_NAME_CHARS]
        if detect == "prefix" and request.tools and request.messages:
            return f"chain:{self._chains.of(tenant, request)}"
        return None


def task_headers(task: AgentTask) -> tuple[tuple[bytes, bytes], ...]:
    """Return a task so far as headers."""
    ratio = spent_ratio(task)
    lines = [
        (b"metabolic-task-id", task.id.encode("latin-1")),
        (b"metabolic-task-requests", b"%d" % task.requests),
        (b"metabolic-task-usd", b"%.6g" % task.usd),
        (b"metabolic-task-energy-j", b"%.6g" % task.energy_j),
        (b"metabolic-task-tokens", b"%d" % task.total_tokens),
    ]
    if ratio is not None:
        state = b"spent" if ratio >= 1 else b"thrift" if task.thrift_ratio > 0 else b"within"
        lines += [
            (b"metabolic-task-spent-ratio", b"%.3g" % ratio),
            (b"metabolic-task-state", state),
        ]
    if task.loop is not None:
        lines.append((b"metabolic-task-loop", b"%b=%d" % (task.loop.encode(), task.loop_repeats)))
    return tuple(lines)


def _rules(table: TasksTable) -> TaskRules:
    """Return what holds for every task."""
    return TaskRules(
        budget=TaskBudget(
            usd=table.budget_usd,
            energy_j=table.budget_energy_j,
            total_tokens=table.budget_tokens,
        ),
        soft_ratio=table.soft_ratio,
        loop_repeats=table.loop_repeats,
        idle_s=table.idle_s,
        max_tasks=table.max_tasks,
    )


def _budget(headers: Headers) -> TaskBudget | None:
    """Read the limits; ``None`` where there are none. Raises ``RequestError``."""
    usd, joules, tokens = headers.get(_USD), headers.get(_J), headers.get(_TOKENS)
    if usd is None and joules is None and tokens is None:
        return None
    most = _positive(_TOKENS, tokens)
    return TaskBudget(
        usd=_positive(_USD, usd),
        energy_j=_positive(_J, joules),
        total_tokens=None if most is None else max(1, int(most)),
    )


def _positive(header: bytes, value: bytes | None) -> float | None:
    """Read a finite number above 0. Raises ``RequestError``."""
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number <= 0:
        _refuse(header.decode(), "must be a number above 0")
    return number


def _name(value: bytes) -> str:
    """Read a task's name. Raises ``RequestError``."""
    text = value.decode("latin-1")
    if not text or len(text) > _NAME_CHARS or not (text.isascii() and text.isprintable()):
        _refuse("metabolic-task", f"names a task by 1 to {_NAME_CHARS} printable characters")
    return text


def _told(task: AgentTask) -> str:
    """Return what a task took beside what it may, as far as it is limited."""
    budget = task.budget
    pairs = (
        (task.usd, budget.usd, "USD"),
        (task.energy_j, budget.energy_j, "J"),
        (float(task.total_tokens), budget.total_tokens, "tokens"),
    )
    return ", ".join(f"{took:.6g} of {most:g} {unit}" for took, most, unit in pairs if most)


def _refuse(header: str, problem: str) -> NoReturn:
    """Refuse a header. Raises ``RequestError``."""
    message = f"The header {header} {problem}."
    raise RequestError(message, param=header)
