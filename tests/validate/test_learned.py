"""The shipped scorers: what they say, what they are made of, and that they ship no text."""

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic import plugins
from metabolic.core.attempt import Attempt, Call, Reply, ReplyChoice
from metabolic.core.request import Message, Request, Text
from metabolic.validate import shipped
from metabolic.validate.features import NAMES, lane_of, signals_of
from metabolic.validate.support import FEATURES
from metabolic.validate.trees import Tree, Trees

ATTEMPT = Attempt(call=Call(id="c0", stage=0, deployment="d"), began_s=0.0, ended_s=1.0)
SUM = "Tom has 12 apples and buys 30 more at $2 each. How many apples has he now?"


def verdict(question, *answers, logprobs=(), **options):
    message = Message(role="user", content=(Text(text=question),))
    request = Request(id="r", dialect="chat", model="auto", messages=(message,))
    choices = tuple(ReplyChoice(text=one, logprobs=tuple(logprobs)) for one in answers)
    validator = plugins.validator("learned", options)
    return asyncio.run(validator.check(request, ATTEMPT, Reply(choices=choices)))


def test_a_sum_that_does_not_add_up_is_less_acceptable():
    good = verdict(SUM, "He has 12 + 30 = 42 apples after the purchase.\n#### 42").confidence
    bad = verdict(SUM, "He has 12 + 30 = 52 apples after the purchase.\n#### 52").confidence
    assert good is not None
    assert bad is not None
    assert good > bad + 0.1


def test_unsure_tokens_are_less_acceptable():
    sure = verdict("Capital of France?", "Paris", logprobs=(-0.01, -0.02)).confidence
    unsure = verdict("Capital of France?", "Paris", logprobs=(-2.5, -1.9)).confidence
    assert sure is not None
    assert unsure is not None
    assert sure > unsure


def test_the_least_acceptable_choice_speaks_for_all():
    good = "He has 12 + 30 = 42 apples after the purchase.\n#### 42"
    bad = "He has 12 + 30 = 52 apples after the purchase.\n#### 52"
    assert verdict(SUM, good, bad).confidence == verdict(SUM, bad).confidence


def test_free_text_without_log_probabilities_gets_no_opinion():
    assert verdict("Capital of France?", "Paris").confidence is None


def test_signals_are_numbers_by_name_and_only_when_asked_for():
    assert verdict(SUM, "12 + 30 = 42").signals == ()
    found = verdict(SUM, "12 + 30 = 42", signals=True).signals
    assert {"equations_ok", "chars"} <= {one.name for one in found}
    assert not any(math.isnan(one.value) for one in found)


@pytest.mark.parametrize(
    ("question", "answer", "lane"),
    [
        ("What does def f(x): return x give for 1?", "1", "code"),
        ("Solve $x^2 = 4$ for x.", "The solutions are 2 and -2, by taking roots.", "latex"),
        (SUM, "He has 12 + 30 = 42 apples after the purchase.", "math"),
        ("Who wrote Emma?", "Jane Austen", "general"),
    ],
)
def test_lanes_are_told_by_form(question, answer, lane):
    assert lane_of(question, answer) == lane


def test_the_shipped_weights_are_small_numbers_with_known_names():
    found = shipped.answers()
    assert {"math", "code", "latex", "general"} == {lane.name for lane in found.lanes}
    assert all(lane.trees.names == NAMES for lane in found.lanes)
    assert shipped.copied().names == FEATURES
    assert shipped.weights_version() == found.version


@given(
    st.lists(
        st.floats(allow_nan=True, allow_infinity=False), min_size=len(NAMES), max_size=len(NAMES)
    )
)
def test_every_row_gets_a_probability(row):
    for lane in shipped.answers().lanes:
        assert 0.0 <= lane.trees.p(row) <= 1.0


@given(st.text(max_size=200), st.text(max_size=200), st.lists(st.floats(-30, 0), max_size=6))
def test_signals_have_one_value_for_each_name(question, answer, logprobs):
    assert len(signals_of(question, answer, logprobs)) == len(NAMES)


def test_a_tree_sends_what_is_missing_where_it_was_taught():
    tree = Tree((0, -1, -1), (0.5, -1.0, 1.0), (1, 0, 0), (2, 0, 0), (1, 0, 0))
    model = Trees(names=("x",), base=0.0, trees=(tree,))
    assert [model.raw([one]) for one in (0.5, 0.6, math.nan)] == [-1.0, 1.0, -1.0]
