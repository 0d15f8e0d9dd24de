"""The table of lanes: names, counts, shrinkage, cuts, pins and exploration."""

from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metabolic.core.decision import Belief, Estimate
from metabolic.core.fleet import Price
from metabolic.core.lanes import Cut, LanePin, LaneTable, Tally
from metabolic.core.request import Ask, WarmPrefix
from metabolic.core.signals import PCorrect, Signals
from metabolic.decide.clusters import QUESTIONS, answers_of, parent_of, path_of, probes_of, revised
from metabolic.decide.decide import decide
from metabolic.decide.digest import sealed
from metabolic.decide.evidence_table import Seen, indexed, merged, observed, on_lane, with_evidence
from metabolic.decide.explore import arms_of, drawn, lot_of, rivals_of
from metabolic.testing.fleets import deployment, policy_of, situation_of

LANE = "open_qa/plain/medium"
CHEAP = deployment("cheap", price=Price(input_usd_per_token=1e-7, output_usd_per_token=4e-7))
DEAR = deployment(
    "dear",
    parameters=6_000_000_000,
    price=Price(input_usd_per_token=1e-6, output_usd_per_token=4e-6),
)
SIGNALS = Signals(task="open_qa", lane="open_qa", expected_output_tokens=100)
ASK = Ask(id="r", at_s=1.0, input_tokens=200)


def tally(name: str, lane: str = LANE, *, labels: float = 200, share: float = 0.9, **more: Any):
    return Tally(lane=lane, deployment=name, labels=labels, correct=labels * share, **more)


def table_of(*tallies: Tally, **changes: object) -> LaneTable:
    return msgspec.structs.replace(LaneTable(tallies=tallies), **changes)


def decided(table: LaneTable | None, *, asked: Ask = ASK, signals: Signals = SIGNALS):
    policy = sealed(msgspec.structs.replace(policy_of(), lanes=table))
    return decide(asked, signals, situation_of(CHEAP, DEAR), policy)


def stages(decision) -> list[str]:
    return [one.deployment for one in decision.stages]


def test_a_lane_where_the_cheap_model_is_as_good_goes_to_it():
    made = decided(table_of(tally("cheap", share=0.93), tally("dear", share=0.93)))
    assert (stages(made), made.lane) == (["cheap"], LANE)


def test_a_lane_where_it_is_worse_goes_to_the_better_one():
    made = decided(table_of(tally("cheap", share=0.5), tally("dear", share=0.93)))
    assert (stages(made), made.lane) == (["dear"], LANE)


def test_evidence_of_one_lane_says_little_of_another():
    table = table_of(
        tally("cheap", "rewrite/plain/medium", share=0.95),
        tally("dear", "rewrite/plain/medium", share=0.95),
        tally("cheap", share=0.4),
        tally("dear", share=0.95),
    )
    rewriting = Signals(task="rewrite", lane="rewrite", expected_output_tokens=100)
    assert stages(decided(table)) == ["dear"]
    assert stages(decided(table, signals=rewriting)) == ["cheap"]


def test_what_fits_no_lane_goes_to_the_best_single():
    made = decided(table_of(tally("cheap", "rewrite", share=0.99), tally("dear", "*", share=0.9)))
    assert stages(made) == ["dear"]
    assert made.lane is None
    assert made.abstained == "the query fits no known lane: the best single answers"


def test_a_lane_with_few_labels_is_not_known_yet():
    made = decided(table_of(tally("cheap", labels=19, share=1.0)))
    assert made.lane is None


def test_without_a_table_nothing_changes():
    assert decided(None).lane is None
    assert "lane" not in msgspec.to_builtins(decided(None))


@pytest.mark.parametrize("lane", [LANE, "open_qa", "*"])
def test_a_pin_overrules_the_evidence(lane):
    pins = (LanePin(lane=lane, deployment="cheap"),)
    made = decided(table_of(tally("cheap", share=0.1), tally("dear"), pins=pins))
    assert stages(made) == ["cheap"]
    assert made.lane == lane
    assert stages(decided(table_of(pins=(LanePin(lane=LANE, deployment="gone"),)))) == ["dear"]


def test_a_label_of_the_tenants_own_is_a_lane_of_that_tenant_alone():
    asked = msgspec.structs.replace(ASK, task="invoices", tenant="abc")
    assert path_of(asked, SIGNALS, {})[0] == "invoices@abc"
    table = table_of(tally("cheap", "invoices@abc"), tally("dear", "invoices@abc"))
    assert decided(table, asked=asked).lane == "invoices@abc"
    other = msgspec.structs.replace(asked, tenant="def")
    assert decided(table, asked=other).lane is None


def test_parents_of_lanes():
    assert parent_of("open_qa/math/simple+hard-long") == "open_qa/math/simple+hard"
    assert parent_of("open_qa/math/simple+hard") == "open_qa/math/simple"
    assert parent_of("in-voice@abc-long") == "in-voice@abc"
    assert parent_of("in-voice@abc") == "*"
    assert parent_of("open_qa") == "*"
    assert parent_of("*") is None


def test_a_cut_lane_files_each_query_on_its_side():
    cuts = {"open_qa": "long", "open_qa-long": "novel"}
    path = path_of(ASK, SIGNALS, cuts)
    assert path[-4:] == ("open_qa-long-novel", "open_qa-long", "open_qa", "*")
    longer = msgspec.structs.replace(SIGNALS, expected_output_tokens=900)
    assert "open_qa+long" in path_of(ASK, longer, cuts)


def test_probes_are_the_sides_of_cuts_not_made_yet():
    probes = probes_of((LANE, "*"), answers_of(SIGNALS))
    assert len(probes) == len(QUESTIONS)
    assert f"{LANE}-long" in probes
    assert not any("long-long" in one for one in probes_of((f"{LANE}-long",), answers_of(SIGNALS)))
    assert probes_of(("*",), answers_of(SIGNALS)) == ()


def sides(yes: tuple[float, float], no: tuple[float, float], labels: float = 100):
    return [
        tally(name, f"{LANE}{sign}hard", labels=labels, share=share)
        for sign, pair in (("+", yes), ("-", no))
        for name, share in zip(("cheap", "dear"), pair, strict=True)
    ] + [tally("cheap", labels=2 * labels), tally("dear", labels=2 * labels)]


def test_a_lane_splits_where_models_compare_differently_and_merges_when_they_no_longer_do():
    cuts, said = revised((), sides((0.3, 0.9), (0.9, 0.9)))
    assert cuts == (Cut(lane=LANE, question="hard"),)
    assert said[0].startswith(f"split {LANE} by hard")
    assert revised(cuts, sides((0.7, 0.9), (0.9, 0.9)))[0] == cuts
    merged_cuts, said = revised(cuts, sides((0.8, 0.9), (0.8, 0.9)))
    assert merged_cuts == ()
    assert said[0].startswith(f"merged {LANE}: hard")


def test_a_question_that_is_harder_for_all_splits_nothing():
    assert revised((), sides((0.4, 0.4), (0.9, 0.9)))[0] == ()
    assert revised((), sides((0.3, 0.9), (0.9, 0.9), labels=15))[0] == ()


counts = st.builds(
    Tally,
    lane=st.sampled_from(["a", "b", "*"]),
    deployment=st.sampled_from(["x", "y"]),
    labels=st.integers(0, 50).map(float),
    correct=st.just(0.0),
    answers=st.integers(0, 50),
)


@given(st.lists(counts, max_size=6), st.lists(counts, max_size=6), st.lists(counts, max_size=6))
@settings(max_examples=30)
def test_tables_add_up_in_any_order(a, b, c):
    assert merged(a, b, c) == merged(c, merged(b, a))
    total = sum(one.labels for one in (*a, *b, *c))
    assert sum(one.labels for one in merged(a, b, c)) == total


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), max_size=30))
@settings(max_examples=30)
def test_observing_is_adding(labels):
    tallies: dict[Any, Tally] = {}
    for one in labels:
        tallies |= observed(tallies, Seen(lanes=("a", "*"), deployment="x", correct=one))
    assert len(tallies) == (2 if labels else 0)
    for one in tallies.values():
        assert (one.labels, one.correct) == (len(labels), sum(labels))


@given(labels=st.integers(20, 400), share=st.floats(0, 1), parent=st.floats(0, 1))
@settings(max_examples=40)
def test_a_lane_lies_between_its_own_share_and_its_parents(labels, share, parent):
    index = indexed(
        table_of(
            tally("cheap", "open_qa", labels=500, share=parent),
            tally("cheap", "open_qa/math", labels=labels, share=share),
        )
    )
    found = index.lanes["open_qa/math"].p_correct[0].p_correct
    assert min(share, parent) - 1e-9 <= found <= max(share, parent) + 1e-9


def test_beliefs_are_the_root_that_lanes_shrink_to():
    belief = Belief(deployment="cheap", lane="*", p_correct=0.2, evidence=5000)
    found = indexed(table_of(tally("cheap", labels=100, share=1.0)), (belief,)).lanes[LANE]
    assert found.p_correct[0].p_correct == pytest.approx((100 + 100 * 0.2) / 200)


def test_malformed_answers_bound_what_can_be_right():
    bad = tally("cheap", share=1.0, answers=180, failed=100)
    assert indexed(table_of(bad)).lanes[LANE].p_correct[0].p_correct == pytest.approx(0.5)


def test_heads_of_ones_own_are_weighed_with_the_lane():
    lane, _ = on_lane(indexed(table_of(tally("cheap", labels=100, share=1.0))), ASK, SIGNALS)
    assert lane is not None
    head = msgspec.structs.replace(
        SIGNALS, p_correct=(PCorrect(deployment="cheap", p_correct=0.0, evidence=100),)
    )
    assert with_evidence(head, lane).p_correct[0].p_correct == pytest.approx(0.5)


EVEN = table_of(tally("cheap", labels=60), tally("dear", labels=60), explore_ratio=0.2)


def test_exploration_is_as_frequent_as_it_says_and_its_propensity_is_written_down():
    drawn_ones = Counter()
    for number in range(2000):
        made = decided(EVEN, asked=msgspec.structs.replace(ASK, id=f"r{number}"))
        assert [one.propensity for one in made.arms] == [0.8, pytest.approx(0.2)]
        named = {one.deployment: one.propensity for one in made.arms}
        assert made.propensity == named[made.stages[0].deployment]
        drawn_ones[made.stages[0].deployment == made.arms[0].deployment] += 1
        assert {one.deployment for one in (*made.stages, *made.fallbacks)} == {"cheap", "dear"}
    assert 320 < drawn_ones[False] < 480


@pytest.mark.parametrize(
    "changes",
    [
        {"preference": 0.0},
        {"turns": 2, "warm": (WarmPrefix(deployment="cheap", prefix_tokens=100),)},
        {"conversation_pin": "cheap"},
    ],
)
def test_quality_sessions_and_tool_results_are_not_explored(changes):
    for number in range(50):
        asked = msgspec.structs.replace(ASK, id=f"r{number}", **changes)
        assert decided(EVEN, asked=asked).arms == ()


def test_a_model_that_is_known_to_be_worse_is_not_explored():
    known = table_of(
        tally("cheap", labels=900, share=0.3), tally("dear", labels=900), explore_ratio=0.2
    )
    assert decided(known).arms == ()


@given(st.text(max_size=20), st.text(max_size=20), st.floats(0.001, 0.9), st.integers(0, 4))
@settings(max_examples=40)
def test_arms_are_a_distribution_and_every_lot_draws_one(policy_id, ask_id, ratio, rivals):
    arms = arms_of("c", [f"r{n}" for n in range(rivals)], ratio=ratio)
    assert sum(one.propensity for one in arms) == pytest.approx(1)
    assert arms[0].propensity >= 0.5
    lot = lot_of(policy_id, ask_id)
    assert 0 <= lot < 1
    assert drawn(arms, lot) in arms


def test_labels_of_other_lanes_do_not_keep_a_rival_from_being_tried():
    table = table_of(
        *[tally(name, "*", labels=3000, share=0.9) for name in ("cheap", "dear")],
        tally("dear", labels=60),
    )
    lane, _ = on_lane(indexed(table), ASK, SIGNALS)
    assert lane is not None
    assert lane.labels == {"dear": 60}
    fit = [
        (name, Estimate(input_tokens=1, output_tokens=1, p_correct=p, evidence=1000), False)
        for name, p in (("dear", 0.9), ("cheap", 0.82))
    ]
    assert rivals_of("dear", fit, floor=0.88, most_usd=1.0) == ()
    assert rivals_of("dear", fit, floor=0.88, most_usd=1.0, labels=lane.labels) == ("cheap",)
    many = {"dear": 60.0, "cheap": 900.0}
    assert rivals_of("dear", fit, floor=0.88, most_usd=1.0, labels=many) == ()
