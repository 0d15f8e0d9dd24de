"""NVIDIA GPUs of this or another machine through DCGM-exporter's Prometheus text.

The exporter itself reads seldom (30 s by default), and does not say when it did: the age given is
only that of the fetch. Thermal margins and violations are switched off in its default counters,
so there is no headroom unless the operator adds ``DCGM_FI_DEV_SLOWDOWN_TEMP`` and the like.
GPUs of another machine need a ``prefix`` of their own, or they pass for this one's.
Source: DCGM-exporter's default-counters.csv; DCGM's field identifiers.
"""

__all__ = ["DcgmSensor", "Options", "create", "gpus_of"]

import http.client
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from metabolic.core.errors import SensorError
from metabolic.core.hardware import HardwareState
from metabolic.core.obstacle import Obstacle
from metabolic.core.units import j_from_millijoules, ratio_from_percent
from metabolic.sense.background import Background
from metabolic.sense.node_http import Connection, get
from metabolic.sense.nvidia_counter import EnergyCounter
from metabolic.sense.nvidia_gpu import Gpu, held_by, with_gpus
from metabolic.sense.prometheus_text import Sample, parse

_FIELD = "DCGM_FI_DEV_"
_MIB = 1024.0**2
_BLANK = 1e14
"""DCGM writes figures it does not have as 2**47 or near 2**63; nothing real is as large."""

_OF_A_PART = "GPU_I_ID"
"""The label of a MIG instance: its memory is a part's, but heat and power are the board's."""

_PART_FIGURES = frozenset({"FB_USED", "FB_FREE", "FB_TOTAL", "FB_RESERVED", "GPU_UTIL"})


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the exporter is, how often to ask it, and how long its answer counts.

    ``prefix`` begins the names of its GPUs and has no dot: ``nvidia`` for those of this machine.
    ``file`` is read instead of asking, as recorded.
    """

    url: str = "http://127.0.0.1:9400/metrics"
    file: str | None = None
    prefix: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]+$")] = "nvidia"
    period_s: float = 5.0
    deadline_s: float = 5.0
    username: str | None = None
    password: str | None = None
    token: str | None = None
    ca_file: str | None = None
    verify_tls: bool = True


class DcgmSensor:
    """Reads every GPU an exporter shows."""

    name = "dcgm"

    def __init__(self, options: Options) -> None:
        """Ask nothing; the first read does, and does not wait for the answer."""
        self._options = options
        self._connection = Connection(
            username=options.username,
            password=options.password,
            token=options.token,
            ca_file=options.ca_file,
            verify_tls=options.verify_tls,
            timeout_s=options.deadline_s,
        )
        self._counters: dict[str, EnergyCounter] = {}
        fetch: Callable[[], tuple[Gpu, ...]] = self._fetch
        self._background = Background(
            fetch,
            name="the DCGM exporter",
            every_s=options.period_s,
            stale_s=2 * options.period_s + options.deadline_s,
        )

    def read(self, state: HardwareState) -> HardwareState:
        """Return the state with what the exporter last said of each GPU."""
        fetched = self._background.latest()
        if fetched is None:
            return state
        return with_gpus(state, fetched.value, source="dcgm", age_s=fetched.age_s)

    def wait(self, timeout_s: float) -> bool:
        """Wait for the first answer; say whether there was one, or a failure."""
        return self._background.wait(timeout_s)

    def obstacles(self) -> tuple[Obstacle, ...]:
        """Return why the exporter is not read."""
        problem = self._background.problem()
        return () if problem is None else (problem,)

    def close(self) -> None:
        """Ask no more."""
        self._background.close()

    def _fetch(self) -> tuple[Gpu, ...]:
        """Ask the exporter."""
        where = self._options.file or self._options.url
        try:
            if self._options.file is not None:
                body = Path(self._options.file).read_bytes()
            else:
                body = get(self._options.url, self._connection)
        except (OSError, http.client.HTTPException) as exc:
            what = f"{where}: {exc}"
            raise SensorError(what, Obstacle(kind="unreachable", what=what)) from exc
        gpus = gpus_of(
            parse(body.decode("utf-8", "replace"), prefix=_FIELD), prefix=self._options.prefix
        )
        if not gpus:
            what = f"{where} shows no GPU: not a DCGM exporter, or one that sees none"
            raise SensorError(what, Obstacle(kind="configuration", what=what))
        return tuple(self._counted(gpu) for gpu in gpus)

    def _counted(self, gpu: Gpu) -> Gpu:
        """Return a GPU with a counter that never falls."""
        if gpu.energy_j is None:
            return gpu
        counter = self._counters.setdefault(gpu.uuid or gpu.name, EnergyCounter())
        total_j = counter.advance(time.monotonic(), gpu.energy_j, limit_w=gpu.power_limit_w)
        return replace(gpu, energy_j=total_j, energy_epoch=counter.epoch)


def gpus_of(samples: tuple[Sample, ...], *, prefix: str = "nvidia") -> tuple[Gpu, ...]:
    """Return the GPUs among samples, each by its UUID; ``energy_j`` is the exporter's own counter.

    A name is the prefix and the exporter's index, unless another GPU has that (an exporter of
    several hosts): then the next free one.
    """
    found: dict[str, dict[str, float]] = {}
    first: dict[str, Sample] = {}
    for sample in samples:
        if not sample.name.startswith(_FIELD):
            continue
        index = sample.label("gpu") or ""
        key = sample.label("UUID") or f"{sample.label('Hostname') or ''}/{index}"
        figures = found.setdefault(key, {})
        first.setdefault(key, sample)
        name = sample.name.removeprefix(_FIELD)
        if sample.label(_OF_A_PART):
            figures["part"] = 1.0
            if name in _PART_FIGURES:
                continue
        if abs(sample.value) < _BLANK:
            figures.setdefault(name, sample.value)
    names: dict[str, str] = {}
    for key, sample in first.items():
        wanted = int(index) if (index := sample.label("gpu") or "").isdigit() else len(names)
        while f"{prefix}{wanted}" in names.values():
            wanted += 1
        names[key] = f"{prefix}{wanted}"
    return tuple(_gpu(names[key], first[key], figures) for key, figures in found.items())


def _gpu(name: str, sample: Sample, figures: Mapping[str, float]) -> Gpu:
    """Return one GPU; a threshold of 0 is none."""
    shared = "part" in figures
    energy_mj, util = figures.get("TOTAL_ENERGY_CONSUMPTION"), figures.get("GPU_UTIL")
    bits = figures.get("CLOCK_THROTTLE_REASONS", figures.get("CLOCKS_EVENT_REASONS"))
    used, total = _memory(figures)
    return Gpu(
        name=name,
        uuid=sample.label("UUID") or "",
        model=sample.label("modelName") or "",
        shared=True if shared else None,
        temperature_c=figures.get("GPU_TEMP"),
        memory_c=figures.get("MEMORY_TEMP") or None,
        slowdown_c=figures.get("SLOWDOWN_TEMP") or None,
        highest_c=figures.get("GPU_MAX_OP_TEMP") or None,
        memory_highest_c=figures.get("MEM_MAX_OP_TEMP") or None,
        held=None if bits is None or bits < 0 else held_by(int(bits)),
        power_w=figures.get("POWER_USAGE"),
        power_limit_w=figures.get("ENFORCED_POWER_LIMIT") or figures.get("POWER_MGMT_LIMIT"),
        energy_j=None if energy_mj is None else j_from_millijoules(energy_mj),
        utilization_ratio=None if shared or util is None else ratio_from_percent(util),
        memory_used_bytes=used,
        memory_total_bytes=total,
    )


def _memory(figures: Mapping[str, float]) -> tuple[float | None, float | None]:
    """Return used and total bytes; the total is the sum of its parts where it is not told."""
    used, free = figures.get("FB_USED"), figures.get("FB_FREE")
    total = figures.get("FB_TOTAL")
    if total is None and used is not None and free is not None:
        total = used + free + figures.get("FB_RESERVED", 0.0)
    return None if used is None else used * _MIB, None if total is None else total * _MIB


def create(options: Options) -> DcgmSensor:
    """Return the sensor."""
    return DcgmSensor(options)
