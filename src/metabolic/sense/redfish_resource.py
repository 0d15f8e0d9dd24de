"""What one Redfish resource says of a node: power, energy, limit, and its hottest place.

Four kinds of resource are understood, told by their keys: Power (``PowerControl``),
EnvironmentMetrics (``PowerWatts``), PowerSupplyMetrics (``InputPowerWatts``) and Thermal
(``Temperatures``). The hottest place is the thermometer nearest to its own critical threshold;
one without a threshold says nothing of headroom and is passed over.
Source: DMTF DSP0268, Redfish schema supplement; recordings of Dell iDRAC and HPE iLO.
"""

__all__ = ["NodeFigures", "added", "figures", "joined"]

from collections.abc import Mapping
from typing import Any, cast

from msgspec import Struct
from msgspec.structs import replace

from metabolic.core.units import j_from_kwh

_LARGEST_W = 1e6
_READS_C = (-40.0, 150.0)


class NodeFigures(Struct, frozen=True, kw_only=True):
    """What is known of the node; ``place`` names the thermometer. ``None`` is not said."""

    power_w: float | None = None
    power_limit_w: float | None = None
    energy_j: float | None = None
    temperature_c: float | None = None
    limit_c: float | None = None
    place: str = ""


def figures(resource: Mapping[str, Any]) -> NodeFigures:
    """Return what a resource says; nothing for one of another kind."""
    celsius, limit, place = _hottest(resource)
    return NodeFigures(
        power_w=_power(resource),
        power_limit_w=_limit(resource),
        energy_j=_energy(resource),
        temperature_c=celsius,
        limit_c=limit,
        place=place,
    )


def joined(parts: tuple[NodeFigures, ...]) -> NodeFigures:
    """Return several resources of one chassis as one: the first that knows a figure says it."""
    whole = NodeFigures()
    for part in parts:
        names = [n for n in NodeFigures.__struct_fields__ if not n.endswith("_c") and n != "place"]
        whole = replace(whole, **{n: getattr(part, n) for n in names if getattr(whole, n) is None})
        if whole.temperature_c is None:
            whole = replace(
                whole, temperature_c=part.temperature_c, limit_c=part.limit_c, place=part.place
            )
    return whole


def added(parts: tuple[NodeFigures, ...]) -> NodeFigures:
    """Return the sum of a chassis' power supplies; a supply that says nothing draws nothing."""
    watts = [part.power_w for part in parts if part.power_w is not None]
    joules = [part.energy_j for part in parts if part.energy_j is not None]
    return NodeFigures(
        power_w=sum(watts) if watts else None,
        energy_j=sum(joules) if joules and len(joules) == len(parts) else None,
    )


def _power(resource: Mapping[str, Any]) -> float | None:
    """Return watts drawn now: what the first power control says, else a sensor's reading."""
    for control in _tables(resource.get("PowerControl")):
        watts = _watts(control.get("PowerConsumedWatts"))
        if watts is not None:
            return watts
    return _watts(_reading(resource, "PowerWatts") or _reading(resource, "InputPowerWatts"))


def _limit(resource: Mapping[str, Any]) -> float | None:
    """Return the power cap in force, if there is one."""
    for control in _tables(resource.get("PowerControl")):
        watts = _watts(_table(control.get("PowerLimit")).get("LimitInWatts"))
        if watts is not None:
            return watts
    capped = _table(resource.get("PowerLimitWatts"))
    off = capped.get("ControlMode") in {"Disabled", None}
    return None if off else _watts(capped.get("SetPoint"))


def _energy(resource: Mapping[str, Any]) -> float | None:
    """Return joules since the counter's start."""
    joules = _number(_reading(resource, "EnergyJoules"))
    if joules is not None and joules >= 0:
        return joules
    kwh = _number(_reading(resource, "EnergykWh"))
    return j_from_kwh(kwh) if kwh is not None and kwh >= 0 else None


def _hottest(resource: Mapping[str, Any]) -> tuple[float | None, float | None, str]:
    """Return reading, critical threshold and name of the thermometer nearest to its threshold."""
    best: tuple[float | None, float | None, str] = (None, None, "")
    least = float("inf")
    for one in _tables(resource.get("Temperatures")):
        celsius = _number(one.get("ReadingCelsius"))
        limit = _number(one.get("UpperThresholdCritical"))
        limit = limit or _number(one.get("UpperThresholdFatal"))
        present = _table(one.get("Status")).get("State") in {None, "Enabled"}
        if not present or celsius is None or not _READS_C[0] < celsius < _READS_C[1]:
            continue
        if limit is None or not 0 < limit < _READS_C[1]:
            continue
        if limit - celsius < least:
            best, least = (celsius, limit, str(one.get("Name") or "")), limit - celsius
    return best


def _table(value: object) -> dict[str, Any]:
    """Return a JSON object, empty for anything else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _tables(value: object) -> list[dict[str, Any]]:
    """Return the objects of a JSON array."""
    items = cast("list[object]", value) if isinstance(value, list) else []
    return [cast("dict[str, Any]", item) for item in items if isinstance(item, dict)]


def _number(value: object) -> float | None:
    """Return a JSON number."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value)


def _watts(value: object) -> float | None:
    """Return a power above zero: a node that draws nothing does not answer."""
    number = _number(value)
    return number if number is not None and 0 < number < _LARGEST_W else None


def _reading(resource: Mapping[str, Any], key: str) -> object:
    """Return the ``Reading`` of a sensor excerpt."""
    return _table(resource.get(key)).get("Reading")
