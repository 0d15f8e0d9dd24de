"""Limits that follow what is measured, and order in the line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.decide.admit import Flow, Rules, Ticket, fits, in_force, late, learned, order, wait_s

RULES = Rules(most=16)


def test_slow_answers_lower_the_limit_once_for_each_limit_s_worth():
    flow = Flow(limit=8.0, base_s=0.01, since=8)
    flow = learned(flow, RULES, token_s=0.05, reached=True)
    assert flow.limit == pytest.approx(7.2)
    assert learned(flow, RULES, token_s=0.05, reached=True).limit == pytest.approx(7.2)


def test_a_refusal_lowers_it_at_once():
    flow = learned(Flow(limit=8.0), RULES, token_s=None, reached=False, refused=True)
    assert flow.limit == pytest.approx(7.2)


def test_good_answers_raise_it_only_where_it_was_reached():
    assert learned(Flow(limit=4.0), RULES, token_s=0.01, reached=True).limit == 4.25
    assert learned(Flow(limit=4.0), RULES, token_s=0.01, reached=False).limit == 4.0


def test_a_machine_that_became_slower_for_good_is_learned_as_the_new_normal():
    flow = Flow(limit=8.0, base_s=0.01)
    for _ in range(3000):
        flow = learned(flow, RULES, token_s=0.04, reached=True)
    assert flow.base_s == pytest.approx(0.04, rel=0.01)
    assert flow.limit == 16.0


def test_heat_and_short_memory_lower_what_is_in_force_and_unknown_does_not():
    flow = Flow(limit=16.0)
    assert in_force(flow) == 16
    assert in_force(flow, throttle_risk_ratio=0.5) == 16
    assert in_force(flow, throttle_risk_ratio=1.0) == 4
    assert in_force(flow, memory_ratio=0.75, throttle_risk_ratio=0.1) == 10


def test_priority_comes_before_deadline_and_deadline_before_arrival():
    tickets = [
        Ticket(number=1),
        Ticket(number=2, due_s=50.0),
        Ticket(number=3, due_s=20.0),
        Ticket(number=4, priority=1),
        Ticket(number=5, priority=-1, due_s=1.0),
    ]
    assert [one.number for one in sorted(tickets, key=order)] == [4, 3, 2, 1, 5]


def test_who_is_too_late_is_known_before_the_line():
    ticket = Ticket(number=1, due_s=10.0, answer_s=3.0)
    assert not late(ticket, now_s=0.0, ahead=0, limit=1)
    assert late(ticket, now_s=0.0, ahead=2, limit=1)
    assert not late(ticket, now_s=0.0, ahead=2, limit=4)
    assert not late(Ticket(number=1), now_s=1e9, ahead=99, limit=1)


def test_waiting_is_counted_in_rounds():
    assert wait_s(0, 1, 2.0) == 2.0
    assert wait_s(7, 4, 2.0) == 4.0
    assert wait_s(5, 1, 0.0) == 0.0


def test_the_cache_is_counted_in_whole_blocks_with_a_rest():
    assert fits(10, held=0, used_ratio=None, capacity=100)
    assert fits(940, held=10, used_ratio=None, capacity=1010, block=1)
    assert not fits(950, held=10, used_ratio=None, capacity=1010, block=1)
    assert not fits(1, held=935, used_ratio=None, capacity=1000)
    assert not fits(500, held=0, used_ratio=0.5, capacity=1000)
    assert fits(10**9, held=10**9, used_ratio=1.0, capacity=None)


@given(
    st.lists(st.tuples(st.none() | st.floats(1e-4, 10), st.booleans(), st.booleans()), max_size=60)
)
def test_the_limit_stays_between_one_and_the_most(seen):
    flow = Flow(limit=8.0)
    for token_s, reached, refused in seen:
        flow = learned(flow, RULES, token_s=token_s, reached=reached, refused=refused)
        assert 1.0 <= flow.limit <= RULES.most
        assert 1 <= in_force(flow, throttle_risk_ratio=1.0) <= in_force(flow)
