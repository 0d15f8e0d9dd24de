"""The bill: every call is on it, and the two kinds of joules stay apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from metabolic.account.bill import bill, sum_energy
from metabolic.account.carbon import carbon_g, carbon_of
from metabolic.account.money import electricity_usd, lost_cache_usd, tokens_usd
from metabolic.account.work import modelled, remote_energy_j, service_s
from metabolic.core.attempt import Answer, Attempt, Call, Failure, Run, Verdict
from metabolic.core.decision import Decision, Stage
from metabolic.core.fleet import Load, Price
from metabolic.core.receipt import Energy
from metabolic.core.request import Ask, Usage
from metabolic.core.signals import Signals
from metabolic.testing.fleets import deployment, policy_of

PRICE = Price(
    input_usd_per_token=2e-6,
    output_usd_per_token=8e-6,
    cached_usd_per_token=0.5e-6,
    cache_write_usd_per_token=2.5e-6,
)
SMALL = deployment("small", parameters=500_000_000, decode_tokens_per_s=24)
CLOUD = deployment("cloud", parameters=70_000_000_000, price=PRICE)
FLEET = {"small": SMALL, "cloud": CLOUD}
POLICY = policy_of()


def attempt(name, number=0, failure=None, usage=None, seconds=1.0):
    return Attempt(
        call=Call(id=f"c{number}", stage=number, deployment=name),
        began_s=0.0,
        ended_s=seconds,
        usage=usage or Usage(input_tokens=72, cached_tokens=0, output_tokens=24),
        failure=failure,
    )


def receipt(*attempts, answer=None):
    run = Run(
        decision=Decision(stages=(Stage(deployment="small"),), reference="small"),
        attempts=attempts,
        verdicts=(("c0", Verdict(well_formed=True, confidence=0.5, reasons=("x",))),),
        answer=answer,
    )
    return bill(
        ask=Ask(id="r", at_s=1.0),
        signals=Signals(task="open_qa"),
        level="unknown",
        fleet=FLEET,
        policy=POLICY,
        run=run,
        seconds=2.5,
    )


def test_tokens_cost_what_the_price_list_says():
    assert tokens_usd(PRICE, input_tokens=10, output_tokens=2) == pytest.approx(10 * 2.5e-6 + 16e-6)
    assert tokens_usd(PRICE, input_tokens=10, output_tokens=0, cached_tokens=10) == pytest.approx(
        5e-6
    )
    assert lost_cache_usd(PRICE, prefix_tokens=1000) == pytest.approx(2e-3)


def test_a_price_without_cache_rates_charges_all_input_alike():
    flat = Price(input_usd_per_token=1e-6, output_usd_per_token=1e-6)
    assert tokens_usd(flat, input_tokens=10, output_tokens=0, cached_tokens=9) == pytest.approx(
        1e-5
    )
    assert lost_cache_usd(flat, prefix_tokens=1000) == 0.0


def test_a_kilowatt_hour_is_3_6_megajoules():
    assert electricity_usd(3.6e6, usd_per_kwh=0.15) == pytest.approx(0.15)
    assert carbon_g(3.6e6, g_per_kwh=473) == pytest.approx(473)


def test_carbon_of_modelled_joules_is_modelled_and_of_measured_ones_derived():
    assert carbon_of(modelled(1.0), g_per_kwh=473).origin == "modelled"
    measured = Energy(energy_j=1.0, low_j=1.0, high_j=1.0, origin="measured")
    assert carbon_of(measured, g_per_kwh=473).origin == "derived"


def test_service_time_needs_both_speeds():
    work = {"input_tokens": 72, "output_tokens": 24, "cached_tokens": 0}
    assert service_s(**work, prefill_tokens_per_s=72, decode_tokens_per_s=24) == 2.0
    assert service_s(**work, prefill_tokens_per_s=None, decode_tokens_per_s=24) is None


def test_a_batched_70b_server_takes_about_the_published_joules():
    joules = remote_energy_j(CLOUD.model, input_tokens=0, output_tokens=100)
    assert joules == pytest.approx(80, rel=0.1)


def test_discarded_drafts_and_failures_are_on_the_receipt():
    made = receipt(
        attempt("small"),
        attempt("cloud", 1, failure=Failure(kind="unreachable"), usage=Usage()),
        answer=Answer(call="c0", deployment="small", degraded=True),
    )
    assert [one.deployment for one in made.attempts] == ["small", "cloud"]
    assert made.attempts[0].energy.energy_j == pytest.approx(2.0 * 4.0)
    assert made.attempts[0].energy.origin == "modelled"
    assert made.attempts[1].tokens_usd is None
    assert made.attempts[1].energy is None
    assert made.attempts[0].confidence == 0.5
    assert made.status == "provisional"


def test_joules_of_an_api_are_never_added_to_local_ones():
    made = receipt(
        attempt("small"), attempt("cloud", 1), answer=Answer(call="c1", deployment="cloud")
    )
    assert made.energy.energy_j == pytest.approx(8.0)
    assert made.remote_energy.energy_j > 0
    assert made.cost.tokens_usd == pytest.approx(72 * 2.5e-6 + 24 * 8e-6)
    assert made.cost.electricity_usd == pytest.approx(8.0 / 3.6e6 * 0.15)
    assert made.usage.output_tokens == 48


def test_a_receipt_without_local_calls_is_settled_at_once():
    made = receipt(attempt("cloud"), answer=Answer(call="c0", deployment="cloud"))
    assert made.status == "settled"
    assert made.energy is None
    assert made.carbon is None


def test_a_failed_local_call_is_charged_for_its_time():
    failed = attempt("small", failure=Failure(kind="cancelled"), usage=Usage(), seconds=0.5)
    assert receipt(failed).energy.energy_j == pytest.approx(0.5 * 4.0)


def test_baselines_are_modelled_and_named():
    made = receipt(attempt("small"), answer=Answer(call="c0", deployment="small"))
    assert [one.deployment for one in made.baselines] == ["small", "cloud"]
    assert {one.origin for one in made.baselines} == {"modelled"}


energies = st.lists(
    st.none()
    | st.builds(
        lambda j, origin: Energy(energy_j=j, low_j=j / 2, high_j=j * 2, origin=origin),
        st.floats(0, 1e6),
        st.sampled_from(["measured", "derived", "modelled"]),
    ),
    max_size=6,
)


@given(energies)
def test_a_sum_is_as_weak_as_its_weakest_part(parts):
    total = sum_energy(parts)
    known = [one for one in parts if one is not None]
    if not known:
        assert total is None
        return
    assert total.energy_j == pytest.approx(sum(one.energy_j for one in known))
    assert total.low_j <= total.energy_j <= total.high_j
    origins = {one.origin for one in known}
    expected = next(o for o in ("modelled", "derived", "measured") if o in origins)
    assert total.origin == expected


def billed(*attempts, fleet=FLEET, policy=POLICY, load=()):
    run = Run(
        decision=Decision(stages=(Stage(deployment="small"),), reference="small"),
        attempts=attempts,
    )
    return bill(
        ask=Ask(id="r", at_s=1.0),
        signals=Signals(),
        level="unknown",
        fleet=fleet,
        policy=policy,
        run=run,
        seconds=1.0,
        load=load,
    )


def test_an_estimate_is_multiplied_by_what_was_metered_of_late():
    plain = billed(attempt("small"))
    twice = billed(attempt("small"), load=(Load(deployment="small", energy_ratio=2.5),))
    assert twice.energy.energy_j == pytest.approx(2.5 * plain.energy.energy_j)
    assert twice.energy.origin == "modelled"


def test_a_rented_machine_is_paid_by_the_time_of_its_calls():
    fleet = FLEET | {"small": replace(SMALL, usd_per_hour=3.6)}
    alone = billed(attempt("small", seconds=10.0), fleet=fleet)
    beside = billed(
        attempt("small", seconds=10.0), fleet=fleet, load=(Load(deployment="small", running=3),)
    )
    assert alone.cost.rent_usd == pytest.approx(0.01)
    assert beside.cost.rent_usd == pytest.approx(0.0025)
    assert alone.cost.total_usd >= 0.01
    assert billed(attempt("small")).cost.rent_usd is None


def test_the_making_of_the_machine_is_told_apart_for_calls_made_here():
    policy = replace(POLICY, embodied_g_per_h=36.0, market_g_per_kwh=0.0, water_l_per_kwh=1.0)
    here = billed(attempt("small", seconds=100.0), policy=policy)
    assert here.carbon.embodied_g == pytest.approx(1.0)
    assert here.carbon.market_g == 0.0
    assert here.carbon.water_l > 0
    assert billed(attempt("cloud", seconds=100.0), policy=policy).carbon is None


def test_a_remote_call_has_a_wide_range():
    remote = billed(attempt("cloud")).remote_energy
    assert remote.low_j < 0.4 * remote.energy_j
    assert remote.high_j > 4 * remote.energy_j


@pytest.mark.parametrize("code", ["lost", "early abort"])
def test_a_call_that_we_stopped_is_charged_its_prompt_and_what_it_had_written(code):
    stopped = Failure(kind="cancelled", code=code)
    made = bill(
        ask=Ask(id="r", at_s=1.0, input_tokens=100),
        signals=Signals(task="open_qa"),
        level="unknown",
        fleet=FLEET,
        policy=POLICY,
        run=Run(
            decision=Decision(stages=(Stage(deployment="small"),), reference="small"),
            attempts=(attempt("cloud", failure=stopped, usage=Usage(output_tokens=5)),),
        ),
        seconds=2.5,
    )
    cost = tokens_usd(PRICE, input_tokens=100, output_tokens=5)
    assert made.attempts[0].tokens_usd == made.cost.tokens_usd == pytest.approx(cost)
    assert made.attempts[0].usage == Usage(output_tokens=5)  # nobody reported more


def test_a_call_the_client_left_is_not_guessed_at():
    left = Failure(kind="cancelled", message="client gone")
    assert receipt(attempt("cloud", failure=left, usage=Usage())).attempts[0].tokens_usd is None
