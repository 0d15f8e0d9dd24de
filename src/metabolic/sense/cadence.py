"""When a slow or dear file is read again."""

__all__ = ["aged", "due"]

from metabolic.core.hardware import Reading


def due(last_s: float | None, *, now_s: float, every_s: float) -> bool:
    """Say whether it is time again; never read, or a clock that went back, is."""
    return last_s is None or not 0.0 <= now_s - last_s < every_s


def aged(reading: Reading | None, age_s: float) -> Reading | None:
    """Return the reading as old as it now is."""
    if reading is None or reading.age_s == age_s:
        return reading
    return Reading(value=reading.value, origin=reading.origin, source=reading.source, age_s=age_s)
