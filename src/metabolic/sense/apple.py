"""A Mac's sensors: what powermetrics and macmon have in common.

A Mac tells no throttling temperature: its headroom is a level (``thermal_level``), and from
``moderate`` on it throttles. Processor, GPU and the whole chip are devices of their own, as is the
machine (``node``) where its power is known; they contain one another and are never summed.
Apple's figures are its own model's, calibrated on the die; they count as measured, as RAPL does.
"""

__all__ = ["AppleSensor", "AppleTotals", "Feed", "LiveFeed", "ReplayFeed", "advanced"]

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from metabolic.core.errors import SensorError
from metabolic.core.hardware import HardwareState, Origin, Reading
from metabolic.core.obstacle import Obstacle
from metabolic.sense.apple_sample import AppleSample
from metabolic.sense.background import Background, Fetched
from metabolic.sense.merge import with_device

_GPU = "apple0"
_SOC = "soc"
_RETRY_S = 30.0
"""After a failure: a program that is missing or refused is not started at every poll."""


class AppleTotals(Struct, frozen=True, kw_only=True):
    """The latest sample, and the joules of all samples so far (``None``: never known)."""

    sample: AppleSample
    cpu_j: float | None = None
    gpu_j: float | None = None
    soc_j: float | None = None
    system_j: float | None = None


class Feed(Protocol):
    """Where samples come from."""

    def latest(self, now_s: float) -> Fetched[AppleTotals] | None:
        """Return the newest sample with its age; ``None`` when there is none that is fresh."""
        ...

    def problem(self) -> Obstacle | None:
        """Return why there is none."""
        ...

    def close(self) -> None:
        """Stop."""
        ...


class LiveFeed:
    """Samples of a program that runs here, read in a thread."""

    def __init__(
        self,
        fetch: Callable[[], AppleTotals],
        *,
        name: str,
        close: Callable[[], None],
        every_s: float,
        stale_s: float,
        needs_mac: bool,
    ) -> None:
        """``fetch`` blocks until there is a sample; ``close`` ends what it reads from."""
        self._background = Background(
            fetch, name=name, every_s=every_s, stale_s=stale_s, retry_s=_RETRY_S
        )
        self._close = close
        self._name = name
        self._elsewhere = needs_mac and sys.platform != "darwin"

    def latest(self, now_s: float) -> Fetched[AppleTotals] | None:  # noqa: ARG002 - its own clock
        """Return the newest sample; never on another system than macOS."""
        return None if self._elsewhere else self._background.latest()

    def problem(self) -> Obstacle | None:
        """Return why there is none."""
        if self._elsewhere:
            return Obstacle(kind="platform", what=f"{self._name} runs on macOS only")
        return self._background.problem()

    def close(self) -> None:
        """End the thread and the program."""
        self._background.close()
        self._close()


class ReplayFeed:
    """Samples of a recording, one every ``every_s`` of the state's time; the last one stays."""

    def __init__(
        self, file: str, parse: Callable[[bytes], tuple[AppleSample, ...]], *, every_s: float
    ) -> None:
        """Read the file at the first ``latest``."""
        self._file, self._parse, self._every_s = file, parse, every_s
        self._all: tuple[AppleTotals, ...] | None = None
        self._began_s: float | None = None
        self._problem: Obstacle | None = None

    def latest(self, now_s: float) -> Fetched[AppleTotals] | None:
        """Return the sample whose turn it is."""
        if self._all is None:
            self._all = self._load()
        if not self._all:
            return None
        if self._began_s is None or now_s < self._began_s:
            self._began_s = now_s
        turn = int((now_s - self._began_s) / self._every_s + 1e-6)
        return Fetched(self._all[min(turn, len(self._all) - 1)], 0.0)

    def problem(self) -> Obstacle | None:
        """Return why there is none."""
        return self._problem

    def close(self) -> None:
        """Nothing is open."""

    def _load(self) -> tuple[AppleTotals, ...]:
        """Parse the recording and add its joules up."""
        try:
            samples = self._parse(Path(self._file).read_bytes())
        except (OSError, SensorError) as exc:
            self._problem = Obstacle(kind="configuration", what=f"{self._file}: {exc}")
            return ()
        if all(sample == AppleSample(seconds=sample.seconds) for sample in samples):
            self._problem = Obstacle(kind="absent", what=f"{self._file} holds no figure")
            return ()
        found: list[AppleTotals] = []
        for sample in samples:
            found.append(advanced(found[-1] if found else None, sample, seconds=self._every_s))
        return tuple(found)


def advanced(last: AppleTotals | None, sample: AppleSample, *, seconds: float) -> AppleTotals:
    """Return the totals with one more sample; ``seconds`` long if it does not say itself."""
    long_s = sample.seconds or seconds
    before = last or AppleTotals(sample=sample)
    return AppleTotals(
        sample=sample,
        cpu_j=_added(before.cpu_j, sample.cpu_j, sample.cpu_w, long_s),
        gpu_j=_added(before.gpu_j, sample.gpu_j, sample.gpu_w, long_s),
        soc_j=_added(before.soc_j, None, sample.soc_w, long_s),
        system_j=_added(before.system_j, None, sample.system_w, long_s),
    )


def _added(
    total_j: float | None, counted_j: float | None, watts: float | None, seconds: float
) -> float | None:
    """Return a sum with one more sample's energy; a sample without leaves it as it is."""
    joules = counted_j if counted_j is not None else None if watts is None else watts * seconds
    return total_j if joules is None else (total_j or 0.0) + joules


def _origin(counted_j: float | None) -> Origin:
    """Return where joules come from: a count, or power over time."""
    return "derived" if counted_j is None else "measured"


class AppleSensor:
    """Reads processor, GPU, chip and machine."""

    def __init__(self, name: str, feed: Feed) -> None:
        """``name`` is the source that readings name."""
        self.name = name
        self._feed = feed

    def read(self, state: HardwareState) -> HardwareState:
        """Return the state with what the newest sample says."""
        found = self._feed.latest(state.taken_at_s)
        return state if found is None else _filled(state, found, source=self.name)

    def obstacles(self) -> tuple[Obstacle, ...]:
        """Return why there is no sample."""
        problem = self._feed.problem()
        return () if problem is None else (problem,)

    def close(self) -> None:
        """End what was started."""
        self._feed.close()


def _filled(state: HardwareState, found: Fetched[AppleTotals], *, source: str) -> HardwareState:
    """Return the state with the chip, its two halves, and the machine around it."""
    totals, sample = found.value, found.value.sample

    def reading(value: float | None, origin: Origin = "measured") -> Reading | None:
        if value is None:
            return None
        return Reading(value=value, origin=origin, source=source, age_s=found.age_s)

    state = with_device(
        state,
        "cpu",
        kind="cpu",
        power_w=reading(sample.cpu_w),
        energy_j=reading(totals.cpu_j, _origin(sample.cpu_j)),
        utilization_ratio=reading(sample.cpu_ratio, "derived"),
        temperature_c=reading(sample.cpu_c),
    )
    state = with_device(
        state,
        _GPU,
        kind="gpu",
        power_w=reading(sample.gpu_w),
        energy_j=reading(totals.gpu_j, _origin(sample.gpu_j)),
        utilization_ratio=reading(sample.gpu_ratio, "derived"),
        temperature_c=reading(sample.gpu_c),
        memory_used_bytes=reading(sample.memory_used_bytes),
        memory_total_bytes=reading(sample.memory_total_bytes),
        integrated=None if sample.gpu_w is None and sample.gpu_ratio is None else True,
    )
    state = _with_whole(state, sample, reading(sample.soc_w), reading(totals.soc_j, "derived"))
    return with_device(
        state,
        "node",
        kind="node",
        power_w=reading(sample.system_w),
        energy_j=reading(totals.system_j, "derived"),
    )


def _with_whole(
    state: HardwareState, sample: AppleSample, power: Reading | None, energy: Reading | None
) -> HardwareState:
    """Return the state with the chip as a whole, and its thermal pressure."""
    return with_device(
        state,
        _SOC,
        kind="board",
        power_w=power,
        energy_j=energy,
        thermal_level=sample.level,
        throttled=None if sample.level is None else sample.level != "nominal",
    )
