"""What the sensors read of a recording, made by name as the gateway makes them."""

__all__ = ["BUMP_J", "SOURCES", "Read", "cost_of", "options_of", "read"]

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from pathlib import Path

from msgspec import Struct

from metabolic import plugins
from metabolic.bench.telemetry_recordings import Recording
from metabolic.bench.telemetry_signals import Bump, Expected
from metabolic.config import Config, SenseTable
from metabolic.core.errors import MetabolicError
from metabolic.core.hardware import HardwareState, Reading
from metabolic.core.ports import Explains, Sensor
from metabolic.wiring.senses import probe_of

_AT_S = 1_700_000_000.0
_PATIENCE_S = 5.0
_WORDS = frozenset({"name", "kind", "clocks_held_by", "shared", "asleep", "integrated"})
"""What describes a device and is no figure of it."""

BUMP_J = 0.5
"""By how much a counter is made to go on: 10 W over the 50 ms in between, which is plausible."""

_TREES = frozenset({"host", "card", "psi"})
SOURCES: Mapping[str, str] = {
    "amd_smi": "amd_smi",
    "dcgm": "dcgm",
    "macmon": "macmon",
    "nvidia_smi": "nvidia_smi",
    "plist": "powermetrics",
    "powermetrics": "powermetrics",
    "pressure_level": "apple_pressure",
    "prometheus": "prometheus",
    "redfish": "redfish",
    "rocm_smi": "amd_smi",
    "tegrastats": "tegrastats",
}
"""Kind of recording → the sensor that reads it; trees are read by all that ship."""


class Read(Struct, frozen=True, kw_only=True):
    """What was read: signal → value. ``problem`` is what a sensor said stood in its way.

    ``moved`` is by how much counters went on when the recording was made to.
    """

    signals: Mapping[str, float | bool | str] = {}
    moved: Mapping[str, float] = {}
    problem: str = ""


def read(recording: Recording, place: Path, *, counters: Sequence[Expected] = ()) -> Read:
    """Return everything the sensors make of a recording; what only a model says is left out.

    Each of ``counters`` that begins at 0 is made to go on, and read again.
    """
    if recording.kind in _TREES:
        probe = probe_of(Config(sense=SenseTable(root=str(place))))
        try:
            return _followed(probe.poll, "", counters, place)
        finally:
            probe.close()
    kind = SOURCES.get(recording.kind)
    if kind is None:
        return Read(problem="no sensor reads this")
    try:
        sensor = plugins.sensor(kind, options_of(kind, place))
    except MetabolicError as exc:
        return Read(problem=str(exc))
    try:
        first = _first(sensor)
        obstacles = sensor.obstacles() if isinstance(sensor, Explains) else ()
        problem = "; ".join(one.what for one in obstacles)
        later = HardwareState(taken_at_s=_AT_S + 1.0)
        states = chain((first,), repeat(None))
        return _followed(lambda: next(states) or sensor.read(later), problem, counters, place)
    finally:
        sensor.close()


def _followed(
    poll: Callable[[], HardwareState], problem: str, counters: Sequence[Expected], place: Path
) -> Read:
    """Read, make the counters that begin at 0 go on, and read until they have."""
    signals = dict(_flat(poll()))
    bumps = [one for one in counters if one.bump and signals.get(one.signal) == 0]
    if not bumps:
        return Read(signals=signals, problem=problem)
    time.sleep(0.05)
    for one in bumps:
        if one.bump is not None:
            _raise(one.bump, place)
    end_s = time.monotonic() + _PATIENCE_S
    moved: dict[str, float] = {}
    while time.monotonic() < end_s and not all(moved.get(one.signal) for one in bumps):
        after = dict(_flat(poll()))
        moved = {one.signal: float(after.get(one.signal) or 0.0) for one in bumps}
        time.sleep(0.01)
    return Read(signals=signals, moved=moved, problem=problem)


def _raise(bump: Bump, place: Path) -> None:
    """Add half a joule to the numbers of a counter in its file."""
    file = place / bump.file if bump.file else place

    def more(found: re.Match[str]) -> str:
        head, number = re.fullmatch(r"(.*?)(\d+)", found[0], re.DOTALL).groups()  # pyright: ignore[reportOptionalMemberAccess]
        return f"{head}{int(number) + round(BUMP_J * bump.per_j)}"

    text = file.read_text(encoding="utf-8", errors="replace")
    file.write_text(re.sub(bump.pattern, more, text, flags=re.MULTILINE), encoding="utf-8")


def options_of(kind: str, place: Path) -> dict[str, object]:
    """Return the options that have a sensor read a file instead of its source."""
    known = plugins.load("sensors", kind).Options.__struct_fields__
    options: dict[str, object] = (
        {"files": [str(place)]} if "files" in known else {"file": str(place)}
    )
    if "file_age_s" in known:
        options["file_age_s"] = 0.0
    if kind == "dcgm":
        options["period_s"] = 0.1
    if kind == "amd_smi" and '"limit"' in place.read_text(encoding="utf-8", errors="replace"):
        options = {"static_file": str(place)}
    if kind == "prometheus":
        text = place.read_text(encoding="utf-8", errors="replace")
        marks = {
            "kepler": "kepler_",
            "scaphandre": "scaph_",
            "ipmi": "ipmi_",
            "all_smi": "all_smi_",
        }
        options["preset"] = next(name for name, mark in marks.items() if mark in text)
    return options


def cost_of(recording: Recording, place: Path, *, reads: int) -> tuple[float, float | None] | None:
    """Return CPU seconds of a poll in the loop, and of fetching and parsing once.

    The second is ``None`` where the loop itself reads; ``None`` altogether without a sensor.
    """
    if recording.kind in _TREES:
        probe = probe_of(Config(sense=SenseTable(root=str(place))))
        probe.poll()
        began_s = time.thread_time()
        for _ in range(reads):
            probe.poll()
        spent_s = (time.thread_time() - began_s) / reads
        probe.close()
        return spent_s, None
    kind = SOURCES.get(recording.kind)
    if kind is None or kind not in plugins.kinds("sensors"):
        return None
    sensor = plugins.sensor(kind, options_of(kind, place))
    began_s = time.process_time()
    _first(sensor)
    fetched_s = time.process_time() - began_s
    began_s = time.thread_time()
    for turn in range(reads):
        sensor.read(HardwareState(taken_at_s=_AT_S + 0.1 * turn))
    spent_s = (time.thread_time() - began_s) / reads
    sensor.close()
    return spent_s, fetched_s


def _first(sensor: Sensor) -> HardwareState:
    """Read until there is something, or the sensor says that there will be nothing."""
    end_s = time.monotonic() + _PATIENCE_S
    empty = HardwareState(taken_at_s=_AT_S)
    while (state := sensor.read(empty)) == empty and time.monotonic() < end_s:
        if not isinstance(sensor, Explains) or sensor.obstacles():
            break
        time.sleep(0.002)
    return state


def _flat(state: HardwareState) -> Iterator[tuple[str, float | bool | str]]:
    """Yield every signal by name, without those that only a model says."""
    owners: list[tuple[str, Struct]] = [(f"{one.name}.", one) for one in state.devices]
    owners.append(("", state))
    if state.battery is not None:
        owners.append(("battery.", state.battery))
    for prefix, owner in owners:
        for name in owner.__struct_fields__:
            value: object = getattr(owner, name)
            if isinstance(value, Reading) and value.origin != "modelled":
                yield prefix + name, value.value
            elif prefix and name not in _WORDS and isinstance(value, bool | str):
                yield prefix + name, value
