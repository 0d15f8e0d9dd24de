"""The memory of tasks: bounded, and honest about what is under way."""

from msgspec.structs import replace

from metabolic.core.receipt import Receipt
from metabolic.core.request import Ask, Message, Request, Text
from metabolic.core.task import AgentTask, TaskBudget
from metabolic.execute.chains import Chains
from metabolic.execute.tasks import TaskRules, Tasks
from metabolic.testing.runtime import fake_record


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.at_s = 0.0

    def now_s(self) -> float:
        return self.at_s

    def monotonic_s(self) -> float:
        return self.at_s

    async def sleep(self, seconds: float) -> None:
        self.at_s += seconds


def request(text: str = "hi", *before: str) -> Request:
    turns = [*before, text]
    roles = ["user" if (len(turns) - n) % 2 else "assistant" for n in range(len(turns))]
    return Request(
        id="r",
        dialect="chat",
        model="m",
        messages=tuple(
            Message(role=role, content=(Text(text=said),))
            for role, said in zip(roles, turns, strict=True)
        ),
        body=repr(turns).encode(),
    )


def tasks(**more: float) -> tuple[Tasks, Clock]:
    clock = Clock()
    return Tasks(TaskRules(**more), clock), clock  # type: ignore[arg-type]


def test_tasks_are_forgotten_after_a_silence_and_beyond_the_bound() -> None:
    made, clock = tasks(idle_s=10.0, max_tasks=3)
    for number in range(5):
        made.look(None, str(number), request())
    assert len(made) == 3
    assert made.known(None, "4")
    assert not made.known(None, "0")
    clock.at_s = 11.0
    made.look(None, "new", request())
    assert len(made) == 1


def test_a_task_belongs_to_its_tenant() -> None:
    made, _ = tasks()
    made.look("one", "t", request())
    assert not made.known("another", "t")


def test_limits_hold_until_new_ones_are_given() -> None:
    made, _ = tasks()
    made.look(None, "t", request(), TaskBudget(usd=1.0))
    task = made.look(None, "t", request(), TaskBudget(total_tokens=9))
    assert task.budget == TaskBudget(usd=1.0, total_tokens=9)


def test_what_is_under_way_counts_at_the_mean() -> None:
    made, _ = tasks()
    task = made.look(None, "t", request(), TaskBudget(total_tokens=100))
    made.began(None, task)
    grown = AgentTask(id="t", requests=1, total_tokens=40, budget=task.budget)
    made.ended(None, task, receipt_with(grown))
    assert not made.spent(None, "t")
    made.began(None, task)
    made.began(None, task)
    assert made.spent(None, "t")
    made.ended(None, task, None)
    made.ended(None, task, None)
    assert not made.spent(None, "t")


def receipt_with(task: AgentTask) -> Receipt:
    """Return a receipt that shows this task."""
    return replace(fake_record(Ask(id="r", at_s=0.0), None).receipt, agent_task=task)


def test_a_turn_belongs_to_the_conversation_it_goes_on_with() -> None:
    chains = Chains(b"salt")
    first = chains.of(None, request("question"))
    assert chains.of(None, request("more", "question", "answer")) == first
    assert chains.of(None, request("still more", "question", "answer", "more", "x")) == first
    assert chains.of(None, request("another question")) != first
    assert chains.of("tenant", request("question")) != first


def test_worked_examples_are_no_conversation() -> None:
    chains = Chains(b"salt")
    found = {chains.of(None, request(f"q{n}", "example", "its answer")) for n in range(9)}
    assert len(found) == 9


def test_chains_are_bounded() -> None:
    chains = Chains(b"salt", capacity=2)
    first = chains.of(None, request("a"))
    chains.of(None, request("b"))
    chains.of(None, request("c"))
    assert chains.of(None, request("d", "a", "x")) != first
