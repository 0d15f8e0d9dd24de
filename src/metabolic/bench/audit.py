"""Does the audit's interval hold the truth, how wide is it, and how fast are logs read?

Logs are drawn from pools where every outcome is known; the audit sees the log and the labels of a
sample, never the rest. The truth is that of the pool: what traffic like this would save. Interval
and truth are both net of the prompt cache.
"""

__all__ = ["Options", "run"]

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from msgspec import Struct

from metabolic.audit.prices import read_prices
from metabolic.audit.result import Audit
from metabolic.audit.run import Options as AuditOptions
from metabolic.audit.run import run as audited
from metabolic.audit.verdict import MIN_GAIN
from metabolic.bench.audit_pools import Pool, pools
from metabolic.bench.audit_truth import Drawn, draw, price_file, true_saving
from metabolic.bench.report import Figure, Missing, Report, Row, interval, progress, report
from metabolic.core.signals import Signals

_EPSILONS = (0.01, 0.02, 0.05)
_SESSIONS = (200, 600, 1500)
_LABELLED = (0.1, 0.3, 1.0)
_UNLABELLED_EVERY = 6
_QUICK_LOGS = 12
_NOTE = (
    "coverage is of logs with labels; without any the interval runs from none to all and holds "
    "nearly any truth"
)
_ROWS, _QUICK_ROWS = 5_000_000, 50_000


class Options(Struct, frozen=True, kw_only=True):
    """``data``: a folder with traces and outcomes; ``rows``: of the log that is read for speed."""

    data: Path | None = None
    logs: int = 150
    rows: int = _ROWS
    seed: int = 0
    quick: bool = False


def run(options: Options) -> Report:
    """Return coverage and width over all logs, and rows per second and memory of a long one."""
    began = time.perf_counter()
    found, notes = pools(options.data, seed=options.seed)
    count = _QUICK_LOGS if options.quick else max(options.logs, 1)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="metabolic-bench-") as folder:
        for number in range(count):
            progress(f"log {number + 1} of {count}")
            rows.append(_one(found, number, Path(folder), options.seed))
        length = min(options.rows, _QUICK_ROWS) if options.quick else options.rows
        progress(f"reading {length:,} rows")
        figures = _summary(rows) | _speed(Path(folder), length)
    unlabelled = any(not row["labelled"] for row in rows)
    return report(
        "audit",
        seed=options.seed,
        seconds=time.perf_counter() - began,
        quick=options.quick,
        notes=[*notes, _NOTE],
        figures=figures,
        rows=rows,
        missing=[]
        if unlabelled
        else [Missing(figure="coverage_unlabelled_ratio", why="too few logs were drawn")],
    )


def _one(found: tuple[Pool, ...], number: int, folder: Path, seed: int) -> Row:
    """Draw one log, audit it, and compare."""
    pool = found[number % len(found)]
    turn = number // len(found)
    epsilon = _EPSILONS[turn % len(_EPSILONS)]
    labelled = _LABELLED[(turn // len(_EPSILONS)) % len(_LABELLED)]
    if (number + turn) % _UNLABELLED_EVERY == _UNLABELLED_EVERY - 1:
        labelled = 0.0
    sessions = _SESSIONS[(number + turn) % len(_SESSIONS)]
    log, prices = folder / "log.jsonl", folder / "prices.toml"
    rows = draw(pool, Drawn(sessions=sessions, labelled=labelled, seed=seed + 1 + number), log)
    price_file(pool, prices)
    names = tuple(one.entry.model for one in pool.others)
    asked = AuditOptions(
        paths=(log,), candidates=names, epsilon=epsilon, seed=number, threads=1, memory_mb=256
    )
    made = audited(asked, prices=read_prices(prices), classify=_no_text)
    return _row(pool, made, epsilon=epsilon, labelled=labelled, rows=rows)


def _row(pool: Pool, made: Audit, *, epsilon: float, labelled: float, rows: int) -> Row:
    truth = true_saving(pool, epsilon=epsilon)
    figure = next(one for one in made.figures if one.name == "net_saving_ratio")
    low, high = figure.low or 0.0, figure.high or 0.0
    return {
        "log": pool.name,
        "epsilon": epsilon,
        "labelled": labelled,
        "rows": rows,
        "truth": truth,
        "low": low,
        "value": figure.value,
        "high": high,
        "covered": low <= truth <= high,
        "verdict": made.verdict.word,
    }


def _no_text(_: str) -> Signals:
    return Signals()


def _summary(rows: list[Row]) -> dict[str, Figure]:
    """Return coverage, width and what was decided, over logs with labels."""
    labelled = [row for row in rows if row["labelled"]]
    others = [row for row in rows if not row["labelled"]]
    made = {"coverage_ratio": _coverage(labelled)}
    widths = [float(row["high"] or 0) - float(row["low"] or 0) for row in labelled]
    made["width_median_ratio"] = Figure(
        value=float(np.median(widths)),
        unit="of USD",
        n=len(widths),
        low=float(np.quantile(widths, 0.05)),
        high=float(np.quantile(widths, 0.95)),
        unit_note="5 and 95 % quantiles of the logs",
    )
    decided = [row for row in labelled if row["verdict"] in {"switch", "do not switch"}]
    wrong = sum(
        (row["verdict"] == "switch") != (float(row["truth"] or 0) >= MIN_GAIN) for row in decided
    )
    made["decided_ratio"] = _share(len(decided), len(labelled))
    if decided:
        made["decided_wrong_ratio"] = _share(wrong, len(decided))
    points = [abs(float(row["value"] or 0) - float(row["truth"] or 0)) for row in labelled]
    made["value_error_median"] = Figure(
        value=float(np.median(points)), unit="of USD", n=len(points), low=min(points),
        high=max(points), unit_note="least and most",
    )  # fmt: skip
    if others:
        made["coverage_unlabelled_ratio"] = _coverage(others)
    return made


def _coverage(rows: list[Row]) -> Figure:
    return _share(sum(bool(row["covered"]) for row in rows), len(rows))


def _share(hits: int, n: int) -> Figure:
    found = interval(hits, n)
    return Figure(value=found.value, unit="ratio", n=n, low=found.low, high=found.high)


def _speed(folder: Path, rows: int) -> dict[str, Figure]:
    """Write a log of so many rows, read it in a process of its own, and see what that took."""
    import duckdb  # noqa: PLC0415 - the extra `audit`

    path = folder / "long.jsonl"
    with duckdb.connect() as connection:
        connection.execute(f"""COPY (SELECT 1.7e9 + i AS at_s, 's' || (i // 5) AS session,
            CASE WHEN i % 3 = 0 THEN 'gpt-4o' ELSE 'gpt-4o-mini' END AS model,
            hash(i) % 8000 + 50 AS input_tokens, (hash(i) % 8000) // 2 AS cached_tokens,
            hash(i + 1) % 700 AS output_tokens, hash(i % 1000000)::VARCHAR AS prompt_hash,
            ['open_qa', 'extraction', 'rewrite'][i % 3 + 1] AS lane
            FROM range({rows}) t(i)) TO '{path}' (FORMAT json)""")  # noqa: S608 - our own path
    began = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-m", "metabolic", "audit", str(path), "--json"],
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    wall_s, cpu_s = time.perf_counter() - began, usage.ru_utime + usage.ru_stime
    if child.returncode != 0:
        message = f"the audit of a long log ended with {child.returncode}"
        raise RuntimeError(message)
    megabytes = usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024 * 1024)
    note = f"{rows:,} rows, {path.stat().st_size / 1e6:.0f} MB of JSON lines, the whole audit"
    return {
        "rows_per_s": Figure(value=rows / cpu_s, unit="rows/CPU s", n=rows, unit_note=note),
        "rows_per_wall_s": Figure(value=rows / wall_s, unit="rows/s", n=rows, unit_note=note),
        "peak_mb": Figure(value=megabytes, unit="MB", n=rows, unit_note="largest resident size"),
    }
