"""Thermometers in kernel files: which values are plausible, and which one speaks for a device."""

__all__ = ["Thermometer", "nearest", "of_chip", "plausible_c", "plausible_limit_c"]

import re
from collections.abc import Iterable, Iterator

from msgspec import Struct

from metabolic.core.hardware import Reading
from metabolic.core.units import c_from_millidegrees
from metabolic.sense.files import Folder, KernelFile

_READS_C = (-40.0, 150.0)
_LIMITS_C = (40.0, 130.0)
_INPUT = re.compile(r"temp(\d+)_input")


class Thermometer(Struct, frozen=True, kw_only=True):
    """One temperature file and where its device throttles (``None``: no file says)."""

    source: str
    file: KernelFile
    limit: Reading | None = None


def plausible_c(millidegrees: int | None) -> float | None:
    """Return degrees; ``None`` for a missing value and for sentinels such as -256 C."""
    if millidegrees is None:
        return None
    celsius = c_from_millidegrees(millidegrees)
    return celsius if _READS_C[0] < celsius < _READS_C[1] else None


def plausible_limit_c(millidegrees: int | None) -> float | None:
    """Return degrees; ``None`` outside 40 to 130 C (-273.15, 0, 20.8 and 255 C are seen)."""
    if millidegrees is None:
        return None
    celsius = c_from_millidegrees(millidegrees)
    return celsius if _LIMITS_C[0] <= celsius <= _LIMITS_C[1] else None


def nearest(thermometers: Iterable[Thermometer]) -> tuple[Reading | None, Reading | None]:
    """Return temperature and limit of the one nearest to its limit; it speaks for all.

    Those without a limit count as if they had 150 C.
    """
    worst: tuple[Reading | None, Reading | None] = (None, None)
    least = float("inf")
    for thermometer in thermometers:
        celsius = plausible_c(thermometer.file.number())
        if celsius is None:
            continue
        limit = thermometer.limit
        room = (limit.value if limit else _READS_C[1]) - celsius
        if room < least:
            reading = Reading(value=celsius, origin="measured", source=thermometer.source)
            worst, least = (reading, limit), room
    return worst


def of_chip(
    name: str, chip: Folder, *, limits: tuple[str, ...] = ("crit", "max")
) -> Iterator[tuple[str, Thermometer]]:
    """Yield label and thermometer of everything a hwmon chip measures.

    The limit is the first of ``limits`` that is plausible.
    """
    for match in map(_INPUT.fullmatch, chip.names()):
        if match is None:
            continue
        number = match[1]
        label = chip.text(f"temp{number}_label") or f"temp{number}"
        source = f"hwmon:{name}/{label}"
        limit = _limit(source, chip, number, limits)
        file = chip.file(f"temp{number}_input")
        yield label, Thermometer(source=source, file=file, limit=limit)


def _limit(source: str, chip: Folder, number: str, kinds: tuple[str, ...]) -> Reading | None:
    """Return where this thermometer's device throttles."""
    for kind in kinds:
        celsius = plausible_limit_c(chip.number(f"temp{number}_{kind}"))
        if celsius is not None:
            return Reading(value=celsius, origin="measured", source=f"{source} {kind}")
    return None
