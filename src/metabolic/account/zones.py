"""Yearly average carbon intensity of grids by country: grams of CO2e per kWh.

Averages are for accounting: what the electricity of a place stood for, over a year. What one more
kWh causes there and then is another figure (marginal), and the two are not mixed.

Source: CodeCarbon's table of Our World in Data's series (Ember, Energy Institute), copied
2026-11-22 (MIT; the series is CC BY 4.0); years as given. The world's is Ember, Global Electricity
Review 2025, for 2024 (CC BY 4.0).
"""

__all__ = ["WORLD_G_PER_KWH", "Intensity", "intensity_of", "zones"]

from msgspec import Struct

WORLD_G_PER_KWH = 473.0
"""The world's average in 2024."""

_BY_YEAR = {
    2022: "AE 561, HK 699, ID 676, IL 583, IS 28, MY 606, SA 707, UA 260",
    2023: (
        "AR 354, AT 111, AU 549, BD 691, BE 138, BG 335, BR 98, CA 170, CH 35, CL 291, CN 582, "
        "CO 260, CY 534, CZ 450, DE 381, DK 152, EE 417, EG 570, ES 174, FI 79, FR 56, GB 238, "
        "GR 337, HR 205, HU 204, IE 291, IN 713, IT 331, JP 485, KE 70, KR 431, LT 160, LU 105, "
        "LV 123, MA 630, MT 459, MX 507, NG 523, NL 268, NO 30, NZ 113, PE 266, PH 611, PK 441, "
        "PL 662, PT 166, QA 602, RO 241, RS 636, SE 41, SG 471, SI 231, SK 117, TH 550, TR 465, "
        "TW 642, US 369, UY 129, VN 475, ZA 708"
    ),
}


class Intensity(Struct, frozen=True, kw_only=True):
    """A zone's average, and the year it is of."""

    g_per_kwh: float
    year: int


def zones() -> tuple[str, ...]:
    """Return the zones that are known: ISO 3166 codes of two letters."""
    return tuple(sorted(code for row in _BY_YEAR.values() for code, _ in _parsed(row)))


def intensity_of(zone: str) -> Intensity | None:
    """Return a zone's intensity, in upper or lower case; ``None`` for one that is not known."""
    for year, row in _BY_YEAR.items():
        for code, grams in _parsed(row):
            if code == zone.upper():
                return Intensity(g_per_kwh=grams, year=year)
    return None


def _parsed(row: str) -> list[tuple[str, float]]:
    """Return codes and grams of a row."""
    return [(code, float(grams)) for code, grams in (one.split() for one in row.split(", "))]
