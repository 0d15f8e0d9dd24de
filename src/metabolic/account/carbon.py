"""Joules to grams of CO2e."""

__all__ = ["carbon_g", "carbon_of"]

from metabolic.core.receipt import Carbon, Energy
from metabolic.core.units import kwh_from_j


def carbon_g(energy_j: float, *, g_per_kwh: float) -> float:
    """Return grams of CO2e for energy at the location's average intensity."""
    return kwh_from_j(energy_j) * g_per_kwh


def carbon_of(energy: Energy, *, g_per_kwh: float) -> Carbon:
    """Return the carbon of an energy figure, with its bounds; never better than derived."""
    return Carbon(
        carbon_g=carbon_g(energy.energy_j, g_per_kwh=g_per_kwh),
        low_g=carbon_g(energy.low_j, g_per_kwh=g_per_kwh),
        high_g=carbon_g(energy.high_j, g_per_kwh=g_per_kwh),
        intensity_g_per_kwh=g_per_kwh,
        origin="modelled" if energy.origin == "modelled" else "derived",
    )
