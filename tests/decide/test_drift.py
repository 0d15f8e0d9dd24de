"""Drift: rarely a false alarm, soon a true one, and labels weighed by their propensity."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.core.certificate import Certificate
from metabolic.decide.drift import FLOOR, Label, Watch, alarmed, watch
from metabolic.execute.vigil import Vigil

START = Watch(lane="a", epsilon=0.05)


def play(loss: float, labels: int, *, seed: int, start: Watch = START) -> Watch:
    draw, state = random.Random(seed), start
    for _ in range(labels):
        state = watch(state, Label(loss=1.0 if draw.random() < loss else 0.0, propensity=0.01))
    return state


def test_a_lane_that_keeps_to_its_bound_seldom_alarms() -> None:
    alarms = sum(play(0.05, 400, seed=seed).alarm for seed in range(60))
    assert alarms <= 60 * 0.25


def test_a_lane_that_loses_three_times_its_bound_is_found() -> None:
    found = [play(0.2, 600, seed=seed).alarm for seed in range(20)]
    assert sum(found) >= 18


def test_long_good_times_do_not_hide_a_change() -> None:
    calm = play(0.0, 2000, seed=0)
    assert calm.evidence <= 1
    assert not calm.alarm
    assert play(0.4, 250, seed=1, start=calm).alarm


def test_an_alarm_stays() -> None:
    up = play(1.0, 50, seed=0)
    assert up.alarm
    assert play(0.0, 500, seed=0, start=up).alarm


def test_rows_labelled_more_often_count_less() -> None:
    rare = watch(START, Label(loss=1.0, propensity=0.01))
    often = watch(START, Label(loss=1.0, propensity=1.0))
    assert rare.evidence > often.evidence > 1.0


def test_a_propensity_below_the_smallest_is_refused() -> None:
    with pytest.raises(ValueError, match="below"):
        watch(START, Label(loss=0.0, propensity=0.001))


def test_alarmed_lanes_are_named_once_and_sorted() -> None:
    up = Watch(lane="b", epsilon=0.05, alarm=True)
    also = Watch(lane="a", epsilon=0.05, alarm=True)
    assert alarmed((up, also, START, up)) == ("a", "b")


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(0.01, 1)), max_size=60))
def test_evidence_is_positive_and_never_far_below_its_floor(
    labels: list[tuple[float, float]],
) -> None:
    state = START
    for loss, propensity in labels:
        state = watch(state, Label(loss=loss, propensity=propensity))
        assert state.evidence >= FLOOR / 4
    assert state.labels == len(labels)


def certificate(lane: str, *, refused: str | None = None) -> Certificate:
    return Certificate(
        lane=lane,
        deployment="small",
        reference="large",
        labeller="judge",
        score="s",
        max_loss_ratio=0.05,
        p_exceed=0.1,
        rows=1,
        labels_used=1,
        refused=refused,
    )


def test_a_vigil_raises_each_alarm_once_and_watches_certified_lanes_only() -> None:
    raised: list[tuple[str, ...]] = []
    vigil = Vigil(
        [certificate("a"), certificate("b"), certificate("c", refused="few")], alarm=raised.append
    )
    for _ in range(80):
        for lane in ("b", "a", "c", "d"):
            vigil.label(lane, loss=1.0, propensity=0.01)
    assert raised == [("b",), ("a", "b")]
    assert [one.lane for one in vigil.watches()] == ["a", "b"]
