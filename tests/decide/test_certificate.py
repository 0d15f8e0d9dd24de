"""Certificates: what is certified, what is refused and why."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metabolic.core.certificate import Certificate, Certified
from metabolic.core.metabolic import Level
from metabolic.decide.certificate import GRID, Pair, Subject, certify, kept_losses, place

SUBJECT = Subject(
    lane="closed_qa",
    deployment="small",
    reference="large",
    labeller="exact_match",
    score="shape@1+confidence@1",
)


def rows(count: int, *, seed: int = 0) -> list[Pair]:
    """Return drafts whose chance of being worse falls with their score."""
    draw = random.Random(seed)
    made: list[Pair] = []
    for _ in range(count):
        sure = draw.random()
        wrong = draw.random() > sure**0.3
        made.append(Pair(confidence=sure, loss=1.0 if wrong else 0.0))
    return made


def test_sure_drafts_are_certified_and_unsure_ones_are_not() -> None:
    made = certify(rows(600), SUBJECT, epsilon=0.05, delta=0.1)
    assert made.refused is None
    loosest = made.thresholds[-1]
    assert 0.3 < loosest.kept_ratio < 0.9
    assert loosest.loss_ratio < 0.05
    assert made.thresholds[0].min_confidence > loosest.min_confidence
    assert made.tested == len(GRID)


def test_a_certificate_names_everything_it_rests_on() -> None:
    made = certify(rows(600), SUBJECT, epsilon=0.05, delta=0.1, lanes=2, seed=7)
    assert (made.lane, made.deployment, made.reference) == ("closed_qa", "small", "large")
    assert (made.labeller, made.score) == ("exact_match", "shape@1+confidence@1")
    assert (made.rows, made.labels_used, made.seed) == (600, 600, 7)
    assert made.p_exceed == pytest.approx(0.05)
    assert made.family == "bonferroni: 0.1 over 2 lanes"
    assert len(made.id) == 32


def test_too_few_rows_are_refused_with_the_number_needed() -> None:
    made = certify(rows(40), SUBJECT, epsilon=0.05, delta=0.1)
    assert made.thresholds == ()
    assert made.refused == "40 labelled rows; 50 are needed even without a single loss"


def test_drafts_that_lose_everywhere_are_refused() -> None:
    bad = [Pair(confidence=0.9, loss=1.0 if step % 3 == 0 else 0.0) for step in range(300)]
    made = certify(bad, SUBJECT, epsilon=0.05, delta=0.1)
    assert made.refused is not None
    assert "loses 0.333 of all rows" in made.refused
    assert made.labels_needed is None


def test_a_loss_too_near_the_bound_says_how_many_rows_would_tell() -> None:
    near = [Pair(confidence=0.9, loss=1.0 if step % 25 == 0 else 0.0) for step in range(200)]
    made = certify(near, SUBJECT, epsilon=0.05, delta=0.1)
    assert made.refused is not None
    assert "cannot tell" in made.refused
    assert made.labels_needed is not None
    assert made.labels_needed > 200


def test_drafts_without_a_score_are_refused() -> None:
    made = certify([Pair(confidence=None, loss=0.0)] * 100, SUBJECT, epsilon=0.05, delta=0.1)
    assert made.refused == "no draft has a score"


def test_the_walk_stops_at_the_first_threshold_that_fails() -> None:
    good = [Pair(confidence=0.9, loss=0.0)] * 100
    bad = [Pair(confidence=0.5, loss=1.0)] * 100
    best = [Pair(confidence=0.1, loss=-1.0)] * 100
    made = certify(
        [row for three in zip(good, bad, best, strict=True) for row in three],
        SUBJECT,
        epsilon=0.05,
        delta=0.1,
        grid=(0.8, 0.4, 0.05),
    )
    assert [one.min_confidence for one in made.thresholds] == [0.8]


@settings(max_examples=15)
@given(st.integers(0, 50), st.sampled_from([0.02, 0.05, 0.1]))
def test_more_lanes_never_certify_more(seed: int, epsilon: float) -> None:
    drawn = rows(300, seed=seed)
    alone = certify(drawn, SUBJECT, epsilon=epsilon, delta=0.1)
    among = certify(drawn, SUBJECT, epsilon=epsilon, delta=0.1, lanes=5)
    assert len(among.thresholds) <= len(alone.thresholds) + 2
    assert among.p_exceed < alone.p_exceed


@settings(max_examples=15)
@given(st.integers(0, 50))
def test_what_is_certified_lost_less_than_the_bound_on_its_rows(seed: int) -> None:
    drawn = rows(300, seed=seed)
    for one in certify(drawn, SUBJECT, epsilon=0.05, delta=0.1).thresholds:
        losses = kept_losses(drawn, one.min_confidence)
        assert sum(losses) / len(losses) == pytest.approx(one.loss_ratio)
        assert one.loss_ratio < 0.05


# --- where in the set -------------------------------------------------------------------------


def with_thresholds(*pairs: tuple[float, float]) -> Certificate:
    return Certificate(
        lane="a",
        deployment="small",
        reference="large",
        labeller="judge",
        score="s",
        max_loss_ratio=0.05,
        p_exceed=0.1,
        rows=500,
        labels_used=500,
        thresholds=tuple(
            Certified(min_confidence=at, kept_ratio=kept, loss_ratio=0.0) for at, kept in pairs
        ),
    )


FIVE = with_thresholds((0.99, 0.0), (0.9, 0.1), (0.8, 0.2), (0.7, 0.3), (0.6, 0.4), (0.5, 0.5))


@pytest.mark.parametrize(
    ("preference", "level", "threshold"),
    [
        (0.0, "nominal", 0.9),
        (0.5, "nominal", 0.7),
        (1.0, "nominal", 0.5),
        (0.5, "unknown", 0.7),
        (0.5, "elevated", 0.6),
        (0.0, "elevated", 0.7),
        (0.0, "critical", 0.5),
        (7.0, "nominal", 0.5),
    ],
)
def test_dial_and_heat_choose_a_place_in_the_set(
    preference: float, level: Level, threshold: float
) -> None:
    assert place(FIVE, level=level, preference=preference).min_confidence == threshold


LEVELS: tuple[Level, ...] = ("unknown", "nominal", "elevated", "critical")


@given(
    st.floats(-1, 2),
    st.sampled_from(LEVELS),
)
def test_no_dial_and_no_heat_leave_the_set(preference: float, level: Level) -> None:
    assert place(FIVE, level=level, preference=preference) in FIVE.thresholds
