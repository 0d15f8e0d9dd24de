"""A signal as a recording is expected to give it."""

__all__ = ["UNITS", "Bump", "Expected", "counter", "flag", "quantity", "unit_of"]

from collections.abc import Mapping

from msgspec import Struct

UNITS: Mapping[str, str] = {"c": "C", "w": "W", "j": "J", "ratio": "1", "bytes": "B"}
"""Last word of a signal's name → its unit."""


class Bump(Struct, frozen=True, kw_only=True):
    """How to make a recorded counter go on: which file, which number in it, and its unit.

    ``file`` is below the place the recording was put at (empty: that file itself); ``pattern``
    finds the numbers to raise, as the last thing it matches.
    """

    file: str
    per_j: float
    pattern: str = r"\d+"


class Expected(Struct, frozen=True, kw_only=True):
    """One signal of one recording.

    A counter starts anywhere: a sensor may show the recorded value, or count from 0 on. One that
    begins at 0 is right if it follows when the recording is made to go on by ``bump``.
    """

    signal: str
    value: float | bool | str
    unit: str
    is_counter: bool = False
    bump: Bump | None = None


def unit_of(signal: str) -> str:
    """Return the unit a signal's name ends in; empty for yes, no and words."""
    return UNITS.get(signal.rpartition("_")[2], "")


def quantity(signal: str, value: float) -> Expected:
    """Return a figure."""
    return Expected(signal=signal, value=float(value), unit=unit_of(signal))


def counter(signal: str, value: float, *, bump: Bump | None = None) -> Expected:
    """Return a counter's figure."""
    return Expected(signal=signal, value=float(value), unit="J", is_counter=True, bump=bump)


def flag(signal: str, value: bool) -> Expected:  # noqa: FBT001 - the value itself
    """Return a yes or no."""
    return Expected(signal=signal, value=value, unit="")
