"""``metabolic sense``: what the machine reads, what that allows, and what reading it costs."""

__all__ = ["Cost", "Loser", "Missing", "Report", "Signal", "sense"]

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import Parameter
from msgspec import Struct
from msgspec.structs import replace

from metabolic.cli import show
from metabolic.config import Config, load
from metabolic.core.hardware import HardwareState, Reading
from metabolic.core.metabolic import MetabolicState
from metabolic.decide.metabolism import assess
from metabolic.decide.profiles import detect, transition
from metabolic.wiring.policy import home_of
from metabolic.wiring.senses import probe_of

if TYPE_CHECKING:
    from rich.console import Group

_LOOKS_EVERY_S = 1.0

_UNITS = (
    ("_bytes", "B"),
    ("_ratio", ""),
    ("_g_per_kwh", "g/kWh"),
    ("_usd_per_kwh", "USD/kWh"),
    ("_c", "°C"),
    ("_w", "W"),
    ("_j", "J"),
)

_WANTED = (
    ("cpu.temperature_c", "no thermometer in hwmon or thermal zones; usual in virtual machines"),
    ("cpu.limit_c", "no trip point, so headroom is not known"),
    ("cpu.power_w", "no RAPL, and CPU time cannot be read either"),
    ("cpu.throttled", "no throttle counter and no cooling device that slows the processor"),
    ("cpu.utilization_ratio", "/proc/stat cannot be read"),
    ("memory_available_bytes", "/proc/meminfo cannot be read"),
    ("memory_pressure_ratio", "the kernel has no pressure stall information (psi=1)"),
    ("cpu_pressure_ratio", "the kernel has no pressure stall information (psi=1)"),
    ("load_ratio", "/proc/loadavg cannot be read"),
    ("battery.charge_ratio", "no battery"),
)
"""Signals one would like to have, and why they may be missing."""


class Loser(Struct, frozen=True, kw_only=True):
    """Another source of a signal, which was not taken: a later one, or a model's guess."""

    value: float
    origin: str
    source: str
    age_s: float


class Signal(Struct, frozen=True, kw_only=True):
    """One signal as it is shown; ``origin`` and ``source`` are ``None`` for yes, no and words."""

    name: str
    value: float | bool | str
    unit: str
    origin: str | None
    source: str | None
    age_s: float | None
    losers: tuple[Loser, ...] = ()


class Missing(Struct, frozen=True, kw_only=True):
    """One signal that is not there, and why not."""

    name: str
    why: str


class Cost(Struct, frozen=True, kw_only=True):
    """What reading costs: CPU of the probe's thread, and how well it keeps its period."""

    polls: int
    missed: int
    errors: int
    poll_cpu_us: float | None
    cpu_percent: float | None
    period_s: float | None
    max_late_s: float | None


class Report(Struct, frozen=True, kw_only=True):
    """Everything ``sense --json`` prints."""

    at_s: float
    root: str
    profile: str
    signals: tuple[Signal, ...]
    missing: tuple[Missing, ...]
    metabolic: MetabolicState
    cost: Cost


def sense(
    *,
    watch: Annotated[bool, Parameter(negative="")] = False,
    seconds: float = 1.2,
    root: str | None = None,
    config: Annotated[Path | None, Parameter(env_var="METABOLIC_CONFIG")] = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Show every signal with value, unit, origin and age, the level, and the cost of reading.

    Args:
        watch: Go on until interrupted, once a second; with ``--json`` one line each.
        seconds: How long to read before the first report; rates need at least half a second.
        root: Read ``sys`` and ``proc`` below this directory (else ``sense.root``).
        config: The configuration file.
        json: Print JSON instead of tables.

    Returns:
        0.
    """
    settings = load(config)
    if root is not None:
        settings = replace(settings, sense=replace(settings.sense, root=root))
    watcher = _Watcher(settings)
    try:
        watcher.look(seconds)
        if watch:
            _watch(watcher, json=json)
        elif json:
            show.print_json(watcher.report())
        else:
            show.console().print(_tables(watcher.report()))
    finally:
        watcher.close()
    return 0


class _Watcher:
    """Folds the probe's states into a level, as the gateway does."""

    def __init__(self, config: Config) -> None:
        self._probe = probe = probe_of(config, apart=True)
        self._root = config.sense.root
        probe.start()
        self._period_s = config.sense.period_s
        name = config.profile.name
        self._override = None if name == "auto" else name
        self._home = home_of(config, detect(probe.latest(), cores=os.cpu_count()))
        self._state = assess(probe.latest(), None, self._home)

    def look(self, seconds: float) -> None:
        """Assess at every poll for so long."""
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0:
            time.sleep(min(self._period_s, left_s))
            now = transition(self._home, self._state, override=self._override)
            self._state = assess(self._probe.latest(), self._state, now)

    def report(self) -> Report:
        """Return what is known now."""
        hardware = self._probe.latest()
        losers: dict[str, list[Loser]] = {}
        for name, field in self._probe.losers():
            if isinstance(field, Reading):
                losers.setdefault(name, []).append(_loser(field))
        found = tuple(
            _signal(name, field, tuple(losers.get(name, ())))
            for name, field in self._probe.signals()
        )
        return Report(
            at_s=hardware.taken_at_s,
            root=self._root,
            profile=self._state.profile,
            signals=found,
            missing=_missing(hardware, {signal.name for signal in found}),
            metabolic=self._state,
            cost=self._cost(),
        )

    def close(self) -> None:
        """Stop reading."""
        self._probe.close()

    def _cost(self) -> Cost:
        """Return what reading has cost so far."""
        stats = self._probe.stats()
        poll_s, ratio = stats.poll_cpu_s, stats.cpu_ratio
        return Cost(
            polls=stats.polls,
            missed=stats.missed,
            errors=stats.errors,
            poll_cpu_us=None if poll_s is None else round(poll_s * 1e6, 1),
            cpu_percent=None if ratio is None else round(ratio * 100, 3),
            period_s=stats.period_s,
            max_late_s=stats.max_late_s,
        )


def _signal(
    name: str,
    field: Reading | bool | str,  # noqa: FBT001 - a reading of yes or no
    losers: tuple[Loser, ...],
) -> Signal:
    """Return one signal as it is shown."""
    if isinstance(field, Reading):
        unit = next((unit for suffix, unit in _UNITS if name.endswith(suffix)), "")
        return Signal(
            name=name,
            value=field.value,
            unit=unit,
            origin=field.origin,
            source=field.source,
            age_s=round(field.age_s, 3),
            losers=losers,
        )
    return Signal(name=name, value=field, unit="", origin=None, source=None, age_s=None)


def _loser(field: Reading) -> Loser:
    """Return a source that was not taken as it is shown."""
    return Loser(
        value=field.value,
        origin=field.origin,
        source=field.source,
        age_s=round(field.age_s, 3),
    )


def _missing(hardware: HardwareState, found: set[str]) -> tuple[Missing, ...]:
    """Return what failed, and what one would like to have and has not."""
    failed = [Missing(name=name, why="read before, and cannot be now") for name in hardware.failed]
    absent = [
        Missing(name=name, why=why)
        for name, why in _WANTED
        if name not in found and name not in hardware.failed
    ]
    return (*failed, *absent)


def _watch(watcher: _Watcher, *, json: bool) -> None:
    """Report once a second until interrupted."""
    if json:
        while True:
            sys.stdout.write(msgspec.json.encode(watcher.report()).decode() + "\n")
            sys.stdout.flush()
            watcher.look(_LOOKS_EVERY_S)
    from rich.live import Live  # noqa: PLC0415 - only people watch

    with Live(_tables(watcher.report()), console=show.console(), auto_refresh=False) as live:
        while True:
            watcher.look(_LOOKS_EVERY_S)
            live.update(_tables(watcher.report()), refresh=True)


def _tables(report: Report) -> "Group":
    """Return the report for people."""
    from rich.console import Group  # noqa: PLC0415 - `--json` never needs it

    rows = [
        (
            one.name,
            _shown(one),
            one.origin or "–",
            one.source or "–",
            show.figure(one.age_s),
            ", ".join(f"{other.source} ({show.figure(other.value)})" for other in one.losers),
        )
        for one in report.signals
    ]
    columns = ("signal", ">value", "origin", "source", ">age s", "not taken")
    title = f"Signals below {report.root}"
    cost = report.cost
    spent = (
        ("CPU per poll", f"{show.figure(cost.poll_cpu_us)} µs"),
        ("share of one core", f"{show.figure(cost.cpu_percent)} %"),
        ("period", f"{show.figure(cost.period_s)} s, at worst {show.figure(cost.max_late_s)} late"),
        ("polls", f"{cost.polls}, {cost.missed} missed, {cost.errors} errors"),
    )
    missing = ((one.name, one.why) for one in report.missing)
    return Group(
        show.table(title, columns, rows),
        show.table("Not there", ("signal", "why"), missing),
        show.table("What the machine can afford", ("", ""), _afforded(report.metabolic)),
        show.table("What reading it costs", ("", ""), spent),
    )


def _afforded(state: MetabolicState) -> tuple[tuple[str, str], ...]:
    """Return the state for people: levels, headroom, risk, forecasts, power, battery."""
    of = "" if state.limiting is None else f" of {state.limiting}"
    kind = "" if state.headroom_w_kind is None else f" ({state.headroom_w_kind})"
    return (
        ("level", state.level + (f" ({', '.join(state.reasons)})" if state.reasons else "")),
        ("profile", state.profile),
        ("headroom", f"{show.figure(state.headroom_c)} °C{of}"),
        ("headroom in power", f"{show.figure(state.headroom_w)} W{kind}"),
        ("throttle risk", show.figure(state.throttle_risk_ratio)),
        ("time to throttle", f"{show.figure(state.time_to_throttle_s)} s"),
        ("trend", f"{show.figure(state.trend_c_per_s)} °C/s"),
        *[
            (
                f"headroom in {one.horizon_s:g} s",
                f"{show.figure(one.headroom_c)} °C ± {show.figure(one.error_c)}",
            )
            for one in state.forecasts
        ],
        ("power", f"{show.figure(state.power_w)} W"),
        ("power budget used", f"{show.figure(state.budget_used_ratio)} ({state.power_level})"),
        ("memory", state.memory_level),
        (
            "battery",
            f"{show.figure(state.battery_ratio)}, {show.figure(state.discharge_w)} W drawn",
        ),
        ("time to reserve", f"{show.figure(state.time_to_reserve_s)} s"),
    )


def _shown(signal: Signal) -> str:
    """Return a value with its unit, as people read it."""
    if isinstance(signal.value, bool):
        return "yes" if signal.value else "no"
    if isinstance(signal.value, str):
        return signal.value
    value = signal.value
    if signal.unit == "B":
        return f"{value / 2**30:.2f} GiB"
    if signal.name.endswith("_ratio"):
        return f"{100 * value:.1f} %"
    return f"{show.figure(value)} {signal.unit}".rstrip()
