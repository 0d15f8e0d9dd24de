"""Exact unit conversions, used once, at the edges: inside everything is SI.

Sensors report millidegrees, microwatts and KiB; bills are in kWh.
Adapters convert with these functions, so that no other unit ever passes an adapter.
"""

__all__ = [
    "bytes_from_kib",
    "c_from_millidegrees",
    "j_from_kwh",
    "j_from_microjoules",
    "j_from_millijoules",
    "kwh_from_j",
    "ratio_from_percent",
    "w_from_microwatts",
    "w_from_milliwatts",
]

_J_PER_KWH = 3_600_000.0


def kwh_from_j(energy_j: float) -> float:
    """Return kilowatt-hours for joules."""
    return energy_j / _J_PER_KWH


def j_from_microjoules(microjoules: float) -> float:
    """Return joules for the microjoules of a RAPL counter."""
    return microjoules / 1_000_000.0


def w_from_microwatts(microwatts: float) -> float:
    """Return watts for the microwatts of hwmon and power_supply."""
    return microwatts / 1_000_000.0


def c_from_millidegrees(millidegrees: float) -> float:
    """Return degrees Celsius for the millidegrees of hwmon and thermal zones."""
    return millidegrees / 1_000.0


def bytes_from_kib(kib: float) -> int:
    """Return bytes for the KiB of ``/proc/meminfo``."""
    return int(kib * 1024)


def ratio_from_percent(percent: float) -> float:
    """Return a share in [0, 1] for a percentage."""
    return percent / 100.0


def w_from_milliwatts(milliwatts: float) -> float:
    """Return watts for the milliwatts of NVML, powermetrics and tegrastats."""
    return milliwatts / 1_000.0


def j_from_millijoules(millijoules: float) -> float:
    """Return joules for the millijoules of NVML and powermetrics."""
    return millijoules / 1_000.0


def j_from_kwh(kwh: float) -> float:
    """Return joules for the kilowatt-hours of a node's meter."""
    return kwh * _J_PER_KWH
