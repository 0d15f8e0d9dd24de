"""Agent tasks: thrift, limits and circles."""

from hypothesis import given
from hypothesis import strategies as st

from metabolic.account.tasks import grown, spent_ratio
from metabolic.core.receipt import Cost, Energy
from metabolic.core.request import Message, Request, ToolResult, ToolUse, Usage
from metabolic.core.task import AgentTask, TaskBudget
from metabolic.decide.tasks import circles, steps_of, thrift_of

STEPS = st.lists(st.tuples(st.sampled_from("ab"), st.just("{}"), st.sampled_from("xy")))


def test_a_circle_of_one_two_or_three_steps_is_found() -> None:
    a, b, c = ("a", "{}", "x"), ("b", "{}", "x"), ("c", "{}", "x")
    assert circles([a, a, a], 3) == 3
    assert circles([c, a, b, a, b, a, b], 3) == 3
    assert circles([a, b, c] * 4, 3) == 4
    assert circles([a, a, b], 3) == 0
    assert circles([], 3) == 0
    assert circles([a] * 9, 0) == 0


@given(STEPS, st.integers(2, 5))
def test_progress_ends_every_circle(steps: list[tuple[str, str, str]], least: int) -> None:
    assert circles([*steps, ("a", "{}", "something new")], least) == 0


@given(STEPS, st.integers(2, 5))
def test_going_round_once_more_is_seen(steps: list[tuple[str, str, str]], least: int) -> None:
    last = ("z", "{}", "z")
    assert circles([*steps, *[last] * least], least) == least


def test_steps_are_read_from_a_conversation_whatever_the_order_of_arguments() -> None:
    messages = [
        part
        for number, arguments in enumerate(['{"a":1,"b":2}', '{"b": 2, "a": 1}', "not json"])
        for part in (
            Message(
                role="assistant",
                content=(ToolUse(id=str(number), name="f", arguments=arguments),),
            ),
            Message(role="tool", content=(ToolResult(id=str(number), text="r"),)),
        )
    ]
    found = steps_of(Request(id="r", dialect="chat", model="m", messages=tuple(messages)))
    assert found[0] == found[1]
    assert found[2] == ("f", "not json", "r")


@given(st.floats(0, 3), st.floats(0.01, 1))
def test_thrift_grows_from_the_soft_limit_to_the_end(spent: float, soft: float) -> None:
    found = thrift_of(spent, soft)
    assert 0 <= found <= 1
    assert (found == 0) == (spent < soft)
    assert found <= thrift_of(spent + 0.1, soft)
    assert thrift_of(None, soft) == 0


def test_a_task_grows_by_what_a_request_took() -> None:
    task = AgentTask(id="t", budget=TaskBudget(usd=1.0, energy_j=100.0, total_tokens=50))
    energy = Energy(energy_j=30.0, low_j=1, high_j=2, origin="modelled")
    after = grown(
        task,
        cost=Cost(tokens_usd=0.2),
        energy=energy,
        usage=Usage(input_tokens=10, output_tokens=None),
    )
    assert (after.requests, after.usd, after.energy_j, after.total_tokens) == (1, 0.2, 30.0, 10)
    assert spent_ratio(after) == 0.3
    assert spent_ratio(AgentTask(id="t", usd=9.0)) is None
