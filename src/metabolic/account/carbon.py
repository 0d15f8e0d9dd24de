"""Joules to grams of CO2e, and to litres of water.

Two views of the same joules, never added: *location-based*, at the average intensity of the grid
they came from, and *market-based*, at that of the electricity that was bought (a contract, or the
residual mix). Making the machine is a third figure, the *embodied* share, by time.
Source: GHG Protocol, Scope 2 Guidance (2015), for the two; ISO/IEC 21031 (SCI) for the share.
"""

__all__ = ["carbon_g", "carbon_of", "carbon_scaled", "embodied_g", "embodied_g_per_h"]

from msgspec.structs import replace

from metabolic.core.receipt import Carbon, Energy
from metabolic.core.units import kwh_from_j

_HOURS_PER_YEAR = 8766.0


def carbon_g(energy_j: float, *, g_per_kwh: float) -> float:
    """Return grams of CO2e for energy at the location's average intensity."""
    return kwh_from_j(energy_j) * g_per_kwh


def embodied_g_per_h(*, kg_co2e: float, lifetime_years: float) -> float:
    """Return grams per hour of owning a machine that took so much to make."""
    return kg_co2e * 1000 / (lifetime_years * _HOURS_PER_YEAR)


def embodied_g(seconds: float, *, g_per_h: float) -> float:
    """Return the part of a machine's making that so many of its seconds stand for."""
    return seconds * g_per_h / 3600


def carbon_scaled(carbon: Carbon, before: Energy, energy: Energy) -> Carbon:
    """Return the carbon of a new energy figure at the rates of the old; the making stays."""
    made = carbon_of(energy, g_per_kwh=carbon.intensity_g_per_kwh)
    scale = energy.energy_j / before.energy_j if before.energy_j > 0 else 0.0
    return replace(
        made,
        market_g=None if carbon.market_g is None else carbon.market_g * scale,
        water_l=None if carbon.water_l is None else carbon.water_l * scale,
        embodied_g=carbon.embodied_g,
    )


def carbon_of(
    energy: Energy,
    *,
    g_per_kwh: float,
    market_g_per_kwh: float | None = None,
    water_l_per_kwh: float | None = None,
    embodied_g: float | None = None,
) -> Carbon:
    """Return the carbon of an energy figure, with its bounds; never better than derived."""
    kwh = kwh_from_j(energy.energy_j)
    return Carbon(
        carbon_g=carbon_g(energy.energy_j, g_per_kwh=g_per_kwh),
        low_g=carbon_g(energy.low_j, g_per_kwh=g_per_kwh),
        high_g=carbon_g(energy.high_j, g_per_kwh=g_per_kwh),
        intensity_g_per_kwh=g_per_kwh,
        origin="modelled" if energy.origin == "modelled" else "derived",
        market_g=None if market_g_per_kwh is None else kwh * market_g_per_kwh,
        water_l=None if water_l_per_kwh is None else kwh * water_l_per_kwh,
        embodied_g=embodied_g,
    )
