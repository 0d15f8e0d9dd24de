"""Signals from any Prometheus exporter: which metric is which signal is configured.

Known exporters have presets: ``kepler`` (RAPL packages), ``scaphandre`` (the host), ``ipmi``
(DCMI power of the node) and ``all_smi`` (accelerators of every vendor). Samples that fall on one
signal of one device are added (power, energy, memory) or the highest counts (temperature,
utilisation, limits take the lowest). A thread scrapes every ``every_s``.
Source: the exporters' own documentation of their metrics.
"""

__all__ = ["PRESETS", "Options", "PrometheusSensor", "Rule", "create"]

import re
from collections.abc import Callable, Mapping
from math import isfinite
from pathlib import Path
from typing import Literal

from msgspec import Struct

from metabolic.core.errors import SensorError
from metabolic.core.hardware import HardwareState, Reading
from metabolic.core.obstacle import Obstacle
from metabolic.sense.background import Background
from metabolic.sense.merge import Kind, with_device
from metabolic.sense.node_http import Connection, get
from metabolic.sense.prometheus_text import Sample, parse

Signal = Literal[
    "temperature_c",
    "limit_c",
    "headroom_c",
    "power_w",
    "power_limit_w",
    "energy_j",
    "utilization_ratio",
    "memory_used_bytes",
    "memory_total_bytes",
]
_COMBINE: Mapping[str, Callable[[list[float]], float]] = {
    "temperature_c": max,
    "utilization_ratio": max,
    "limit_c": min,
    "headroom_c": min,
}
_RANGES: Mapping[str, tuple[float, float]] = {
    "temperature_c": (-40.0, 150.0),
    "limit_c": (1.0, 150.0),
    "headroom_c": (-150.0, 190.0),
    "power_w": (0.0, 1e6),
    "power_limit_w": (0.0, 1e6),
    "energy_j": (0.0, 1e16),
    "utilization_ratio": (0.0, 1.0),
    "memory_used_bytes": (0.0, 1e16),
    "memory_total_bytes": (0.0, 1e16),
}
_HOLE = re.compile(r"\{(\w+)\}")


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One metric that is a signal.

    ``labels`` must all be equal; ``scale`` turns the value into SI; ``device`` may hold labels in
    braces: ``"nvidia{index}"``.
    """

    metric: str
    signal: Signal
    labels: dict[str, str] = {}
    scale: float = 1.0
    device: str = "node"
    kind: Kind = "node"


def _gpu(metric: str, signal: Signal, *, scale: float = 1.0) -> Rule:
    """Return a rule of all-smi."""
    name = f"all_smi_gpu_{metric}"
    return Rule(metric=name, signal=signal, scale=scale, device="gpu{index}", kind="gpu")


PRESETS: Mapping[str, tuple[Rule, ...]] = {
    "kepler": (
        Rule(
            metric="kepler_node_cpu_joules_total",
            signal="energy_j",
            labels={"zone": "package"},
            device="cpu",
            kind="cpu",
        ),
        Rule(
            metric="kepler_node_cpu_watts",
            signal="power_w",
            labels={"zone": "package"},
            device="cpu",
            kind="cpu",
        ),
    ),
    "scaphandre": (
        Rule(metric="scaph_host_power_microwatts", signal="power_w", scale=1e-6),
        Rule(metric="scaph_host_energy_microjoules", signal="energy_j", scale=1e-6),
    ),
    "ipmi": (Rule(metric="ipmi_dcmi_power_consumption_watts", signal="power_w"),),
    "all_smi": (
        _gpu("temperature_celsius", "temperature_c"),
        _gpu("power_consumption_watts", "power_w"),
        _gpu("utilization", "utilization_ratio", scale=0.01),
        _gpu("memory_used_bytes", "memory_used_bytes"),
        _gpu("memory_total_bytes", "memory_total_bytes"),
    ),
}
"""Exporters whose metrics are known."""


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which exporter, and what its metrics are.

    ``preset`` and ``rules`` add up. ``token``, ``password``: ``"env:NAME"``. ``file`` is a
    recorded scrape, read instead.
    """

    url: str = ""
    preset: Literal["kepler", "scaphandre", "ipmi", "all_smi"] | None = None
    rules: tuple[Rule, ...] = ()
    username: str | None = None
    password: str | None = None
    token: str | None = None
    ca_file: str | None = None
    verify_tls: bool = True
    every_s: float = 5.0
    stale_s: float = 30.0
    timeout_s: float = 5.0
    file: str | None = None


class _Found(Struct, frozen=True):
    """One signal of one device."""

    device: str
    kind: Kind
    signal: Signal
    value: float
    metric: str


class PrometheusSensor:
    """Reads one exporter."""

    name = "prometheus"

    def __init__(self, options: Options) -> None:
        """Scrape nothing yet."""
        self._options = options
        self._rules = (*options.rules, *PRESETS.get(options.preset or "", ()))
        self._background = Background(
            self._fetch,
            name=f"exporter {options.url or options.file}",
            every_s=options.every_s,
            stale_s=options.stale_s,
            retry_s=2 * options.every_s,
        )
        if options.file is not None:
            self._background.wait(options.timeout_s)

    def read(self, state: HardwareState) -> HardwareState:
        """Return the state with every signal that the last scrape held."""
        found = self._background.latest()
        for one in found.value if found else ():
            reading = Reading(
                value=one.value,
                origin="measured",
                source=f"prometheus:{one.metric}",
                age_s=found.age_s if found else 0.0,
            )
            state = with_device(state, one.device, kind=one.kind, **{one.signal: reading})
        return state

    def obstacles(self) -> tuple[Obstacle, ...]:
        """Return why there is nothing."""
        problem = self._background.problem()
        return () if problem is None else (problem,)

    def close(self) -> None:
        """Stop scraping."""
        self._background.close()

    def _fetch(self) -> tuple[_Found, ...]:
        """Scrape, and find the signals. Raises ``SensorError``."""
        found = tuple(_signals(parse(self._text()), self._rules))
        if not found:
            what = f"{self._options.url or self._options.file}: none of the metrics asked for"
            remedy = "name a preset, or rules: metric, signal, scale"
            raise SensorError(what, Obstacle(kind="configuration", what=what, remedy=remedy))
        return found

    def _text(self) -> str:
        """Return the exporter's answer. Raises ``SensorError``."""
        options = self._options
        if options.file is not None:
            try:
                return Path(options.file).read_text(encoding="utf-8", errors="replace")
            except OSError as exc:
                what = f"{options.file}: {exc.strerror}"
                raise SensorError(what, Obstacle(kind="configuration", what=what)) from exc
        if not options.url:
            what = "prometheus has no url"
            raise SensorError(what, Obstacle(kind="configuration", what=what))
        connection = Connection(
            username=options.username,
            password=options.password,
            token=options.token,
            ca_file=options.ca_file,
            verify_tls=options.verify_tls,
            timeout_s=options.timeout_s,
        )
        return get(options.url, connection).decode("utf-8", "replace")


def _signals(samples: tuple[Sample, ...], rules: tuple[Rule, ...]) -> list[_Found]:
    """Return every signal, samples of one combined; the first rule of a signal wins."""
    values: dict[tuple[str, Signal], tuple[Rule, list[float]]] = {}
    for rule in rules:
        for sample in samples:
            if sample.name != rule.metric or not _matches(sample, rule):
                continue
            value, device = sample.value * rule.scale, _device(rule.device, sample)
            low, high = _RANGES[rule.signal]
            if device is None or not isfinite(value) or not low <= value <= high:
                continue
            known = values.setdefault((device, rule.signal), (rule, []))
            if known[0] is rule:
                known[1].append(value)
    return [
        _Found(device, rule.kind, signal, _COMBINE.get(signal, sum)(several), rule.metric)
        for (device, signal), (rule, several) in values.items()
    ]


def _matches(sample: Sample, rule: Rule) -> bool:
    """Say whether a sample has all labels of a rule."""
    return all(sample.label(name) == value for name, value in rule.labels.items())


def _device(template: str, sample: Sample) -> str | None:
    """Fill the labels in; ``None`` if the sample lacks one."""
    holes: list[str] = _HOLE.findall(template)
    if any(sample.label(name) is None for name in holes):
        return None
    return _HOLE.sub(lambda hole: sample.label(hole[1]) or "", template)


def create(options: Options) -> PrometheusSensor:
    """Return the sensor."""
    return PrometheusSensor(options)
