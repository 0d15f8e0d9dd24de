"""A receipt, once the meters have spoken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from metabolic.account.settlement import settled, settled_receipt
from metabolic.core.receipt import Energy, Settlement, Share
from metabolic.core.units import kwh_from_j
from metabolic.testing.examples import example_record, example_settlement

_RECORD = example_record()
_RECEIPT = _RECORD.receipt


def _settlement(*shares: Share) -> Settlement:
    return Settlement(
        id=_RECEIPT.id,
        shares=shares,
        origin="measured",
        low_ratio=0.9,
        high_ratio=1.1,
        meter="package-0",
    )


def _share(call: str, energy_j: float, cpu_s: float | None = None) -> Share:
    return Share(call=f"{_RECEIPT.id}/{call}", energy_j=energy_j, cpu_s=cpu_s)


def test_joules_of_the_meter_take_the_place_of_the_estimate() -> None:
    receipt = settled_receipt(_RECEIPT, _settlement(_share("c0", 10.0, 0.5), _share("c1", 30.0)))
    assert receipt.status == "settled"
    assert receipt.energy == Energy(
        energy_j=40.0,
        low_j=36.0,
        high_j=44.0,
        origin="measured",
        status="settled",
        meter="package-0",
    )
    assert receipt.attempts[0].cpu_s == 0.5
    assert receipt.attempts[1].cpu_s == _RECEIPT.attempts[1].cpu_s
    assert receipt.cpu_s == 0.5 + 0.84


def test_electricity_and_carbon_follow_at_the_receipts_own_rates() -> None:
    receipt = settled_receipt(_RECEIPT, _settlement(_share("c0", 10.0), _share("c1", 38.0)))
    before = _RECEIPT.cost.electricity_usd
    assert before is not None
    assert receipt.cost.electricity_usd == pytest.approx(before * 48.0 / 24.0)
    assert receipt.cost.tokens_usd == _RECEIPT.cost.tokens_usd
    assert receipt.carbon is not None
    assert receipt.carbon.carbon_g == pytest.approx(kwh_from_j(48.0) * 473.0)
    assert receipt.carbon.low_g == pytest.approx(kwh_from_j(48.0) * 0.9 * 473.0)
    assert receipt.carbon.origin == "derived"


def test_a_call_without_a_share_keeps_its_estimate_in_the_sum() -> None:
    receipt = settled_receipt(_RECEIPT, _settlement(_share("c1", 30.0)))
    assert receipt.attempts[0] == _RECEIPT.attempts[0]
    assert receipt.energy is not None
    assert receipt.energy.energy_j == pytest.approx(30.0 + 12.0)
    assert receipt.energy.low_j == pytest.approx(27.0 + 6.0)
    assert receipt.energy.high_j == pytest.approx(33.0 + 24.0)
    assert receipt.energy.origin == "modelled"


def test_baselines_and_remote_energy_stay_modelled() -> None:
    remote = Energy(energy_j=5.0, low_j=1.0, high_j=9.0, origin="modelled")
    receipt = settled_receipt(
        replace(_RECEIPT, remote_energy=remote), _settlement(_share("c0", 1.0))
    )
    assert receipt.remote_energy == remote
    assert receipt.baselines == _RECEIPT.baselines


def test_a_settlement_that_names_no_call_ends_the_wait_and_changes_nothing_else() -> None:
    receipt = settled_receipt(_RECEIPT, _settlement(Share(call="other/c0", energy_j=9.0)))
    assert receipt == replace(_RECEIPT, status="settled")


def test_energy_that_could_not_be_estimated_is_known_afterwards() -> None:
    unknown = replace(
        _RECEIPT,
        energy=None,
        carbon=None,
        cost=replace(_RECEIPT.cost, electricity_usd=None),
        attempts=tuple(replace(one, energy=None) for one in _RECEIPT.attempts),
    )
    receipt = settled_receipt(unknown, _settlement(_share("c0", 7.0)))
    assert receipt.energy is not None
    assert receipt.energy.energy_j == 7.0
    assert receipt.carbon is None
    assert receipt.cost.electricity_usd is None


def test_nothing_is_known_of_cpu_seconds_stays_unknown() -> None:
    unknown = replace(
        _RECEIPT, cpu_s=None, attempts=tuple(replace(one, cpu_s=None) for one in _RECEIPT.attempts)
    )
    assert settled_receipt(unknown, _settlement(_share("c0", 7.0))).cpu_s is None


def test_only_the_receipt_of_a_record_changes() -> None:
    settlement = example_settlement(_RECORD)
    record = settled(_RECORD, settlement)
    assert record == replace(_RECORD, receipt=settled_receipt(_RECEIPT, settlement))


@given(
    first_j=st.floats(min_value=0, max_value=1e6), second_j=st.floats(min_value=0, max_value=1e6)
)
def test_the_sum_is_what_the_meters_gave_out(first_j: float, second_j: float) -> None:
    receipt = settled_receipt(_RECEIPT, _settlement(_share("c0", first_j), _share("c1", second_j)))
    assert receipt.energy is not None
    assert receipt.energy.energy_j == first_j + second_j
    assert receipt.energy.low_j <= receipt.energy.energy_j <= receipt.energy.high_j


@given(factor=st.floats(min_value=0, max_value=100))
def test_settling_twice_changes_nothing(factor: float) -> None:
    once = settled_receipt(_RECEIPT, example_settlement(_RECORD, factor=factor))
    assert settled_receipt(once, example_settlement(_RECORD, factor=3.0)) is once


def test_a_settlement_of_two_meters_keeps_each_with_its_own_bounds() -> None:
    cpu = Share(call=f"{_RECEIPT.id}/c0", energy_j=10.0, idle_j=4.0, meter="cpu", origin="modelled",
                low_ratio=0.5, high_ratio=2.0)  # fmt: skip
    gpu = Share(call=f"{_RECEIPT.id}/c1", energy_j=30.0, meter="nvidia0", origin="measured",
                low_ratio=1.0, high_ratio=1.0)  # fmt: skip
    receipt = settled_receipt(_RECEIPT, replace(_settlement(cpu, gpu), meter="cpu+nvidia0"))
    energy = receipt.energy
    assert energy is not None
    assert (energy.energy_j, energy.low_j, energy.high_j) == (40.0, 35.0, 50.0)
    assert (energy.origin, energy.meter, energy.idle_j) == ("modelled", "cpu+nvidia0", 4.0)
    assert [one.energy and one.energy.meter for one in receipt.attempts] == ["cpu", "nvidia0"]
