"""Signals expected of recordings against signals read, and what reading costs.

Every recording in a folder is read by the sensors, as the gateway makes them, and by extractors
that share no code with them; both sides meet by the digest of the raw bytes. A signal that only
the extractor finds is missed, one that only the sensors find is invented, and two values that
differ are wrong. Then the gateway's own probe runs beside programs that take every core.
"""

__all__ = ["run"]

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from xml.parsers.expat import ExpatError

from msgspec import Struct

from metabolic.bench import telemetry_period
from metabolic.bench.report import (
    Figure,
    Interval,
    Missing,
    Report,
    Row,
    interval,
    progress,
    quantile,
    report,
)
from metabolic.bench.telemetry_expected import expected_of
from metabolic.bench.telemetry_made import made
from metabolic.bench.telemetry_read import BUMP_J, SOURCES, Read, cost_of, read
from metabolic.bench.telemetry_recordings import Recording, find, materialise
from metabolic.bench.telemetry_signals import Expected, unit_of
from metabolic.config import Config

_RELATIVE = 1e-6
_FOLLOWS_RELATIVE = 0.01
_P99 = 0.99
_FAULTS = (ValueError, LookupError, TypeError, AttributeError, ExpatError)
"""What the extractor may stumble over in a recording that is broken."""


class _Outcome(Struct, frozen=True, kw_only=True):
    """One recording: its rows, and what could not be parsed."""

    rows: tuple[Row, ...]
    expected: int = 0
    read: int = 0
    wrong: int = 0
    invented: int = 0
    unparsed: str = ""


def run(*, data: Path | None = None, seed: int = 0, quick: bool = False) -> Report:
    """Compare, measure, and say so; without ``data`` with recordings made here.

    ``seed`` changes nothing: all recordings are read, in the order of their names.
    """
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="metabolic-bench-") as folder:
        work = Path(folder)
        source = made(work / "made") if data is None else data
        bench = _Bench(work, quick=quick)
        bench.compare(find(source))
        bench.measure_period()
    notes = [
        f"a counter that begins at 0 is made to go on by {BUMP_J} J: followed_j is what was read"
    ]
    if data is None:
        notes.append("recordings made by this bench; --data DIR reads real ones")
    return report(
        "telemetry",
        seed=seed,
        seconds=time.monotonic() - began_s,
        quick=quick,
        notes=[*notes, *bench.notes],
        figures=bench.figures,
        rows=bench.rows,
        missing=bench.missing,
    )


class _Bench:
    """One benchmark under way."""

    def __init__(self, folder: Path, *, quick: bool) -> None:
        self._folder, self._quick = folder, quick
        self.figures: dict[str, Figure] = {}
        self.rows: list[Row] = []
        self.notes: list[str] = []
        self.missing: list[Missing] = []

    def compare(self, recordings: Sequence[Recording]) -> None:
        """Put both sides together, recording by recording."""
        outcomes: list[_Outcome] = []
        costs: dict[str, list[tuple[float, float | None]]] = {}
        for number, recording in enumerate(recordings):
            progress(f"{recording.name} ({recording.kind})")
            place = materialise(recording, self._folder / str(number))
            outcomes.append(_compared(recording, place))
            cost = cost_of(recording, place, reads=20 if self._quick else 200)
            if cost is not None:
                source = SOURCES.get(recording.kind, recording.kind)
                costs.setdefault(source, []).append(cost)
        for one in outcomes:
            self.rows += one.rows
            if one.unparsed:
                self.notes.append(one.unparsed)
        self._count(outcomes)
        for source, several in sorted(costs.items()):
            self._cost(source, several)

    def measure_period(self) -> None:
        """Run the probe of this machine alone, and beside programs that take every core."""
        seconds = 1.5 if self._quick else 30.0
        for busy in (False, True):
            progress(f"the probe for {seconds:.0f} s{', all cores busy' if busy else ''}")
            kept = telemetry_period.keep(Config(), seconds=seconds, busy=busy)
            self._kept(kept, figure=busy)

    def _count(self, outcomes: Sequence[_Outcome]) -> None:
        """Put the four counts; the shares of the expected with their intervals."""
        expected = sum(one.expected for one in outcomes)
        if not expected:
            for name in ("expected", "read", "wrong", "invented"):
                self.missing.append(
                    Missing(figure=f"signals_{name}", why="no recording holds a signal")
                )
            return
        for name in ("expected", "read", "wrong", "invented"):
            total = sum(getattr(one, name) for one in outcomes)
            bounds = _bounds(total, expected) if name in {"read", "wrong"} else None
            self.figures[f"signals_{name}"] = Figure(
                value=total,
                unit="signals",
                n=expected,
                low=None if bounds is None else round(bounds.low * expected, 2),
                high=None if bounds is None else round(bounds.high * expected, 2),
                unit_note=f"in {len(outcomes)} recordings",
            )

    def _cost(self, source: str, several: Sequence[tuple[float, float | None]]) -> None:
        """Put what reading from one source costs."""
        loop = [1e6 * one for one, _ in several]
        fetch = [1e6 * one for _, one in several if one is not None]
        self.rows.append(
            {
                "source": source,
                "poll_us": round(statistics.median(loop), 2),
                "poll_us_max": round(max(loop), 2),
                "fetch_us": round(statistics.median(fetch), 1) if fetch else None,
                "recordings": len(several),
            }
        )

    def _kept(self, kept: telemetry_period.Kept, *, figure: bool) -> None:
        """Put how the period was kept."""
        ranked = [1e3 * one for one in kept.periods_s]
        wanted = 1e3 * kept.wanted_s
        if not ranked:
            self.missing.append(Missing(figure="period_p99_ms", why="the probe did not poll"))
            return
        p99 = quantile(ranked, _P99) or 0.0
        off = [abs(one - wanted) for one in ranked]
        self.rows.append(
            {
                "source": "probe",
                "recording": f"this machine, {kept.busy} busy programs beside",
                "n": len(ranked),
                "period_ms": round(statistics.fmean(ranked), 3),
                "period_p50_ms": round(statistics.median(ranked), 3),
                "period_p99_ms": round(p99, 3),
                "period_max_ms": round(max(ranked), 3),
                "jitter_p50_ms": round(quantile(off, 0.5) or 0.0, 3),
                "jitter_p99_ms": round(quantile(off, _P99) or 0.0, 3),
                "missed": kept.missed,
                "poll_us": round(1e6 * (kept.poll_cpu_s or 0.0), 1),
            }
        )
        if figure:
            self.figures["period_p99_ms"] = Figure(
                value=p99,
                unit="ms",
                n=len(ranked),
                low=min(ranked),
                high=max(ranked),
                unit_note=f"{wanted:.0f} ms asked for, {kept.busy} busy programs beside; "
                "low and high are min and max",
            )


def _compared(recording: Recording, place: Path) -> _Outcome:
    """Return both sides of one recording, signal by signal."""
    if recording.kind == "unknown":
        words = f"{recording.name}: not recognised as any kind of recording"
        return _Outcome(rows=(), unparsed=words)
    expected: dict[str, dict[str, Expected]] = {}
    problem = ""
    try:
        found = expected_of(recording, place)
        expected[recording.digest] = {one.signal: one for one in found}
    except _FAULTS as exc:
        problem = f"{recording.name}: the extractor cannot read it: {type(exc).__name__}: {exc}"
    wanted = expected.get(recording.digest, {})
    got = read(recording, place, counters=[one for one in wanted.values() if one.is_counter])
    rows = [_row(recording, one, got) for one in wanted.values()]
    extra = [name for name in got.signals if name not in wanted]
    rows += [_invented(recording, name, got) for name in extra]
    if wanted and not got.signals:
        problem = (
            problem or f"{recording.name}: nothing was read: {got.problem or 'no reason given'}"
        )
    return _Outcome(
        rows=tuple(rows),
        expected=len(wanted),
        read=sum(name in got.signals for name in wanted),
        wrong=sum(row["verdict"] == "wrong" for row in rows),
        invented=len(extra),
        unparsed=problem,
    )


def _row(recording: Recording, one: Expected, got: Read) -> Row:
    """Return one expected signal beside what was read."""
    value = got.signals.get(one.signal)
    moved = got.moved.get(one.signal)
    right = value is not None and _same(one, value, moved)
    verdict = "missed" if value is None else "right" if right else "wrong"
    return {
        "source": SOURCES.get(recording.kind, recording.kind),
        "recording": recording.name,
        "signal": one.signal,
        "expected": one.value,
        "read": value,
        "unit": one.unit,
        "verdict": verdict,
        "followed_j": moved,
    }


def _invented(recording: Recording, name: str, got: Read) -> Row:
    """Return one signal that nothing in the recording says."""
    return {
        "source": SOURCES.get(recording.kind, recording.kind),
        "recording": recording.name,
        "signal": name,
        "expected": None,
        "read": got.signals[name],
        "unit": unit_of(name),
        "verdict": "invented",
    }


def _same(
    one: Expected,
    value: float | bool | str,  # noqa: FBT001 - the value itself
    moved: float | None,
) -> bool:
    """Say whether a value is the one expected; a counter from 0 must have followed."""
    if isinstance(one.value, bool | str) or isinstance(value, bool | str):
        return one.value == value and type(one.value) is type(value)
    if moved is not None:
        return abs(moved - BUMP_J) <= _FOLLOWS_RELATIVE * BUMP_J
    return abs(value - one.value) <= _RELATIVE * max(1e-3, abs(one.value))


def _bounds(total: int, expected: int) -> Interval:
    """Return the share's interval."""
    return interval(total, expected)
