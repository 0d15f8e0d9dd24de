"""What shadows add up to: intervals that hold whenever they are looked at, and verdicts."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.core.attempt import Reply, ReplyChoice, ToolCall
from metabolic.core.shadow import ShadowRow
from metabolic.decide.shadow import FEWEST, Interval, Sum, lot_of, thinning, verdict
from metabolic.decide.shadow_label import by_feedback, by_judge, compared
from metabolic.decide.shadow_totals import Totals


def filled(n: int, *, part: float = 0.3, spread: float = 0.0, seed: int = 0) -> Sum:
    lot, made = random.Random(seed), Sum()
    for number in range(n):
        made.add(str(number), part=part + spread * lot.uniform(-1, 1), whole=1.0)
    return made


def test_few_sessions_have_a_value_and_no_interval() -> None:
    found = filled(FEWEST - 1).ratio()
    assert found is not None
    assert (found.low, found.high) == (None, None)
    assert found.value == pytest.approx(0.3)
    assert Sum().ratio() is None


def test_the_interval_narrows() -> None:
    widths: list[float] = []
    for n in (20, 100, 1000):
        found = filled(n, spread=0.5).ratio()
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        widths.append(found.high - found.low)
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < widths[0] / 8


def test_requests_of_one_session_are_one_unit() -> None:
    one, many = Sum(), Sum()
    for number in range(400):
        part = float(number // 10 % 2)
        one.add(str(number // 10), part=part, whole=1.0)
        many.add(str(number), part=part, whole=1.0)
    a, b = one.ratio(), many.ratio()
    assert a is not None
    assert b is not None
    assert a.value == b.value
    assert a.sessions == 40
    assert a.high is not None
    assert b.high is not None
    assert a.high - a.value > 2 * (b.high - b.value)


def test_the_truth_is_inside_at_every_look() -> None:
    """Sessions of log-normal cost, half of them kept at a seventh of the price."""
    lot, missed, runs, truth = random.Random(7), 0, 150, 0.35
    for _ in range(runs):
        made, bad = Sum(), False
        for number in range(300):
            cost = math.exp(lot.gauss(0, 1))
            made.add(str(number), part=cost * ((lot.random() < 0.5) - 0.15), whole=cost)
            if number % 10 == 9 and (found := made.ratio()) and found.low is not None:
                assert found.high is not None
                bad = bad or not found.low <= truth <= found.high
        missed += bad
    assert missed / runs <= 0.08


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(-5, 5), st.floats(0.01, 5)), max_size=60))
def test_sums_are_those_of_a_plain_loop(rows: list[tuple[int, float, float]]) -> None:
    made = Sum()
    for session, part, whole in rows:
        made.add(str(session), part=part, whole=whole, propensity=0.5)
    assert made.part == pytest.approx(2 * sum(part for _, part, _ in rows), abs=1e-6)
    assert made.whole == pytest.approx(2 * sum(whole for _, _, whole in rows), abs=1e-6)


@given(st.integers(0, 9), st.text(max_size=20))
def test_a_session_s_lot_is_its_own(seed: int, session: str) -> None:
    assert 0 <= lot_of(seed, session) < 1
    assert lot_of(seed, session) == lot_of(seed, session)


def test_heat_and_load_thin_the_sample() -> None:
    assert thinning("unknown", in_flight=8, busy=16) == 1.0
    assert thinning("elevated", in_flight=0, busy=16) == 0.25
    assert thinning("nominal", in_flight=9, busy=16) == 0.25
    assert thinning("nominal", in_flight=17, busy=16) == 0.0


def between(low: float, high: float) -> Interval:
    return Interval(value=(low + high) / 2, low=low, high=high, sessions=99)


@pytest.mark.parametrize(
    ("saving", "loss", "unjudged", "said"),
    [
        (None, None, 0.0, "not yet"),
        (between(-0.1, 0.4), between(0, 0.01), 0.0, "not yet"),
        (between(-0.3, -0.1), between(0, 0.01), 0.0, "do not switch"),
        (between(0.2, 0.4), between(0.07, 0.09), 0.0, "do not switch"),
        (between(0.2, 0.4), between(0.01, 0.07), 0.0, "not yet"),
        (between(0.2, 0.4), between(0.0, 0.02), 0.2, "not yet"),
        (between(0.2, 0.4), between(0.0, 0.02), 0.0, "switch"),
    ],
)
def test_the_verdict_is_the_careful_one(
    saving: Interval | None, loss: Interval | None, unjudged: float, said: str
) -> None:
    assert verdict(saving, loss, max_loss_ratio=0.05, unjudged_ratio=unjudged)[0] == said


def text(said: str) -> Reply:
    return Reply(choices=(ReplyChoice(text=said),))


def call(arguments: str) -> Reply:
    return Reply(choices=(ReplyChoice(tool_calls=(ToolCall(name="f", arguments=arguments),)),))


@pytest.mark.parametrize(
    ("draft", "reference", "loss"),
    [
        (text("The answer is 1,200."), text("So: #### 1200"), 0.0),
        (text("Paris"), text(" paris. "), 0.0),
        (text("Lyon"), text("Paris"), 1.0),
        (text('{"a": 1, "b": 2}'), text('{"b":2,"a":1}'), 0.0),
        (text('{"a": 1}'), text('{"a": 2}'), 1.0),
        (call('{"x": 1, "y": 2}'), call('{"y":2,"x":1}'), 0.0),
        (call('{"x": 1}'), text("I cannot."), 1.0),
        (text("word " * 30), text("other " * 30), None),
        (text("it rose by 3 in the year 2021 " * 3), text("it fell by 4 in 2020 " * 4), None),
    ],
)
def test_rules_compare_what_they_can(draft: Reply, reference: Reply, loss: float | None) -> None:
    found = compared(draft, reference, broken=False, both_broken=False)
    assert (None if found is None else found.loss) == loss


def test_a_broken_shape_loses_unless_both_are_broken() -> None:
    lost = compared(text("{"), text("{}"), broken=True, both_broken=False)
    tie = compared(text("{"), text("{"), broken=True, both_broken=True)
    assert lost is not None
    assert tie is not None
    assert (lost.loss, tie.loss) == (1.0, 0.0)
    assert lost.labeller == "deterministic_check"


def test_a_judge_s_scores_that_are_close_are_a_tie() -> None:
    found = [by_judge(a, b) for a, b in ((0.9, 0.85), (0.2, 0.9), (0.9, 0.2))]
    assert [None if one is None else one.loss for one in found] == [0.0, 1.0, -1.0]
    assert by_judge(None, 0.5) is None


def row(number: int, **more: object) -> ShadowRow:
    given: dict[str, object] = {
        "id": str(number),
        "at_s": 0.0,
        "session": str(number),
        "reference": "big",
        "deployment": "small",
        "chosen": True,
        "served": True,
        "loss": 0.0,
        "labeller": "exact_match",
        "base_usd": 1.0,
        "routed_usd": 0.1,
        "draft_usd": 0.1,
        "policy_id": "p",
    }
    return ShadowRow(**(given | more))  # type: ignore[arg-type]


def test_feedback_on_a_bad_answer_wins_nothing_and_loses_nothing() -> None:
    differs = row(0, loss=1.0)
    assert by_feedback(differs, 1.0).loss == 1.0
    assert by_feedback(differs, 0.0).loss == 0.0
    assert by_feedback(row(0, loss=None, labeller=None), 0.0).loss is None


def test_discarded_drafts_are_charged() -> None:
    totals = Totals()
    for number in range(40):
        totals.add(row(number, served=False, routed_usd=1.1))
    found = totals.findings(max_loss_ratio=0.05)
    assert found.saving is not None
    assert found.saving.value == pytest.approx(-0.1)
    assert found.verdict == "do not switch"
    assert found.served_ratio == 0.0


def test_a_tier_that_is_good_enough_alone_is_the_better_switch() -> None:
    totals = Totals()
    for number in range(2000):
        totals.add(row(number, routed_usd=0.1 if number % 2 else 1.1, served=bool(number % 2)))
    found = totals.findings(max_loss_ratio=0.05)
    assert found.best_single == "small"
    assert (found.verdict, found.why) == (
        "do not switch",
        "small alone saves more and loses no more",
    )


def test_what_nobody_could_judge_keeps_the_verdict_open() -> None:
    totals = Totals()
    for number in range(400):
        totals.add(row(number, loss=None, labeller=None))
    found = totals.findings(max_loss_ratio=0.05)
    assert found.unjudged_ratio == 1.0
    assert found.verdict == "not yet"
    assert found.best_single == "big"


def test_propensity_weighs_rows() -> None:
    totals = Totals()
    for number in range(100):
        totals.add(row(number, routed_usd=0.0, propensity=0.1))
        totals.add(row(1000 + number, routed_usd=1.0, propensity=1.0))
    found = totals.findings(max_loss_ratio=0.05)
    assert found.saving is not None
    assert found.saving.value == pytest.approx(10 / 11)
