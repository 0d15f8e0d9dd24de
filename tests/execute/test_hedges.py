"""The budget of hedges: a burst passes, the long run keeps to the share."""

import random

from hypothesis import given
from hypothesis import strategies as st

from metabolic.config import Config, parse
from metabolic.core.attempt import Attempt, Call, Run
from metabolic.core.decision import Decision
from metabolic.core.request import Ask
from metabolic.execute.hedges import Hedges
from metabolic.execute.sessions import Sessions
from metabolic.wiring.policy import hedges_of

ASK = Ask(id="r", at_s=0.0, delivery="hedge")


def ran(*, hedged: bool) -> Run:
    roles = ("answer", "hedge") if hedged else ("answer",)
    return Run(
        decision=Decision(stages=()),
        attempts=tuple(
            Attempt(
                call=Call(id=f"c{i}", stage=i, deployment="x", role=role), began_s=0.0, ended_s=1.0
            )
            for i, role in enumerate(roles)
        ),
    )


def test_only_who_asks_may_hedge_unless_replicas_may_be_asked_for_all() -> None:
    asks = Hedges(most=0.5, always=False)
    assert asks.may(ASK)
    assert not asks.may(Ask(id="r", at_s=0.0))
    assert Hedges(most=0.5, always=True).may(Ask(id="r", at_s=0.0))


@given(st.floats(0.02, 0.5), st.integers(0, 9))
def test_in_the_long_run_the_share_is_kept(most: float, seed: int) -> None:
    hedges, lot, made = Hedges(most=most, always=False), random.Random(seed), 0
    for _ in range(3000):
        hedged = hedges.may(ASK) and lot.random() < 0.9
        made += hedged
        hedges.saw(ran(hedged=hedged))
    assert made / 3000 <= most + 0.1 * most + 0.03


def test_requests_without_a_hedge_give_the_budget_back() -> None:
    hedges = Hedges(most=0.05, always=False)
    while hedges.may(ASK):
        hedges.saw(ran(hedged=True))
    for _ in range(60):
        hedges.saw(ran(hedged=False))
    assert hedges.may(ASK)


def test_the_budget_is_read_from_the_configuration_and_used_for_asks() -> None:
    assert hedges_of(parse("[delivery]\nhedge_max_share = 0.0", source="x")) is None
    found = hedges_of(parse("[delivery]\nhedge_max_share = 0.2\nlate_ratio = 3", source="x"))
    assert found is not None
    assert (found.most, found.always) == (0.2, True)
    sessions = Sessions()
    assert not sessions.counted(ASK).may_hedge
    sessions.watch(frozenset(), hedges_of(Config()))
    assert sessions.counted(ASK).may_hedge
    for _ in range(20):
        sessions.learn(ASK, ran(hedged=True), ())
    assert not sessions.counted(ASK).may_hedge
