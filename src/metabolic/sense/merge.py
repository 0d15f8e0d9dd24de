"""Put readings into a state: the first source wins, and any source beats a model."""

__all__ = [
    "Field",
    "Kind",
    "Named",
    "fields_of",
    "joined",
    "signals",
    "with_battery",
    "with_device",
    "with_signals",
]

from collections.abc import Iterator
from typing import Literal, cast

from msgspec.structs import replace

from metabolic.core.hardware import Battery, DeviceState, HardwareState, Reading

Field = Reading | bool | str
Kind = Literal["cpu", "gpu", "board", "node"]
Named = tuple[str, Field]
"""A signal: ``device.field``, ``battery.field`` or a field of the state, and its reading."""

_DEVICE = tuple(f for f in DeviceState.__struct_fields__ if f not in {"name", "kind"})
_BATTERY = Battery.__struct_fields__
_STATE = tuple(
    f
    for f in HardwareState.__struct_fields__
    if f not in {"taken_at_s", "devices", "battery", "grid", "failed"}
)


def with_device(
    state: HardwareState, name: str, *, kind: Kind, **fields: Field | None
) -> HardwareState:
    """Return the state with what ``fields`` know of a device and nobody before knew."""
    devices = state.devices
    for index, device in enumerate(devices):
        if device.name == name:
            new = _absent(device, fields)
            if not new:
                return state
            changed = replace(device, **new)
            return replace(state, devices=(*devices[:index], changed, *devices[index + 1 :]))
    known = {key: value for key, value in fields.items() if value is not None}
    if not known:
        return state
    device = replace(DeviceState(name=name, kind=kind), **known)
    return replace(state, devices=(*devices, device))


def with_battery(state: HardwareState, **fields: Field | None) -> HardwareState:
    """Return the state with what ``fields`` know of the battery and nobody before knew."""
    battery = state.battery or Battery()
    new = _absent(battery, fields)
    return replace(state, battery=replace(battery, **new)) if new else state


def with_signals(state: HardwareState, **fields: Field | None) -> HardwareState:
    """Return the state with what ``fields`` know of the machine and nobody before knew."""
    new = _absent(state, fields)
    return replace(state, **new) if new else state


def joined(parts: tuple[HardwareState, ...], *, at_s: float) -> HardwareState:
    """Return what several sensors read apart as one state; the first source wins, as ever."""
    whole = HardwareState(taken_at_s=at_s)
    for part in parts:
        for device in part.devices:
            fields = dict(fields_of(device, "", _DEVICE))
            whole = with_device(whole, device.name, kind=device.kind, **fields)
        whole = with_signals(whole, **dict(fields_of(part, "", _STATE)))
        if part.battery is not None:
            whole = with_battery(whole, **dict(fields_of(part.battery, "", _BATTERY)))
        if part.grid is not None and whole.grid is None:
            whole = replace(whole, grid=part.grid)
    return whole


def signals(state: HardwareState) -> Iterator[Named]:
    """Iterate over all that is known, flat: ``cpu.temperature_c``, ``battery.charge_ratio``."""
    for device in state.devices:
        yield from fields_of(device, device.name + ".", _DEVICE)
    yield from fields_of(state, "", _STATE)
    if state.battery is not None:
        yield from fields_of(state.battery, "battery.", _BATTERY)
    if state.grid is not None:
        yield from fields_of(state.grid, "grid.", state.grid.__struct_fields__)


def fields_of(value: object, prefix: str, names: tuple[str, ...]) -> Iterator[Named]:
    """Iterate over the fields of one Struct that are known."""
    for name in names:
        field = cast("Field | None", getattr(value, name))
        if field is not None:
            yield prefix + name, field


def _absent(value: object, fields: dict[str, Field | None]) -> dict[str, Field]:
    """Return those fields that ``value`` does not know, or knows only from a model."""
    new: dict[str, Field] = {}
    for name, field in fields.items():
        if field is None:
            continue
        old = cast("Field | None", getattr(value, name))
        if old is None or (_modelled(old) and not _modelled(field)):
            new[name] = field
    return new


def _modelled(field: Field) -> bool:
    """Say whether a figure is only a model's guess."""
    return isinstance(field, Reading) and field.origin == "modelled"
