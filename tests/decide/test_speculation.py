"""When drafting is on: by physics, by regime, and by what can be switched."""

from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from metabolic.core.decision import Belief, Decision, Policy
from metabolic.core.fleet import Deployment, Load, Situation, State
from metabolic.core.metabolic import MetabolicState, Profile
from metabolic.core.receipt import Record
from metabolic.core.request import Ask, WarmPrefix
from metabolic.core.signals import Signals
from metabolic.core.speculation import Drafter, Drafting, Granularity
from metabolic.decide.decide import decide
from metabolic.decide.drafting import Gain, gain, gate, is_twin, regime, twins_of
from metabolic.decide.evidence_labels import label_of
from metabolic.decide.profiles import profile
from metabolic.testing.fleets import deployment, policy_of, situation_of
from metabolic.testing.records import folded_record

EDGE, DATACENTER, MCU = profile("edge"), profile("datacenter"), profile("mcu")
COMPLEX = Signals(task="code_generation", p_simple=0.1, p_medium=0.1, p_complex=0.8)
PLAIN = Signals(task="code_generation", p_simple=0.8, p_medium=0.1, p_complex=0.1)
CALM = MetabolicState(level="nominal", headroom_c=40.0)


def _base(**given: Any) -> Deployment:
    return replace(
        deployment("m", parameters=1_500_000_000, decode_tokens_per_s=12.0),
        prefill_tokens_per_s=36.0,
        **given,
    )


def _twin(method: str = "ngram", *, cost: float = 0.0, name: str = "m+twin") -> Deployment:
    drafter = Drafter(method=method, twin_of="m", draft_cost_ratio=cost)
    return replace(_base(), name=name, drafting=drafter)


def _known(accepted: float, drafted: float, cost: float, *, spread: float = 0.05) -> Drafting:
    return Drafting(
        key="code_generation",
        accepted_ratio=accepted,
        low_ratio=accepted * (1 - spread),
        high_ratio=accepted * (1 + spread),
        drafted_ratio=drafted,
        token_cost_ratio=cost,
        steps=400.0,
    )


GOOD, BAD = _known(1.4, 1.5, 0.3), _known(2.4, 3.0, 1.3)


def _decide(
    *fleet: Deployment,
    known: Drafting | None = GOOD,
    state: MetabolicState = CALM,
    in_force: Profile = EDGE,
    signals: Signals = PLAIN,
    twin_state: State = "warm",
    load: Load | None = None,
    ask: Ask | None = None,
    **policy: Any,
) -> Decision:
    loads = [load or Load(deployment="m")]
    loads += [
        Load(deployment=one.name, state=twin_state, drafting=known) for one in fleet if is_twin(one)
    ]
    if len(fleet) == 1 and fleet[0].drafting is not None:
        loads = [replace(loads[0], drafting=known)]
    situation = replace(situation_of(*fleet, metabolic=state), load=tuple(loads))
    belief = Belief(deployment="m", lane="*", p_correct=0.8, evidence=100)
    made: Policy = replace(policy_of(belief, profile=in_force), **policy)
    return decide(ask or Ask(id="a", at_s=1.0, input_tokens=100), signals, situation, made)


def test_a_twin_answers_where_it_pays_and_says_by_how_much() -> None:
    made = _decide(_base(), _twin())
    assert [one.deployment for one in made.stages] == ["m+twin"]
    assert [one.deployment for one in made.fallbacks] == ["m"]
    found = made.speculation
    assert found is not None
    assert found.wanted
    assert found.applied
    assert found.how == "twin"
    assert found.twin_of == "m"
    assert found.regime == "idle"
    assert found.gain_ratio == pytest.approx(2.4 / 1.45, abs=1e-3)
    assert found.energy_ratio == pytest.approx(1.45 / 2.4, abs=1e-3)


def test_a_draft_that_is_always_right_and_costs_too_much_is_left_off() -> None:
    made = _decide(_base(), _twin("draft", cost=0.4), known=BAD)
    assert [one.deployment for one in made.stages] == ["m"]
    assert made.speculation is not None
    assert not made.speculation.wanted
    assert made.speculation.gain_ratio == pytest.approx(3.4 / 4.9, abs=1e-3)


def test_a_twin_is_nobodys_replica_and_answers_by_its_name_only() -> None:
    made = _decide(_base(), _twin(), known=BAD)
    rejected = {one.deployment: one.rejected for one in made.candidates}
    assert rejected["m"] is None
    assert "m with speculation on" in (rejected["m+twin"] or "")
    pinned = _decide(_base(), _twin(), known=BAD, ask=Ask(id="a", at_s=1.0, pin="m+twin"))
    assert [one.deployment for one in pinned.stages] == ["m+twin"]


def test_of_two_twins_the_faster_one_answers() -> None:
    other = _twin("draft", cost=0.1, name="m+draft")
    situation = situation_of(_base(), _twin(), other, metabolic=CALM)
    loads = (
        Load(deployment="m"),
        Load(deployment="m+draft", drafting=_known(2.0, 2.5, 0.2)),
        Load(deployment="m+twin", drafting=_known(0.5, 0.6, 0.3)),
    )
    made = decide(
        Ask(id="a", at_s=1.0, input_tokens=100),
        PLAIN,
        replace(situation, load=loads),
        policy_of(profile=EDGE),
    )
    assert [one.deployment for one in made.stages] == ["m+draft"]


@pytest.mark.parametrize("state", ["stopped", "asleep", "starting", "failed"])
def test_what_was_wanted_and_could_not_be_had_is_written_down(state: State) -> None:
    made = _decide(_base(), _twin(), twin_state=state)
    assert [one.deployment for one in made.stages] == ["m"]
    assert made.speculation is not None
    assert made.speculation.wanted
    assert made.speculation.applied is False
    assert made.speculation.hindered == "its twin is not running"


def test_a_deployment_that_was_named_stays() -> None:
    made = _decide(_base(), _twin(), ask=Ask(id="a", at_s=1.0, pin="m"))
    assert [one.deployment for one in made.stages] == ["m"]
    assert made.speculation is not None
    assert made.speculation.hindered == "the deployment was named"


@pytest.mark.parametrize(("known", "tokens"), [(GOOD, 4), (BAD, 0)])
def test_an_engine_that_takes_a_field_is_told_each_time(known: Drafting, tokens: int) -> None:
    drafter = Drafter(method="draft_model", granularity="request")
    made = _decide(_base(drafting=drafter), known=known)
    assert [one.num_speculative_tokens for one in made.stages] == [tokens]
    assert made.speculation is not None
    assert made.speculation.applied


@pytest.mark.parametrize(
    ("granularity", "known", "hindered"),
    [
        ("batch_schedule", GOOD, "its engine decides by its batch"),
        ("batch_schedule", BAD, "its engine decides by its batch"),
        ("process_api", GOOD, "nobody here moves its API"),
        ("startup", BAD, "it was started with drafting"),
        ("startup", GOOD, None),
        ("none", GOOD, "its engine cannot draft"),
    ],
)
def test_what_no_request_can_switch_stays_and_says_so(
    granularity: Granularity, known: Drafting, hindered: str | None
) -> None:
    made = _decide(_base(drafting=Drafter(method="eagle3", granularity=granularity)), known=known)
    assert [one.num_speculative_tokens for one in made.stages] == [None]
    assert made.speculation is not None
    assert made.speculation.hindered == hindered
    assert made.speculation.applied is (hindered is None)


WARM = MetabolicState(level="elevated", headroom_c=8.0, throttle_risk_ratio=0.0)
HOT = MetabolicState(level="critical", headroom_c=2.0)
CAPPED = MetabolicState(level="nominal", headroom_c=40.0, power_level="critical")


@pytest.mark.parametrize(
    ("state", "in_force", "on"),
    [
        (CALM, EDGE, True),
        (WARM, EDGE, True),
        (MetabolicState(), EDGE, True),
        (HOT, EDGE, False),
        (CAPPED, EDGE, False),
        (CALM, MCU, False),
        (CALM, DATACENTER, True),
    ],
)
def test_with_gaps_between_answers_fewer_joules_decide_even_when_warm(
    state: MetabolicState, in_force: Profile, *, on: bool
) -> None:
    made = _decide(_base(), _twin(), state=state, in_force=in_force)
    assert made.speculation is not None
    assert made.speculation.wanted is on


def test_the_rule_of_headroom_is_kept_to_compare() -> None:
    for state, signals, on in (
        (CALM, COMPLEX, True),
        (CALM, PLAIN, False),
        (WARM, COMPLEX, False),
        (MetabolicState(), COMPLEX, False),
    ):
        made = _decide(
            _base(), _twin(), state=state, signals=signals, known=BAD, speculation_rule="headroom"
        )
        assert made.speculation is not None
        assert made.speculation.wanted is on
    off = _decide(_base(), _twin(), speculation_rule="off")
    assert [one.deployment for one in off.stages] == ["m"]


def _gain(speedup: float, low: float, energy: float | None = None) -> Gain:
    return Gain(
        speedup=speedup,
        low=low,
        high=speedup,
        energy_ratio=1 / speedup if energy is None else energy,
        tau=1.0,
        verify=0.0,
        draft=0.0,
    )


def test_a_complex_query_in_a_datacenter_has_the_benefit_of_the_doubt() -> None:
    doubtful = _gain(1.1, 0.8)
    for where in ("idle", "busy"):
        assert gate(doubtful, where=where, profile=DATACENTER, is_complex=True)[0]
        assert not gate(doubtful, where=where, profile=DATACENTER, is_complex=False)[0]
        assert not gate(doubtful, where=where, profile=EDGE, is_complex=True)[0]


def test_faster_and_dearer_is_off_while_idle_and_on_while_busy() -> None:
    found = _gain(1.2, 1.15, energy=1.05)
    assert not gate(found, where="idle", profile=EDGE, is_complex=False)[0]
    assert gate(found, where="busy", profile=EDGE, is_complex=False)[0]


@given(st.floats(0.0, 4.0), st.floats(0.0, 8.0), st.floats(0.0, 1.5), st.integers(0, 200))
def test_drafting_gains_less_the_fuller_the_batch(
    accepted: float, drafted: float, cost: float, running: int
) -> None:
    known, drafter = _known(accepted, max(accepted, drafted), cost), Drafter(method="eagle3")
    speeds = [
        gain(known, drafter, Load(deployment="m", running=batch), _base()).speedup
        for batch in (0, running, running + 50)
    ]
    assert speeds[0] >= speeds[1] - 1e-9
    assert speeds[1] >= speeds[2] - 1e-9


def test_beyond_the_knee_with_others_waiting_nothing_is_drafted() -> None:
    full = Load(deployment="m", running=64, waiting=3, tpot_s=0.01, tpot_per_answer_s=0.001)
    assert regime(CALM, full, 64) == "saturated"
    assert regime(CALM, replace(full, tpot_per_answer_s=0.00001), 64) == "busy"
    assert regime(CALM, replace(full, waiting=0), 64) == "busy"
    assert regime(CALM, None, 64) == "idle"
    assert regime(MetabolicState(budget_used_ratio=1.1), None, 64) == "capped"
    made = _decide(_base(slots=64), replace(_twin(), slots=64), load=full)
    assert [one.deployment for one in made.stages] == ["m"]


def test_a_prompt_that_only_the_base_has_cached_must_be_won_back() -> None:
    load = Load(deployment="m", tpot_s=0.08, tpot_per_answer_s=0.0, ttft_per_token_s=0.03)
    warm = (WarmPrefix(deployment="m", prefix_tokens=3000),)
    ask = Ask(id="a", at_s=1.0, input_tokens=3100, max_output_tokens=20, warm=warm)
    made = _decide(_base(), _twin(), load=load, ask=ask)
    assert [one.deployment for one in made.stages] == ["m"]
    assert made.speculation is not None
    assert made.speculation.why == "3000 cached tokens would be read again"
    long = replace(ask, input_tokens=3000, max_output_tokens=None)
    signals = replace(PLAIN, expected_output_tokens=8000)
    assert [
        one.deployment
        for one in _decide(_base(), _twin(), load=load, ask=long, signals=signals).stages
    ] == ["m+twin"]


def test_now_and_then_what_nobody_is_sure_of_is_tried_and_never_on_a_strained_machine() -> None:
    unsure = _known(0.31, 1.0, 0.3, spread=0.2)
    asks = [Ask(id=f"a{n}", at_s=1.0, input_tokens=100) for n in range(400)]

    def tried(state: MetabolicState, **policy: Any) -> int:
        made = [_decide(_base(), _twin(), known=unsure, ask=a, state=state, **policy) for a in asks]
        return sum(one.stages[0].deployment == "m+twin" for one in made)

    assert tried(CALM, speculation_explore_ratio=0.0) == 0
    assert 4 <= tried(CALM, speculation_explore_ratio=0.05) <= 40
    assert tried(replace(CALM, memory_level="elevated"), speculation_explore_ratio=0.5) == 0


def test_a_fleet_that_does_not_draft_decides_as_before() -> None:
    made = _decide(_base(), signals=COMPLEX)
    assert made.speculation is not None
    assert made.speculation.why == "headroom is ample"
    assert made.speculation.deployment is None
    assert twins_of([_base()]) == {}


def test_a_decision_is_the_same_twice_and_in_any_order() -> None:
    one = _decide(_base(), _twin())
    other = _decide(_twin(), _base())
    assert one.stages == other.stages
    assert one.speculation == other.speculation


def _fold(known: Drafting, seed: int = 1) -> tuple[Situation, Record]:
    loads = (Load(deployment="m"), Load(deployment="m+twin", drafting=known))
    situation = replace(situation_of(_base(), _twin(), metabolic=CALM), load=loads)
    ask = Ask(id="a", at_s=1.0, input_tokens=100)
    policy = policy_of(profile=EDGE)
    return situation, folded_record(ask, situation=situation, policy=policy, draw=Random(seed))


def test_a_record_holds_what_the_gate_went_by_and_replays_bit_for_bit() -> None:
    situation, record = _fold(GOOD)
    kept = msgspec.json.decode(msgspec.json.encode(record), type=Record)
    assert kept.situation.load == situation.load
    again = decide(
        kept.ask,
        kept.signals,
        replace(situation, load=kept.situation.load),
        policy_of(profile=EDGE),
    )
    assert msgspec.json.encode(again) == msgspec.json.encode(record.decision)
    assert again.speculation is not None
    assert again.speculation.steps == 400


def test_what_a_twin_answers_speaks_for_its_model() -> None:
    record = next(
        one
        for _, one in (_fold(GOOD, seed) for seed in range(50))
        if one.receipt.answer is not None and one.receipt.answer.deployment == "m+twin"
    )
    assert label_of(record, at_s=2.0, by="user_feedback").deployment == "m"
    plain = replace(record, decision=replace(record.decision, speculation=None))
    assert label_of(plain, at_s=2.0, by="user_feedback").deployment == "m+twin"
