"""The keeper of the table of lanes: epochs, bounds, exploration's budget."""

import msgspec
import pytest

from metabolic.core.attempt import Answer
from metabolic.core.decision import Stage
from metabolic.core.lanes import Arm, LanePin
from metabolic.core.signals import Signals
from metabolic.execute.lanes import LaneKeeper, LaneRules
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


def labels(keeper: LaneKeeper, lane: str = "*") -> float:
    return sum(one.labels for one in keeper.state().tallies if one.lane == lane)


def test_a_label_counts_from_the_next_epoch_on():
    keeper = LaneKeeper(RULES)
    assert keeper.label(record(), 1.0)
    assert keeper.table() is None
    keeper.turn(1.0)
    found = {one.lane: one for one in keeper.table().tallies}
    assert found["open_qa/plain/medium"].correct == 1.0
    assert found["*"].labels == 1.0


def test_one_tenant_gives_half_of_an_epochs_labels_at_most():
    keeper = LaneKeeper(RULES)
    for number in range(50):
        keeper.label(record(number), 0.0)
    keeper.turn(1.0)
    assert labels(keeper) == 5
    for number in range(50):
        keeper.label(record(number, tenant=f"t{number}"), 0.0)
    keeper.turn(2.0)
    assert labels(keeper) == 15
    assert keeper.state().left_out == 85


def test_labels_of_gated_answers_are_no_fair_sample():
    assert not LaneKeeper(RULES).label(record(stages=2), 1.0)


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
    keeper.label(record(), 1.0)
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
        keeper.label(record(number), 1.0)
    keeper.turn(1.0)
    again = LaneKeeper(
        RULES, msgspec.json.decode(msgspec.json.encode(keeper.state()), type=type(keeper.state()))
    )
    assert again.state() == keeper.state()
    assert again.table() == keeper.table()


@pytest.mark.parametrize("pins", [(), (LanePin(lane="open_qa", deployment="m"),)])
def test_who_only_observes_publishes_pins_alone(pins):
    keeper = LaneKeeper(msgspec.structs.replace(RULES, route=False))
    keeper.label(record(), 1.0)
    keeper.turn(1.0)
    table = keeper.table(pins)
    assert (table is None) == (not pins)
    if pins:
        assert (table.pins, table.tallies, table.explore_ratio) == (pins, (), 0.0)
