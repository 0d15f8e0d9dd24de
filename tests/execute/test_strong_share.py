"""A tenant's share of the largest models: counted slowly, capped in the decision."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from metabolic.bench.router_speed import fleet
from metabolic.config import Config
from metabolic.config.tables import RoutingTable
from metabolic.core.attempt import Run
from metabolic.core.decision import Policy
from metabolic.core.fleet import Situation
from metabolic.core.metabolic import MetabolicState
from metabolic.core.request import Ask
from metabolic.core.signals import Signals
from metabolic.decide.decide import decide
from metabolic.decide.profiles import profile
from metabolic.execute.sessions import Sessions
from metabolic.execute.strong_share import StrongShares
from metabolic.wiring.policy import watched

HARD = Signals(p_simple=0.0, p_medium=0.1, p_complex=0.9)
SITUATION = Situation(at_s=0.0, metabolic=MetabolicState(), fleet=fleet())
POLICY = Policy(id="p", profile=profile("datacenter"), max_strong_share_ratio=0.3)


def asked(share: float | None, policy: Policy = POLICY, **fields: object) -> str:
    ask = Ask(id="r", at_s=0.0, input_tokens=50, strong_share_ratio=share)
    decision = decide(msgspec.structs.replace(ask, **fields), HARD, SITUATION, policy)
    return decision.stages[0].deployment


def test_below_the_cap_a_hard_query_gets_the_largest_model() -> None:
    assert asked(0.29) == "large"


def test_above_the_cap_it_gets_the_next_one_with_the_reason() -> None:
    assert asked(0.31) == "medium"
    ask = Ask(id="r", at_s=0.0, input_tokens=50, strong_share_ratio=0.31)
    reasons = {
        one.deployment: one.rejected for one in decide(ask, HARD, SITUATION, POLICY).candidates
    }
    assert reasons["large"] == "the tenant's share of the largest models is used up"


def test_who_pins_the_largest_model_gets_it() -> None:
    assert asked(1.0, pin="large") == "large"


def test_without_a_cap_or_a_count_nothing_changes() -> None:
    assert asked(None) == "large"
    assert asked(1.0, msgspec.structs.replace(POLICY, max_strong_share_ratio=None)) == "large"


def test_a_fleet_of_one_size_is_not_capped() -> None:
    only = Situation(at_s=0.0, metabolic=MetabolicState(), fleet=fleet(("large",)))
    ask = Ask(id="r", at_s=0.0, input_tokens=50, strong_share_ratio=1.0)
    assert decide(ask, HARD, only, POLICY).stages[0].deployment == "large"


def test_an_attacker_is_held_near_the_cap() -> None:
    shares, strong = StrongShares(), 0
    for _ in range(2000):
        went = asked(shares.of("mallory")) == "large"
        shares.saw("mallory", strong=went)
        strong += went
    assert 0.25 < strong / 2000 < 0.35


def test_the_runtime_counts_who_was_asked_first() -> None:
    sessions = Sessions()
    ask = Ask(id="r", at_s=0.0, tenant="t", input_tokens=50)
    assert sessions.counted(ask) is ask
    sessions.watch(frozenset({"large"}))
    counted = sessions.counted(ask)
    assert counted.strong_share_ratio == 0.0
    run = Run(decision=decide(counted, HARD, SITUATION, POLICY))
    sessions.learn(counted, run, ())
    assert sessions.counted(ask).strong_share_ratio == 1 / 200


def test_the_largest_are_watched_only_with_a_cap() -> None:
    capped = Config(routing=RoutingTable(max_strong_share=0.3))
    assert watched(Config(), fleet()) == frozenset()
    assert watched(capped, fleet()) == {"large"}
    assert watched(capped, fleet(("small", "medium"))) == {"medium"}


@given(st.lists(st.booleans(), max_size=300))
def test_a_share_is_a_share(requests: list[bool]) -> None:
    shares = StrongShares()
    for strong in requests:
        shares.saw("t", strong=strong)
    assert 0.0 <= shares.of("t") <= 1.0


def test_tenants_do_not_pile_up() -> None:
    shares = StrongShares()
    for number in range(10_050):
        shares.saw(f"t{number}", strong=True)
    assert len(list(shares.shares())) == 10_000
    assert shares.of("t0") == 0.0
