"""Who is let in, who waits, and who is turned away."""

import asyncio
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.core.errors import Shed
from metabolic.core.request import Ask, Limits
from metabolic.decide.admit import Flow, Rules
from metabolic.decide.capacity import Cache, Shape, need
from metabolic.execute.admission import Admission, Conditions, Gate, Pass
from metabolic.execute.admission_pace import Paces
from metabolic.execute.clock import ManualClock
from metabolic.testing.fleets import deployment


def gate_of(*, most=2, queue=8, conditions=None, clock=None):
    now = conditions if conditions is not None else Conditions()
    rules = Rules(most=most, start=most, queue=queue)
    return Gate("a", rules, clock=clock or ManualClock(), now=lambda: now)


def offered(gate, told, **ticket):
    made = gate.ticket(**({"tokens": 10} | ticket))
    found = gate.offer(made, lambda answer: told.append((made.number, answer)))
    return found if isinstance(found, Pass) else None


def test_who_finds_room_walks_through_and_others_wait_in_order():
    gate, told = gate_of(most=1), []
    first = offered(gate, told)
    assert first is not None
    assert offered(gate, told) is None
    assert offered(gate, told, priority=5) is None
    gate.leave(first)
    assert [number for number, _ in told] == [3]
    assert gate.waiting == 1
    gate.leave(told[0][1])
    assert [number for number, _ in told] == [3, 2]


def test_of_one_priority_the_nearest_deadline_goes_first():
    clock = ManualClock(0.0)
    gate, told = gate_of(most=1, clock=clock), []
    first = offered(gate, told)
    offered(gate, told, due_s=90.0)
    offered(gate, told, due_s=50.0)
    assert first is not None
    gate.leave(first)
    assert told[0][0] == 3


def test_a_deadline_that_cannot_be_met_is_refused_at_once_with_a_time():
    gate, told = gate_of(most=1, clock=ManualClock(0.0)), []
    offered(gate, told)
    with pytest.raises(Shed, match="deadline") as caught:
        offered(gate, told, due_s=5.0, answer_s=4.0)
    assert caught.value.retry_after_s == pytest.approx(4.0)
    assert caught.value.status == 503
    assert gate.shed == 1


def test_a_full_line_refuses_newcomers_but_gives_way_to_priority():
    gate, told = gate_of(most=1, queue=1), []
    offered(gate, told)
    offered(gate, told)
    with pytest.raises(Shed, match="full"):
        offered(gate, told)
    assert offered(gate, told, priority=1) is None
    number, answer = told[0]
    assert number == 2
    assert isinstance(answer, Shed)


def test_an_answer_that_does_not_fit_the_cache_waits_unless_it_is_alone():
    now = Conditions(kv_used_ratio=0.5, kv_capacity_tokens=1000)
    gate, told = gate_of(most=8, conditions=now), []
    assert offered(gate, told, tokens=5000) is not None
    assert offered(gate, told, tokens=100) is None
    other = gate_of(most=8, conditions=now)
    one = offered(other, told, tokens=400)
    assert one is not None
    assert offered(other, told, tokens=440) is not None
    assert offered(other, told, tokens=200) is None


def test_an_engine_that_preempts_takes_nobody_more():
    gate, told = gate_of(most=8, conditions=Conditions(preempting=True)), []
    assert offered(gate, told) is not None
    assert offered(gate, told) is None


def test_a_call_waits_is_let_in_and_one_that_is_cancelled_leaves_no_place_behind():
    async def play() -> tuple[int, int]:
        gate = gate_of(most=1)
        first = await gate.enter(gate.ticket(tokens=1))
        second = asyncio.create_task(gate.enter(gate.ticket(tokens=1)))
        third = asyncio.create_task(gate.enter(gate.ticket(tokens=1)))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.sleep(0)
        gate.leave(first)
        gate.leave(await third)
        return gate.inside, gate.waiting

    assert asyncio.run(play()) == (0, 0)


def test_one_that_is_let_in_and_cancelled_in_the_same_moment_gives_its_place_back():
    async def play() -> tuple[int, int]:
        gate = gate_of(most=1)
        first = await gate.enter(gate.ticket(tokens=1))
        second = asyncio.create_task(gate.enter(gate.ticket(tokens=1)))
        await asyncio.sleep(0)
        gate.leave(first)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        return gate.inside, gate.held

    assert asyncio.run(play()) == (0, 0)


def test_a_deadline_that_passes_in_line_sheds():
    async def play() -> None:
        clock = ManualClock(0.0)
        gate = gate_of(most=1, clock=clock)
        await gate.enter(gate.ticket(tokens=1))
        await gate.enter(gate.ticket(tokens=1, due_s=0.02))

    with pytest.raises(Shed, match="too long"):
        asyncio.run(play())


def test_a_ticket_knows_the_deadline_and_how_long_answers_take():
    clock = ManualClock(100.0)
    gate = gate_of(clock=clock)
    admission = Admission({"a": gate}, Paces([deployment("a")]), clock=clock)
    ask = Ask(
        id="r",
        at_s=0.0,
        input_tokens=60,
        max_output_tokens=20,
        priority=3,
        limits=Limits(deadline_s=9.0),
    )
    made = admission.ticket(gate, ask, t0_s=100.0)
    assert (made.due_s, made.tokens, made.priority) == (109.0, 80, 3)
    assert made.answer_s == pytest.approx(1.0 + 1.0 + 0.05, rel=0.05)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["enter", "leave"]),
            st.integers(0, 3),
            st.integers(1, 400),
            st.none() | st.floats(0, 50),
        ),
        max_size=40,
    ),
    st.integers(1, 4),
)
def test_nobody_is_lost_and_no_more_are_inside_than_may_be(moves, most):
    now = Conditions(kv_capacity_tokens=1000)
    clock = ManualClock(0.0)
    gate, told, inside, refused = gate_of(most=most, conditions=now, clock=clock), [], [], 0
    entered = 0
    for move, priority, tokens, due_s in moves:
        if move == "enter":
            entered += 1
            try:
                found = offered(gate, told, priority=priority, tokens=tokens, due_s=due_s)
            except Shed:
                refused += 1
                continue
            if found is not None:
                inside.append(found)
        elif inside:
            gate.leave(inside.pop(0))
        inside += [answer for _, answer in told if isinstance(answer, Pass)]
        refused += sum(isinstance(answer, Shed) for _, answer in told)
        told.clear()
        assert gate.inside == len(inside) <= most
        assert gate.held == sum(one.ticket.tokens for one in inside)
        assert gate.held <= 950 or gate.inside == 1
    assert entered == gate.admitted + gate.waiting + refused
    assert gate.flow == Flow(limit=float(most), since=gate.flow.since)


def test_short_memory_halves_what_a_gate_lets_in():
    assert gate_of(most=8).limit() == 8
    assert gate_of(most=8, conditions=Conditions(slots=4)).limit() == 4
    assert gate_of(most=2, conditions=Conditions(slots=4)).limit() == 2


def test_a_prompt_that_is_more_than_the_whole_cache_is_refused_even_alone():
    gate = Gate(
        "a",
        Rules(),
        clock=ManualClock(),
        now=lambda: Conditions(kv_capacity_tokens=100),
    )
    with pytest.raises(Shed, match="whole cache"):
        gate.offer(gate.ticket(tokens=150, least=120), lambda _: None)
    assert isinstance(gate.offer(gate.ticket(tokens=150, least=90), lambda _: None), Pass)


def test_answers_are_counted_by_what_their_cache_takes_in_bytes():
    cache = Cache(shape=Shape(layers=1, kv_heads=1, head_dim=8), block=16)
    each = need(cache, 100)
    gate = Gate(
        "a",
        Rules(start=8),
        clock=ManualClock(),
        now=lambda: Conditions(kv_capacity_tokens=3 * each, kv_block=1),
        need=partial(need, cache),
    )
    admission = Admission({"a": gate}, Paces(()), clock=ManualClock())
    ask = Ask(id="q", at_s=0.0, input_tokens=60, max_output_tokens=40)
    tickets = [admission.ticket(gate, ask, t0_s=0.0) for _ in range(3)]
    assert tickets[0].tokens == each
    found = [gate.offer(one, lambda _: None) for one in tickets]
    assert [isinstance(one, Pass) for one in found] == [True, True, False]
