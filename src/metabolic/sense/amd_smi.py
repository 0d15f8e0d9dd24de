"""AMD GPUs through ``amd-smi`` or ``rocm-smi``, where sysfs does not show them.

Both are Python programs that take half a second of a core, so they are run seldom, and not at all
while sysfs shows the cards. The static table with the limits is asked for once.
"""

__all__ = ["AmdSmiSensor", "Options", "create"]

import os

from msgspec import Struct

from metabolic.core.hardware import HardwareState, Reading
from metabolic.core.obstacle import Obstacle
from metabolic.sense.amd_smi_text import AmdGpu, parse
from metabolic.sense.merge import with_device
from metabolic.sense.tool import Tool

_ROCM_SMI = ("rocm-smi", "-t", "-P", "-M", "-u", "--showmeminfo", "vram", "--json")
"""Temperatures, power, its limit, use and memory."""

_METRICS = ("amd-smi", "metric", "--json"), _ROCM_SMI
_LIMITS = (("amd-smi", "static", "--json"),)
_SELDOM_S = 86_400.0


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often to run it, and when to kill it.

    ``file`` and ``static_file`` hold what the tools wrote, and are read instead of running
    anything. Below another ``root`` nothing is run.
    """

    root: str = "/"
    file: str | None = None
    static_file: str | None = None
    period_s: float = 5.0
    deadline_s: float = 10.0


class AmdSmiSensor:
    """Reads every GPU the tool shows, unless another sensor already has."""

    name = "amd_smi"

    def __init__(self, options: Options) -> None:
        """Run nothing; the first read does."""
        self._here = os.path.normpath(options.root) == "/"
        recorded = options.file is not None or options.static_file is not None
        self._metrics = self._tool(options, _METRICS, options.file, options.period_s)
        self._limits = self._tool(options, _LIMITS, options.static_file, _SELDOM_S)
        self._runs = (options.file is not None, options.static_file is not None)
        if self._here and not recorded:
            self._runs = (self._metrics.installed(), self._limits.installed())
        self._spared = False

    def read(self, state: HardwareState) -> HardwareState:
        """Return the state with what the tool last said of each GPU."""
        self._spared = any(device.name.startswith("amd") for device in state.devices)
        if self._spared:
            return state
        limits = self._limits.latest() if self._runs[1] else None
        metrics = self._metrics.latest() if self._runs[0] else None
        static = {} if limits is None else {gpu.index: gpu for gpu in limits.value}
        shown = {} if metrics is None else {gpu.index: gpu for gpu in metrics.value}
        age_s = 0.0 if metrics is None else metrics.age_s
        for index in sorted({*static, *shown}):
            nothing = AmdGpu(index=index)
            state = _filled(
                state, shown.get(index, nothing), static.get(index, nothing), age_s=age_s
            )
        return state

    def obstacles(self) -> tuple[Obstacle, ...]:
        """Return why GPUs are not read."""
        if self._spared:
            return ()
        if not any(self._runs):
            what = "neither amd-smi nor rocm-smi is installed"
            return (Obstacle(kind="library", what=what, remedy="sysfs tells more: see amd"),)
        tools = zip(self._runs, (self._metrics, self._limits), strict=True)
        problems = [tool.problem() for runs, tool in tools if runs]
        return tuple(one for one in problems if one is not None)

    def close(self) -> None:
        """Run it no more."""
        self._metrics.close()
        self._limits.close()

    @staticmethod
    def _tool(
        options: Options, commands: tuple[tuple[str, ...], ...], file: str | None, every_s: float
    ) -> Tool[tuple[AmdGpu, ...]]:
        """Return one of the two tables."""
        return Tool(
            parse,
            name=commands[0][0],
            commands=commands,
            file=file,
            period_s=every_s,
            deadline_s=options.deadline_s,
        )


def _filled(state: HardwareState, gpu: AmdGpu, static: AmdGpu, *, age_s: float) -> HardwareState:
    """Return the state with one GPU; the spot nearest to its limit speaks for it."""
    limits = {**static.limits_c, **gpu.limits_c}
    spot = min(
        gpu.temperatures_c,
        key=lambda one: limits.get(one, 150.0) - gpu.temperatures_c[one],
        default="",
    )
    limit_w = gpu.power_limit_w if gpu.power_limit_w is not None else static.power_limit_w
    total = gpu.total_bytes if gpu.total_bytes is not None else static.total_bytes
    fits = total is None or (gpu.used_bytes or 0) <= total

    def reading(value: float | None, what: str) -> Reading | None:
        if value is None:
            return None
        return Reading(value=value, origin="measured", source=f"amd-smi:{what}", age_s=age_s)

    return with_device(
        state,
        f"amd{gpu.index}",
        kind="gpu",
        temperature_c=reading(gpu.temperatures_c.get(spot), spot),
        limit_c=reading(limits.get(spot), f"slowdown {spot}"),
        power_w=reading(gpu.power_w, "power"),
        power_limit_w=reading(limit_w, "power limit"),
        utilization_ratio=reading(gpu.busy_ratio, "use"),
        memory_used_bytes=reading(gpu.used_bytes if fits else None, "vram"),
        memory_total_bytes=reading(total if fits and total else None, "vram"),
    )


def create(options: Options) -> AmdSmiSensor:
    """Return the sensor."""
    return AmdSmiSensor(options)
