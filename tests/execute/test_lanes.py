"""The keeper of the table of lanes: epochs, bounds, exploration's budget."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.core.attempt import Answer
from metabolic.core.decision import Stage
from metabolic.core.labels import Label
from metabolic.core.lanes import Arm, LanePin
from metabolic.core.signals import Signals
from metabolic.decide.evidence_labels import label_of
from metabolic.execute.lane_state import LaneRules, LaneState, Peer
from metabolic.execute.lanes import LaneKeeper
from metabolic.testing.examples import example_record

RULES = LaneRules(route=True, labels_per_epoch=10, min_labels=5, explore_per_epoch=2)


def record(number: int = 0, *, tenant: str | None = "t", stages: int = 1, deployment: str = "m"):
    one = example_record()
    given = Answer(call="c0", deployment=deployment)
    made = tuple(Stage(deployment=deployment) for _ in range(stages))
    replace = msgspec.structs.replace
    return replace(
        one,
        ask=replace(one.ask, id=f"r{number}", tenant=tenant, task=None),
        signals=Signals(task="open_qa", lane="open_qa"),
        decision=replace(one.decision, stages=made, arms=()),
        receipt=replace(one.receipt, answer=given),
    )


def said(correct: float, *, at_s: float = 1.0, **of: Any) -> Label:
    number = of.pop("number", 0)
    return label_of(record(number, **of), at_s=at_s, by="user_feedback", correct=correct)


def labels(keeper: LaneKeeper, lane: str = "*") -> float:
    return sum(one.labels for one in keeper.state().tallies if one.lane == lane)


def test_a_label_counts_from_the_next_epoch_on():
    keeper = LaneKeeper(RULES)
    keeper.label(said(1.0))
    assert keeper.table() is None
    keeper.turn(1.0)
    found = {one.lane: one for one in keeper.table().tallies}
    assert found["open_qa/plain/medium"].correct == 1.0
    assert found["*"].labels == 1.0


def test_one_tenant_gives_half_of_an_epochs_labels_at_most():
    keeper = LaneKeeper(RULES)
    for number in range(50):
        keeper.label(said(0.0, number=number))
    keeper.turn(1.0)
    assert labels(keeper) == 5
    for number in range(50):
        keeper.label(said(0.0, number=number, tenant=f"t{number}", at_s=301.0))
    keeper.turn(301.0)
    assert labels(keeper) == 15
    assert keeper.state().left_out == 85


def test_labels_of_gated_answers_are_no_fair_sample():
    keeper = LaneKeeper(RULES)
    keeper.label(said(1.0, stages=2))
    keeper.turn(1.0)
    assert labels(keeper) == 0


def test_answers_are_counted_with_what_they_took():
    keeper = LaneKeeper(RULES)
    one = record()
    keeper.saw(one)
    keeper.turn(1.0)
    tallies = [each for each in keeper.state().tallies if each.lane == "*"]
    answered = [each for each in one.receipt.attempts if each.failure is None]
    assert sum(each.answers for each in tallies) == len(answered) > 0
    assert keeper.table() is None  # answers without a label decide nothing


def test_exploration_ends_with_its_budget_and_begins_anew_with_the_epoch():
    keeper = LaneKeeper(RULES)
    keeper.label(said(1.0))
    keeper.turn(1.0)
    arms = (Arm(deployment="other", propensity=0.9), Arm(deployment="m", propensity=0.1))
    one = record()
    explored = msgspec.structs.replace(
        one, decision=msgspec.structs.replace(one.decision, arms=arms)
    )
    assert keeper.saw(record()) is False
    assert [keeper.saw(explored), keeper.saw(explored)] == [False, True]
    assert keeper.table().explore_ratio == 0.0
    keeper.turn(2.0)
    assert keeper.table().explore_ratio == RULES.explore_ratio


def test_it_goes_on_from_what_was_kept():
    keeper = LaneKeeper(RULES)
    for number in range(4):
        keeper.label(said(1.0, number=number))
    keeper.turn(1.0)
    again = LaneKeeper(
        RULES, msgspec.json.decode(msgspec.json.encode(keeper.state()), type=type(keeper.state()))
    )
    assert again.state() == keeper.state()
    assert again.table() == keeper.table()


@pytest.mark.parametrize("pins", [(), (LanePin(lane="open_qa", deployment="m"),)])
def test_who_only_observes_publishes_pins_alone(pins):
    keeper = LaneKeeper(msgspec.structs.replace(RULES, route=False))
    keeper.label(said(1.0))
    keeper.turn(1.0)
    table = keeper.table(pins)
    assert (table is None) == (not pins)
    if pins:
        assert (table.pins, table.tallies, table.explore_ratio) == (pins, (), 0.0)


def test_a_label_of_a_shadow_answer_counts_for_who_gave_it():
    keeper = LaneKeeper(RULES)
    shadow = label_of(
        record(stages=2), at_s=1.0, by="agreement", deployment="small", variant="low", correct=1.0
    )
    assert (shadow.shadow, shadow.alone, shadow.name) == (True, True, "r0/small:low/agreement")
    keeper.label(shadow)
    keeper.turn(1.0)
    (root,) = [one for one in keeper.table().tallies if one.lane == "*"]
    assert (root.deployment, root.variant, root.labels, root.correct) == ("small", "low", 1.0, 1.0)


def test_every_change_of_the_counts_is_another_version_and_exploration_is_none():
    keeper = LaneKeeper(RULES)
    keeper.label(said(1.0))
    keeper.turn(1.0)
    first = keeper.table()
    keeper.turn(2.0)
    assert keeper.table().version == first.version != ""
    keeper.label(said(0.0, number=1, at_s=3.0))
    keeper.turn(3.0)
    assert keeper.table().version != first.version
    assert [one.id for one in keeper.state().versions] == [first.version, keeper.table().version]


def test_records_of_the_ledger_are_counted_once_after_a_crash():
    keeper = LaneKeeper(RULES)
    replace = msgspec.structs.replace
    early, late = (
        replace(one, ask=replace(one.ask, at_s=at_s))
        for one, at_s in ((record(1), 990.0), (record(2), 1001.0))
    )
    keeper.saw(early)
    keeper.turn(1000.0)
    again = LaneKeeper(RULES, keeper.state())
    again.recover([early, late])
    again.turn(1300.0)
    whole = LaneKeeper(RULES)
    whole.saw(early)
    whole.saw(late)
    whole.turn(1300.0)
    assert again.state().tallies == whole.state().tallies


def shares(name: str, *numbers: int) -> Peer:
    keeper = LaneKeeper(RULES)
    for number in numbers:
        keeper.label(said(number % 2, number=number, tenant=None))
    keeper.turn(1.0)
    return Peer(replica=name, epoch=1, tallies=keeper.state().tallies)


def test_replicas_that_meet_know_the_same_however_often_they_meet():
    a, b, c = shares("a", 1, 2), shares("b", 3), shares("c", 4, 5, 6)
    tables = []
    for own, *others in ((a, b, c), (b, c, a, c), (c, b, b, a, a)):
        keeper = LaneKeeper(RULES, LaneState(replica=own.replica, tallies=own.tallies))
        keeper.meet(others)
        keeper.meet([*others, own])
        tables.append(keeper.table())
    assert tables[0] == tables[1] == tables[2]
    assert sum(one.labels for one in tables[0].tallies if one.lane == "*") == 6
    assert tables[0].version


@given(st.permutations(range(12)), st.integers(0, 12))
def test_labels_give_the_same_counts_in_any_order_and_split_in_any_way(order, at):
    whole, parts = LaneKeeper(RULES), LaneKeeper(RULES)
    for number in range(12):
        whole.label(said(number % 3 / 2, number=number, tenant=f"t{number}", at_s=300.0 * number))
    whole.turn(5000.0)
    for number in order[:at]:
        parts.label(said(number % 3 / 2, number=number, tenant=f"t{number}", at_s=300.0 * number))
    parts.turn(5000.0)
    for number in order[at:]:
        parts.label(said(number % 3 / 2, number=number, tenant=f"t{number}", at_s=300.0 * number))
    parts.turn(5001.0)
    assert parts.state().tallies == whole.state().tallies
