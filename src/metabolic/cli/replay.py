"""``metabolic replay``: fold stored records again and compare."""

__all__ = ["replay"]

import sys
import time
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from metabolic.cli import show
from metabolic.cli.ledgers import moment, open_ledger
from metabolic.config import load
from metabolic.replay.verify import ReplayReport, verify


def replay(
    *,
    ledger: Path | None = None,
    since: str | None = None,
    until: str | None = None,
    config: Annotated[Path | None, Parameter(env_var="METABOLIC_CONFIG")] = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Fold stored records again: same decision, same effects, same bill?

    Args:
        ledger: The ledger's file, ``.jsonl`` or SQLite (else the configured one).
        since: Only records from then on: ``2h``, ``7d``, ``2026-11-22``, epoch seconds.
        until: Only records before then.
        config: The configuration file.
        json: Print JSON instead of tables.

    Returns:
        0 when every record that could be checked is equal, 1 when one differs.
    """
    now_s = time.time()
    opened = open_ledger(ledger, load(config))
    try:
        report = verify(
            opened,
            since_s=moment(since, now_s=now_s),
            until_s=moment(until, now_s=now_s),
            progress=_progress if sys.stderr.isatty() else None,
        )
    finally:
        opened.close()
    if json:
        plain = msgspec.to_builtins(report)
        show.print_json(plain | {"records_per_s": round(report.records_per_s, 1)})
    else:
        _print(report)
    return 1 if report.differing else 0


def _progress(records: int) -> None:
    print(f"\r{records:,} records", end="", file=sys.stderr, flush=True)


def _print(report: ReplayReport) -> None:
    """Print a report for people."""
    if sys.stderr.isatty():
        print("\r", end="", file=sys.stderr)
    console = show.console()
    rows = (
        ("checked", f"{report.checked:,}", f"decision version {report.decision_version}"),
        ("equal", f"{report.equal:,}", "same decision, effects, attempts and receipt"),
        ("differing", f"{report.differing:,}", ""),
        ("unverifiable", f"{report.unverifiable:,}", "retention has removed an input"),
        ("other version", f"{report.other_version:,}", "written by another decision version"),
        ("unreadable", f"{report.unreadable:,}", "could not be decoded"),
    )
    speed = f"{report.seconds:.2f} s, {report.records_per_s:,.0f} records/s"
    console.print(show.table(f"Replay ({speed})", ("", ">records", ""), rows))
    if report.differences:
        found = ((one.id, one.part + one.path, one.stored, one.found) for one in report.differences)
        heads = ("record", "field", "stored", "found again")
        console.print(show.table("First differences", heads, found))
