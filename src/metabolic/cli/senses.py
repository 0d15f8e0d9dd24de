"""What each sensor gives on this machine; where it gives nothing: why, and how to get it."""

__all__ = ["Found", "looked_at"]

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from metabolic import plugins
from metabolic.cli import show
from metabolic.cli.surroundings import Surroundings, surroundings
from metabolic.config import Config
from metabolic.core.errors import MetabolicError
from metabolic.core.hardware import Battery, DeviceState, GridState, HardwareState, Reading
from metabolic.core.obstacle import Obstacle
from metabolic.core.ports import Explains, Sensor
from metabolic.wiring.senses import sensors_of

_PATIENCE_S = 2.5
"""How long a sensor that reads in a thread may take to answer for the first time."""

_NEED_URL = frozenset({"redfish", "prometheus", "dcgm"})


class Found(Struct, frozen=True, kw_only=True):
    """One sensor: what it reads, and what stands in its way. ``used``: the gateway reads it."""

    kind: str
    used: bool
    readings: tuple[str, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()


def looked_at(config: Config) -> Iterator[Found]:
    """Yield the sensors in use, then the others there are.

    Raises:
        ConfigError: a ``[[sensor]]`` names no adapter, or an option it does not have.
    """
    around = surroundings(config.sense.root)
    used: set[str] = set()
    for kind, sensor in sensors_of(config):
        used.add(kind)
        yield _found(kind, sensor, root=config.sense.root, around=around, used=True)
    for kind in plugins.kinds("sensors"):
        if kind in used or kind == "fake":
            continue
        if kind in _NEED_URL:
            yield Found(kind=kind, used=False, obstacles=(_unconfigured(kind),))
            continue
        try:
            known = plugins.load("sensors", kind).Options.__struct_fields__
            sensor = plugins.sensor(kind, {"root": config.sense.root} if "root" in known else {})
        except MetabolicError as exc:
            obstacle = Obstacle(kind="configuration", what=str(exc))
            yield Found(kind=kind, used=False, obstacles=(obstacle,))
            continue
        yield _found(kind, sensor, root=config.sense.root, around=around, used=False)


def _unconfigured(kind: str) -> Obstacle:
    """Return that a remote source has no address."""
    remedy = f'[[sensor]] kind = "{kind}", url = …; and kind = "auto" beside it keeps the others'
    return Obstacle(kind="configuration", what="not configured", remedy=remedy)


def _found(kind: str, sensor: Sensor, *, root: str, around: Surroundings, used: bool) -> Found:
    """Read a sensor until it gives something or says why not; close it."""
    with contextlib.closing(sensor):
        end_s = time.monotonic() + _PATIENCE_S
        while True:
            readings = tuple(sorted(_readings(sensor.read(HardwareState(taken_at_s=time.time())))))
            explains = isinstance(sensor, Explains)
            obstacles = sensor.obstacles() if isinstance(sensor, Explains) else ()
            if readings or obstacles or not explains or time.monotonic() >= end_s:
                break
            time.sleep(0.02)
    if not readings and not obstacles:
        obstacles = (_guess(kind, root, around),)
    return Found(kind=kind, used=used, readings=readings, obstacles=obstacles)


def _guess(kind: str, root: str, around: Surroundings) -> Obstacle:
    """Return the likeliest reason that a sensor which gives none reads nothing."""
    powercap = Path(root) / "sys/class/powercap"
    counters = sorted(powercap.glob("intel-rapl:*/energy_uj")) if kind == "rapl" else []
    if counters and not os.access(counters[0], os.R_OK):
        remedy = f"let the gateway's user read it: chmod o+r {counters[0]} (at each boot)"
        return Obstacle(kind="permission", what=f"{counters[0]} belongs to root", remedy=remedy)
    if around.hypervisor is not None:
        what = f"nothing to read: {around.said()} rarely passes it on"
        return Obstacle(kind="platform", what=what)
    if around.container is not None:
        remedy = "mount the host's /sys, and name it: [sense] root"
        return Obstacle(kind="container", what=f"nothing to read in {around.said()}", remedy=remedy)
    return Obstacle(kind="absent", what="nothing to read on this machine")


def _readings(state: HardwareState) -> Iterator[str]:
    """Yield the name and value of each figure and flag that was read."""
    owners: tuple[HardwareState | DeviceState | Battery | GridState | None, ...] = (
        state,
        *state.devices,
        state.battery,
        state.grid,
    )
    for owner in owners:
        if owner is None:
            continue
        prefix = f"{owner.name}." if isinstance(owner, DeviceState) else ""
        for name in owner.__struct_fields__:
            value: object = getattr(owner, name)
            if isinstance(value, Reading):
                yield f"{prefix}{name}={show.figure(value.value)} ({value.origin})"
            elif prefix and name not in {"name", "kind"} and value is not None:
                yield f"{prefix}{name}={value}"
