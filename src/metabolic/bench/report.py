"""What a benchmark says: figures, rows, what is missing, and on which machine it was measured."""

__all__ = [
    "Figure",
    "Interval",
    "Missing",
    "Report",
    "Row",
    "commit",
    "interval",
    "machine",
    "progress",
    "quantile",
    "report",
    "show",
]

import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from math import ceil, sqrt
from pathlib import Path

import msgspec
from msgspec import Struct

from metabolic import __version__

Row = Mapping[str, float | int | str | bool | None]
"""One flat line of a table; ``None`` is unknown."""

_Z = 1.959963984540054
"""The 97.5 % quantile of the normal distribution: two-sided 95 %."""


class Figure(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One number: unit, sample size and a 95 % interval, or what ``unit_note`` says it is."""

    value: float
    unit: str
    n: int
    low: float | None = None
    high: float | None = None
    unit_note: str = ""


class Missing(Struct, frozen=True, kw_only=True):
    """A figure that could not be measured here, and why."""

    figure: str
    why: str


class Report(Struct, frozen=True, kw_only=True):
    """All a benchmark has to say. ``quick`` marks a smaller run; ``notes`` what to mind."""

    bench: str
    version: str
    commit: str | None
    machine: Mapping[str, float | int | str | None]
    seed: int
    seconds: float
    quick: bool = False
    notes: tuple[str, ...] = ()
    figures: Mapping[str, Figure] = {}
    rows: tuple[Row, ...] = ()
    missing: tuple[Missing, ...] = ()


class Interval(Struct, frozen=True, kw_only=True):
    """A share and its 95 % interval."""

    value: float
    low: float
    high: float


def report(  # noqa: PLR0913 - one keyword for each part of a report
    bench: str,
    *,
    seed: int,
    seconds: float,
    quick: bool = False,
    notes: Sequence[str] = (),
    figures: Mapping[str, Figure] | None = None,
    rows: Sequence[Row] = (),
    missing: Sequence[Missing] = (),
) -> Report:
    """Return a report with the machine, version and commit filled in."""
    return Report(
        bench=bench,
        version=__version__,
        commit=commit(),
        machine=machine(),
        seed=seed,
        seconds=seconds,
        quick=quick,
        notes=tuple(notes),
        figures=figures or {},
        rows=tuple(rows),
        missing=tuple(missing),
    )


def interval(successes: float, n: int) -> Interval:
    """Return the share of successes with its Wilson score interval at 95 %.

    ``successes`` may be fractional (an expectation). ``n`` must be positive.

    Source: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.

    >>> round(interval(9, 10).low, 3)
    0.596
    """
    share = successes / n
    scale = 1 + _Z * _Z / n
    middle = (share + _Z * _Z / (2 * n)) / scale
    half = _Z / scale * sqrt(share * (1 - share) / n + _Z * _Z / (4 * n * n))
    return Interval(
        value=share,
        low=min(share, max(0.0, middle - half)),
        high=max(share, min(1.0, middle + half)),
    )


def quantile(values: Sequence[float], share: float) -> float | None:
    """Return the smallest value that at least ``share`` of the values do not exceed.

    ``None`` without values.
    """
    if not values:
        return None
    ranked = sorted(values)
    return ranked[max(0, ceil(share * len(ranked)) - 1)]


def machine() -> dict[str, float | int | str | None]:
    """Return what the figures depend on: processor, cores, memory, systems and versions."""
    import psutil  # noqa: PLC0415 - only a finished benchmark needs it

    return {
        "system": platform.platform(terse=True),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "load_1m": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
    }


def _processor() -> str:
    """Return the processor's name as the kernel says it, else as Python does."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        return platform.processor() or platform.machine()
    return platform.processor() or platform.machine()


def commit() -> str | None:
    """Return the commit of the source tree this runs from; ``None`` outside one."""
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607 - the user's own git
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
            timeout=5,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def progress(line: str) -> None:
    """Tell a person how far it is: one line on standard error."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def show(made: Report, *, as_json: bool) -> None:
    """Print a report on standard output: one JSON object, or tables for people."""
    if as_json:
        sys.stdout.write(msgspec.json.encode(made).decode() + "\n")
        return
    from rich.console import Console  # noqa: PLC0415 - `--json` never needs it

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    short = " (quick: a smaller run)" if made.quick else ""
    where = made.machine.get("processor")
    console.print(f"{made.bench}{short}: {made.seconds:.1f} s, seed {made.seed}, {where}")
    if made.figures:
        console.print(_table("figures", [_figure_row(*item) for item in made.figures.items()]))
    if made.rows:
        console.print(_table("rows", made.rows))
    for one in made.missing:
        console.print(f"missing: {one.figure}: {one.why}")
    for note in made.notes:
        console.print(f"note: {note}")


def _figure_row(name: str, figure: Figure) -> Row:
    """Return one figure as a line of a table."""
    return {
        "figure": name,
        "value": figure.value,
        "unit": figure.unit,
        "n": figure.n,
        "low": figure.low,
        "high": figure.high,
        "note": figure.unit_note,
    }


def _table(title: str, rows: Sequence[Row]) -> object:
    """Return rows as a rich table, with a column for every name that occurs."""
    from rich import box  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    columns = list(dict.fromkeys(name for row in rows for name in row))
    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for column in columns:
        is_text = any(isinstance(row.get(column), str) for row in rows)
        made.add_column(column, justify="left" if is_text else "right", overflow="fold")
    for row in rows:
        made.add_row(*(Text(_cell(row.get(column))) for column in columns))
    return made


def _cell(value: object) -> str:
    """Return a value for people; unknown is a dash."""
    if value is None or value == "":
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
