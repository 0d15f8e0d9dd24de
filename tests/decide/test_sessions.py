"""Conversations are routed as a whole."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metabolic.core.decision import Belief
from metabolic.core.fleet import Price
from metabolic.core.request import Ask, WarmPrefix
from metabolic.core.signals import Signals
from metabolic.decide.decide import decide
from metabolic.decide.sessions import home_of
from metabolic.testing.fleets import deployment, policy_of, situation_of


def priced(name: str, usd: float, *, parameters: int, cached: float = 0.1):
    price = Price(
        input_usd_per_token=usd,
        output_usd_per_token=4 * usd,
        cached_usd_per_token=cached * usd,
    )
    made = deployment(name, parameters=parameters, price=price)
    roomy = msgspec.structs.replace(made.model, context_tokens=1_000_000)
    return msgspec.structs.replace(made, model=roomy)


CHEAP = priced("cheap", 1e-6, parameters=1_000_000_000)
DEAR = priced("dear", 2e-6, parameters=6_000_000_000)
POLICY = policy_of(
    Belief(deployment="cheap", lane="easy", p_correct=0.94, evidence=1000),
    Belief(deployment="dear", lane="easy", p_correct=0.95, evidence=1000),
    Belief(deployment="cheap", lane="hard", p_correct=0.5, evidence=1000),
    Belief(deployment="dear", lane="hard", p_correct=0.9, evidence=1000),
)


def chosen(lane: str, *, tokens: int = 20_000, policy=POLICY, **changes: object):
    ask = Ask(id="r", at_s=1.0, session="s", stream=True, delivery="stream", input_tokens=tokens)
    ask = msgspec.structs.replace(ask, **changes)
    signals = Signals(lane=lane, expected_output_tokens=50)
    return decide(ask, signals, situation_of(CHEAP, DEAR), policy)


def stage(decision) -> str:
    return decision.stages[0].deployment


def warm(**tokens: int) -> tuple[WarmPrefix, ...]:
    return tuple(WarmPrefix(deployment=name, prefix_tokens=n) for name, n in tokens.items())


def test_an_easy_turn_alone_goes_to_the_cheap_model():
    assert stage(chosen("easy")) == "cheap"


def test_a_long_session_begins_where_it_will_probably_end():
    made = chosen("easy", turns=0)
    assert stage(made) == "dear"
    assert made.abstained == "the session is best had with dear"


def test_a_short_prompt_does_not_bind_a_session():
    assert stage(chosen("easy", tokens=20, turns=0)) == "cheap"


def test_an_easy_turn_stays_where_the_session_is_warm():
    near: dict[str, Any] = {"tokens": 20_100, "warm": warm(dear=20_000)}
    made = chosen("easy", turns=3, **near)
    assert stage(made) == "dear"
    assert made.plans  # those it was compared with stay in the record


def test_a_hard_turn_leaves_a_home_that_is_not_good_enough():
    assert stage(chosen("hard", turns=3, tokens=20_100, warm=warm(cheap=20_000))) == "dear"


def test_a_session_that_nothing_is_lost_by_moving_moves():
    made = chosen("easy", turns=8, tokens=20_000, warm=warm(dear=10, cheap=9))
    assert stage(made) == "cheap"


def test_a_tool_result_goes_back_whatever_is_warm():
    asked: dict[str, Any] = {"turns": 3, "warm": warm(dear=20_000), "conversation_pin": "cheap"}
    assert stage(chosen("easy", **asked)) == "cheap"


def test_home_has_the_longest_prefix():
    assert home_of(()) is None
    assert home_of(warm(a=5, b=9, c=9)).deployment == "c"


@given(
    tokens=st.integers(10, 50_000),
    prefix=st.integers(0, 50_000),
    turns=st.integers(0, 40),
    lane=st.sampled_from(["easy", "hard"]),
)
@settings(max_examples=60)
def test_a_session_never_gets_a_model_that_is_not_good_enough(tokens, prefix, turns, lane):
    at = warm(cheap=min(tokens, prefix)) if prefix else ()
    made = chosen(lane, tokens=tokens, warm=at, turns=turns)
    if lane == "hard":
        assert stage(made) == "dear"
    assert made.delivery == "stream"


@pytest.mark.parametrize("lane", ["easy", "hard"])
def test_who_is_not_counted_is_decided_turn_by_turn(lane):
    counted = chosen(lane, warm=warm(dear=100), turns=None)
    assert not any("session" in reason for reason in counted.reasons)
