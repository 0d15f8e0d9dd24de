"""The machine's sensors and its energy meter, as the configuration wants them."""

__all__ = ["probe_of", "sensors_of"]

import sys
import time
from collections.abc import Callable

from metabolic import plugins
from metabolic.config import AdapterTable, Config
from metabolic.core.ports import Sensor
from metabolic.sense import probe

_ALL = "auto"
_SENSORS = (
    "host",
    "hwmon",
    "thermal",
    "rapl",
    "battery",
    "nvidia",
    "amd",
    "amd_smi",
    "intel",
    "jetson",
    "tegrastats",
)
"""In order of precedence, but that any source beats a model."""

_ON_A_MAC = ("macmon", "apple_pressure")


def sensors_of(config: Config) -> tuple[tuple[str, Sensor], ...]:
    """Return the configured sensors, or all that ship, each under its kind, first source first.

    The kind ``auto`` among ``[[sensor]]`` stands for all that ship, at its place.

    Raises:
        ConfigError: a ``[[sensor]]`` names no adapter, or an option it does not have.
    """
    if not config.sense.enabled:
        return ()
    found: list[tuple[str, Sensor]] = []
    for one in config.sensors or (AdapterTable(kind=_ALL, options={}),):
        if one.kind == _ALL:
            found += _shipped(config)
        else:
            found.append((one.kind, plugins.sensor(one.kind, one.options)))
    return tuple(found)


def _shipped(config: Config) -> list[tuple[str, Sensor]]:
    """Return every sensor that needs no configuration of its own."""
    energy = config.energy
    more: dict[str, dict[str, object]] = {
        "host": {"cpu_w_per_core": energy.cpu_w_per_core, "cpu_idle_w": energy.cpu_idle_w}
    }
    kinds = (*_SENSORS, *(_ON_A_MAC if sys.platform == "darwin" else ()))
    found: list[tuple[str, Sensor]] = []
    for kind in kinds:
        known = plugins.load("sensors", kind).Options.__struct_fields__
        table: dict[str, object] = {"root": config.sense.root} if "root" in known else {}
        found.append((kind, plugins.sensor(kind, table | more.get(kind, {}))))
    return found


def probe_of(
    config: Config, *, apart: bool = False, clock: Callable[[], float] = time.time
) -> probe.Probe:
    """Return the probe over the configured sensors, or over all that ship; not started.

    ``apart`` lets it tell which sources of a signal lost; ``clock`` stamps what it reads.

    Raises:
        ConfigError: a ``[[sensor]]`` names no adapter, or an option it does not have.
    """
    sensors = tuple(sensor for _, sensor in sensors_of(config))
    options = probe.Options(period_s=config.sense.period_s, apart=apart)
    return probe.create(options, sensors=sensors, clock=clock)
