"""The machine's sensors and its energy meter, as the configuration wants them."""

__all__ = ["energy_meter", "probe_of"]

from collections.abc import Callable

from metabolic import plugins
from metabolic.config import Config
from metabolic.core.ports import Clock, Sensor
from metabolic.core.receipt import Settlement
from metabolic.execute.meter import EnergyMeter
from metabolic.sense import probe

_SENSORS = ("host", "hwmon", "thermal", "rapl", "battery", "nvidia")


def probe_of(config: Config) -> probe.Probe:
    """Return the probe over the configured sensors, or over all that ship; not started.

    Raises:
        ConfigError: a ``[[sensor]]`` names no adapter, or an option it does not have.
    """
    sensors: list[Sensor] = []
    if config.sense.enabled:
        root = config.sense.root
        energy = config.energy
        if config.sensors:
            sensors = [plugins.sensor(one.kind, one.options) for one in config.sensors]
        else:
            for kind in _SENSORS:
                table: dict[str, object] = {"root": root}
                if kind == "host":
                    table |= {
                        "cpu_w_per_core": energy.cpu_w_per_core,
                        "cpu_idle_w": energy.cpu_idle_w,
                    }
                sensors.append(plugins.sensor(kind, table))
    return probe.create(probe.Options(period_s=config.sense.period_s), sensors=tuple(sensors))


def energy_meter(
    config: Config, *, clock: Clock, settled: Callable[[Settlement], None]
) -> EnergyMeter:
    """Return the meter of this machine's CPU: RAPL where it can be read, else the model.

    Raises:
        ConfigError: a ``[[meter]]`` names no adapter, or an option it does not have.
    """
    if config.meters:
        first = config.meters[0]
        meter = plugins.meter(first.kind, first.options)
    else:
        meter = plugins.meter(
            "rapl",
            {
                "root": config.sense.root,
                "cpu_w_per_core": config.energy.cpu_w_per_core,
                "cpu_idle_w": config.energy.cpu_idle_w,
            },
        )
    return EnergyMeter(meter, clock=clock, settled=settled)
