"""What log-probabilities say, and how verdicts are merged."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.core.attempt import LogprobSummary, Verdict
from metabolic.decide.evidence import confidence, merge, summarise

_LOGPROBS = st.lists(st.floats(min_value=-200, max_value=0), min_size=1, max_size=60)
_VERDICTS = st.lists(
    st.builds(
        Verdict,
        well_formed=st.booleans(),
        doubtful=st.booleans(),
        confidence=st.none() | st.floats(min_value=0, max_value=1),
        reasons=st.lists(st.text(max_size=5), max_size=3).map(tuple),
        validator=st.text(max_size=5),
    ),
    max_size=5,
)


def test_summary_of_ten_tokens_has_the_quantiles_of_the_definition() -> None:
    summary = summarise([-0.1 * n for n in range(1, 11)])
    assert summary is not None
    assert summary.tokens == 10
    assert summary.mean == pytest.approx(-0.55)
    assert (summary.minimum, summary.q10) == (-1.0, -1.0)
    assert summary.q50 == pytest.approx(-0.6)


def test_no_tokens_are_no_evidence() -> None:
    assert summarise([]) is None
    assert summarise([math.nan]) is None
    assert confidence([]) is None


def test_impossible_tokens_are_clamped_and_the_mean_stays_finite() -> None:
    summary = summarise([0.0, -math.inf, -9999.0, math.nan])
    assert summary is not None
    assert summary.tokens == 3
    assert summary.minimum == -100.0


def test_confidence_is_the_geometric_mean_token_probability() -> None:
    assert confidence([summarise([math.log(0.9), math.log(0.4)])]) == pytest.approx(0.6)


def test_the_least_sure_choice_counts() -> None:
    sure, unsure = summarise([-0.1]), summarise([-2.0])
    assert confidence([sure, unsure]) == pytest.approx(math.exp(-2.0))
    assert confidence([unsure, sure]) == pytest.approx(math.exp(-2.0))


def test_a_choice_without_evidence_makes_the_set_unknown() -> None:
    assert confidence([summarise([-0.1]), None]) is None


def test_merging_takes_the_worst_of_each() -> None:
    merged = merge(
        [
            Verdict(well_formed=True, confidence=0.9, reasons=("a",), validator="x"),
            Verdict(well_formed=False, reasons=("b",), validator="y"),
            Verdict(well_formed=True, doubtful=True, confidence=0.4, validator="z"),
        ]
    )
    assert merged == Verdict(
        well_formed=False, doubtful=True, confidence=0.4, reasons=("a", "b"), validator="x+y+z"
    )


def test_nobody_has_nothing_against_an_answer() -> None:
    assert merge([]) == Verdict(well_formed=True)


@given(_LOGPROBS)
def test_a_summary_is_ordered(logprobs: list[float]) -> None:
    summary = summarise(logprobs)
    assert isinstance(summary, LogprobSummary)
    assert summary.minimum <= summary.q10 <= summary.q50 <= 0
    assert summary.minimum <= summary.mean <= 0
    sure = confidence([summary])
    assert sure is not None
    assert 0 <= sure <= 1


@given(_LOGPROBS)
def test_order_of_tokens_does_not_matter(logprobs: list[float]) -> None:
    assert summarise(logprobs) == summarise(logprobs[::-1])


@given(_VERDICTS)
def test_merging_twice_is_merging_once(verdicts: list[Verdict]) -> None:
    merged = merge(verdicts)
    assert merge([merged]) == merged
    assert merged.well_formed == all(verdict.well_formed for verdict in verdicts)
    assert merged.reasons == tuple(r for verdict in verdicts for r in verdict.reasons)
