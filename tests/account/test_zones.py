"""Grids, water and the making of machines; rented hours."""

import pytest

from metabolic.account.carbon import carbon_of, carbon_scaled, embodied_g, embodied_g_per_h
from metabolic.account.money import rent_usd
from metabolic.account.work import modelled, remote_range
from metabolic.account.zones import WORLD_G_PER_KWH, intensity_of, zones
from metabolic.core.fleet import Model


def test_a_country_has_the_average_of_a_named_year() -> None:
    germany = intensity_of("de")
    assert germany is not None
    assert (germany.g_per_kwh, germany.year) == (381.0, 2023)
    assert intensity_of("XX") is None
    assert len(zones()) == len(set(zones())) > 60
    assert all(0 < (intensity_of(one) or germany).g_per_kwh < 1200 for one in zones())
    assert WORLD_G_PER_KWH == 473.0


def test_each_view_of_the_same_joules_stands_apart() -> None:
    before = modelled(3.6e6)
    carbon = carbon_of(
        before, g_per_kwh=400.0, market_g_per_kwh=20.0, water_l_per_kwh=1.5, embodied_g=7.0
    )
    assert (carbon.carbon_g, carbon.market_g, carbon.water_l) == (400.0, 20.0, 1.5)
    after = carbon_scaled(carbon, before, modelled(7.2e6))
    assert (after.carbon_g, after.market_g, after.water_l) == (800.0, 40.0, 3.0)
    assert after.embodied_g == 7.0
    plain = carbon_of(before, g_per_kwh=400.0)
    assert (plain.market_g, plain.embodied_g, plain.water_l) == (None, None, None)


def test_making_a_machine_is_spread_over_its_hours() -> None:
    per_h = embodied_g_per_h(kg_co2e=1000.0, lifetime_years=4.0)
    assert per_h == pytest.approx(28.5, rel=0.01)
    assert embodied_g(1800, g_per_h=per_h) == pytest.approx(per_h / 2)


def test_a_rented_hour_is_shared_by_those_in_flight() -> None:
    assert rent_usd(1800, usd_per_hour=4.0) == 2.0
    assert rent_usd(1800, usd_per_hour=4.0, running=8) == 0.25


def test_a_remote_model_of_unknown_size_has_a_wider_range() -> None:
    known = Model(id="a", tier="large", active_parameters=70_000_000_000)
    guess = Model(id="b", tier="large")
    narrow = remote_range(known, input_tokens=0, output_tokens=1)
    wide = remote_range(guess, input_tokens=0, output_tokens=1)
    assert narrow.low_j < 0.29 < narrow.energy_j < narrow.high_j
    assert narrow.low_j == pytest.approx(0.244, rel=0.05)
    assert narrow.high_j == pytest.approx(3.75, rel=0.05)
    assert wide.high_j / wide.low_j > 10 * narrow.high_j / narrow.low_j
