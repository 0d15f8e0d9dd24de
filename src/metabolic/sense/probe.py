"""Poll every sensor in one thread and publish the machine's latest state.

The published state is one immutable value, replaced whole: readers need no lock. Every poll
starts from nothing; a signal that no sensor gives any more is carried on with its age for
``stale_s`` and then becomes ``None``, and its name stands in ``failed`` until it reads again. If
the thread itself is stuck in a sensor, ``latest`` says the same of every signal. So an old figure
never passes for a new one, and a machine that never had a thermometer differs from one whose
thermometer broke. Derived and modelled figures do not fail: what they are made of does.

The probe measures itself: CPU seconds of its thread per poll, the real period, and lateness.
"""

__all__ = ["Options", "Probe", "ProbeStats", "create"]

import threading
import time
from collections import deque
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from metabolic.core.errors import MetabolicError
from metabolic.core.hardware import HardwareState, Reading
from metabolic.core.ports import Sensor
from metabolic.sense.cadence import aged
from metabolic.sense.merge import (
    Field,
    Named,
    joined,
    signals,
    with_battery,
    with_device,
    with_signals,
)

_STARTS = 4096
"""How many beginnings of polls are kept: 7 minutes of them at 10 Hz."""

_MAY_END = frozenset({"battery.discharge_w"})
"""Signals that come and go by nature."""

_STRANGERS_FAULTS = (
    MetabolicError,
    OSError,
    ValueError,
    ArithmeticError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
)
"""A sensor must not raise; one that does all the same costs its own readings only."""


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often to poll, and how long a signal that is gone still counts.

    ``stale_s`` is at least three periods. With ``apart`` each sensor reads on its own, so that
    ``losers`` can tell which sources lost: dearer, and for people who look.
    """

    period_s: float = 0.1
    stale_s: float = 2.0
    apart: bool = False


class ProbeStats(Struct, frozen=True, kw_only=True):
    """What the probe itself costs, since it began.

    ``cpu_s`` is its thread's CPU time (all of it: waking and publishing too), ``last_poll_s`` and
    ``max_poll_s`` that of a poll, ``late_s`` by how much the latest poll came late and
    ``max_late_s`` the worst. ``errors`` counts sensors that raised, ``missed`` periods skipped.
    """

    polls: int = 0
    cpu_s: float = 0.0
    elapsed_s: float = 0.0
    period_s: float | None = None
    last_poll_s: float | None = None
    max_poll_s: float | None = None
    late_s: float | None = None
    max_late_s: float | None = None
    missed: int = 0
    errors: int = 0

    @property
    def cpu_ratio(self) -> float | None:
        """Share of one core the probe uses; ``None`` before it has run."""
        return self.cpu_s / self.elapsed_s if self.elapsed_s > 0 else None

    @property
    def poll_cpu_s(self) -> float | None:
        """Mean CPU seconds of a poll; ``None`` before the first."""
        return self.cpu_s / self.polls if self.polls else None


class _Seen(Struct, frozen=True):
    """The last good reading of a signal, and when."""

    at_s: float
    field: Field
    kind: str | None


class Probe:
    """Polls sensors and holds the latest state."""

    def __init__(
        self,
        options: Options,
        *,
        sensors: tuple[Sensor, ...],
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the sensors (and close them later).

        ``clock`` returns seconds since the epoch and stamps states; ``monotonic`` never jumps
        and tells whether the thread is stuck.
        """
        self._options = options
        self._stale_s = max(options.stale_s, 3 * options.period_s)
        self._sensors = sensors
        self._clock = clock
        self._monotonic = monotonic
        self._polled_s = monotonic()
        self._seen: dict[str, _Seen] = {}
        self._state = HardwareState(taken_at_s=clock())
        self._blind: HardwareState | None = None
        self._losers: tuple[Named, ...] = ()
        self._stats = ProbeStats()
        self._starts: deque[float] = deque(maxlen=_STARTS)
        self._gate = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Poll once, then go on in a daemon thread; a second call does nothing."""
        if self._thread is not None:
            return
        self.poll()
        self._gate.acquire()
        self._thread = threading.Thread(target=self._run, name="metabolic-probe", daemon=True)
        self._thread.start()

    def close(self, *, timeout_s: float = 1.0) -> None:
        """Stop polling and close the sensors; a thread that is stuck is left behind."""
        if self._thread is not None:
            if self._gate.locked():
                self._gate.release()
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                return
        for sensor in self._sensors:
            sensor.close()
        self._sensors = ()

    def latest(self) -> HardwareState:
        """Return the latest state; nothing in it is older than it says, or than ``stale_s``."""
        state = self._state
        if self._thread is None or self._monotonic() - self._polled_s <= self._stale_s:
            return state
        blind, now_s = self._blind, self._clock()
        if blind is None or not 0 <= now_s - blind.taken_at_s < self._options.period_s:
            failed = tuple(sorted(_tracked(self._seen)))
            blind = self._blind = HardwareState(taken_at_s=now_s, failed=failed)
        return blind

    def signals(self) -> tuple[Named, ...]:
        """Return all that is known now, flat: ``("cpu.temperature_c", Reading(…))`` and so on."""
        return tuple(signals(self.latest()))

    def stats(self) -> ProbeStats:
        """Return what the probe has cost so far."""
        return self._stats

    def poll(self) -> HardwareState:
        """Read every sensor now and publish the state; the thread does this by itself."""
        now_s = self._clock()
        state = HardwareState(taken_at_s=now_s)
        if self._options.apart:
            parts = tuple(self._asked(sensor, state) for sensor in self._sensors)
            state = joined(parts, at_s=now_s)
            self._losers = _losers(parts, state)
        else:
            for sensor in self._sensors:
                state = self._asked(sensor, state)
        self._state = state = self._aged_out(state)
        self._polled_s = self._monotonic()
        return state

    def starts(self) -> tuple[float, ...]:
        """Return when the last polls of the thread began, by a clock that never jumps."""
        return tuple(self._starts)

    def losers(self) -> tuple[Named, ...]:
        """Return the readings that another source's took precedence over; needs ``apart``."""
        return self._losers

    def _asked(self, sensor: Sensor, state: HardwareState) -> HardwareState:
        """Return the state with one sensor's readings; without them if it raises."""
        try:
            return sensor.read(state)
        except _STRANGERS_FAULTS:
            self._stats = replace(self._stats, errors=self._stats.errors + 1)
            return state

    def _aged_out(self, state: HardwareState) -> HardwareState:
        """Carry on what has just gone, and name what has been gone for too long."""
        now_s, seen = state.taken_at_s, self._seen
        kinds = {device.name: device.kind for device in state.devices}
        present: set[str] = set()
        for name, field in signals(state):
            present.add(name)
            seen[name] = _Seen(now_s, field, kinds.get(name.partition(".")[0]))
        if len(present) == len(seen):
            return state
        asleep = {device.name for device in state.devices if device.asleep}
        failed: list[str] = []
        for name, last in tuple(seen.items()):
            if name in present:
                continue
            if name.partition(".")[0] in asleep:
                del seen[name]
            elif 0 <= now_s - last.at_s <= self._stale_s:
                state = _carried(state, name, last)
            elif _is_tracked(name, last.field):
                failed.append(name)
            else:
                del seen[name]
        return replace(state, failed=tuple(sorted(failed))) if failed else state

    def _run(self) -> None:
        """Poll until stopped, on a schedule that does not drift."""
        began_s, began_cpu_s = time.monotonic(), time.thread_time()
        period_s, turn = self._options.period_s, 0
        while True:
            turn += 1
            missed = int((time.monotonic() - began_s) / period_s) - turn + 1
            if missed > 0:
                turn += missed
            if self._gate.acquire(timeout=max(0.0, began_s + turn * period_s - time.monotonic())):
                return
            self._starts.append(time.monotonic())
            late_s = self._starts[-1] - (began_s + turn * period_s)
            before_s = time.thread_time()
            self.poll()
            after_s = time.thread_time()
            self._stats = _counted(
                self._stats,
                elapsed_s=time.monotonic() - began_s,
                cpu_s=after_s - began_cpu_s,
                poll_s=after_s - before_s,
                late_s=max(0.0, late_s),
                missed=max(0, missed),
            )


def _counted(
    stats: ProbeStats,
    *,
    elapsed_s: float,
    cpu_s: float,
    poll_s: float,
    late_s: float,
    missed: int,
) -> ProbeStats:
    """Return the statistics with one more poll."""
    polls = stats.polls + 1
    return ProbeStats(
        polls=polls,
        cpu_s=cpu_s,
        elapsed_s=elapsed_s,
        period_s=elapsed_s / polls,
        last_poll_s=poll_s,
        max_poll_s=max(stats.max_poll_s or 0.0, poll_s),
        late_s=late_s,
        max_late_s=max(stats.max_late_s or 0.0, late_s),
        missed=stats.missed + missed,
        errors=stats.errors,
    )


def _losers(parts: tuple[HardwareState, ...], state: HardwareState) -> tuple[Named, ...]:
    """Return the readings of ``parts`` that are not in ``state``."""
    won = dict(signals(state))
    return tuple(
        (name, field)
        for part in parts
        for name, field in signals(part)
        if isinstance(field, Reading) and won.get(name) is not field
    )


def _is_tracked(name: str, field: Field) -> bool:
    """Say whether a signal's loss is a failure."""
    if name in _MAY_END:
        return False
    return not isinstance(field, Reading) or field.origin == "measured"


def _tracked(seen: dict[str, _Seen]) -> list[str]:
    """Return the names of all signals whose loss is a failure."""
    return [name for name, last in tuple(seen.items()) if _is_tracked(name, last.field)]


def _carried(state: HardwareState, name: str, last: _Seen) -> HardwareState:
    """Return the state with a signal as it last was, and its age."""
    field = last.field
    if isinstance(field, Reading):
        field = aged(field, field.age_s + state.taken_at_s - last.at_s) or field
    owner, dot, inner = name.rpartition(".")
    match last.kind:
        case "cpu" | "gpu" | "board" | "node":
            return with_device(state, owner, kind=last.kind, **{inner: field})
        case _ if owner == "battery":
            return with_battery(state, **{inner: field})
        case _:
            return state if dot else with_signals(state, **{inner: field})


def create(
    options: Options,
    *,
    sensors: tuple[Sensor, ...],
    clock: Callable[[], float] = time.time,
) -> Probe:
    """Return the probe, not yet started."""
    return Probe(options, sensors=sensors, clock=clock)
