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
from metabolic.config import Config, load
from metabolic.replay.policies import evaluate, labels_in
from metabolic.replay.verify import ReplayReport, verify
from metabolic.replay.what_if import WhatIf
from metabolic.wiring.lane_files import LaneFiles


def replay(  # noqa: PLR0913 - each is an option of the command
    *,
    ledger: Path | None = None,
    since: str | None = None,
    until: str | None = None,
    what_if: str | None = None,
    labels: Path | None = None,
    config: Annotated[Path | None, Parameter(env_var="METABOLIC_CONFIG")] = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Fold stored records again: same decision, same effects, same bill?

    Args:
        ledger: The ledger's file, ``.jsonl`` or SQLite (else the configured one).
        since: Only records from then on: ``2h``, ``7d``, ``2026-11-22``, epoch seconds.
        until: Only records before then.
        what_if: Instead, what another policy would have done: `best`, `cheapest`, `net_cost`,
            `no-lanes`, `always:DEPLOYMENT`, `preference:0.8` or a configuration `FILE.toml`.
        labels: A file of labels for `--what-if` (else the feedback beside the ledger).
        config: The configuration file.
        json: Print JSON instead of tables.

    Returns:
        0 when every record that could be checked is equal, 1 when one differs; with --what-if 1
        when nothing could be evaluated.
    """
    now_s = time.time()
    read = load(config)
    opened = open_ledger(ledger, read)
    try:
        if what_if is not None:
            found = evaluate(
                opened,
                what_if,
                labels_in(labels or _labels_beside(ledger, read)),
                since_s=moment(since, now_s=now_s),
                until_s=moment(until, now_s=now_s),
            )
            _tell(found, as_json=json)
            return 0 if any(one.why is None for one in found.measures) else 1
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


def _labels_beside(ledger: Path | None, read: Config) -> Path | None:
    """Return the file of feedback of a ledger."""
    return LaneFiles(read).labels if ledger is None else ledger.with_suffix(".labels.jsonl")


def _tell(found: WhatIf, *, as_json: bool) -> None:
    """Print what a policy would have done."""
    if as_json:
        show.print_json(msgspec.to_builtins(found))
        return
    rows = tuple(
        (
            one.name,
            _span(one.logged),
            _span(one.ips, one.ips_low, one.ips_high),
            _span(one.dr, one.dr_low, one.dr_high),
            _span(one.difference, one.difference_low, one.difference_high),
            f"{one.effective_n:,.0f} of {one.n:,}",
            one.why or "",
        )
        for one in found.measures
    )
    title = (
        f"{found.policy}: {found.records:,} requests, {found.same_ratio:.0%} decided the same,"
        f" {found.explored_ratio:.0%} with an exploration's propensities"
    )
    heads = ("", ">logged", ">IPS", ">DR", ">difference", ">effective", "cannot be said, because")
    show.console().print(show.table(title, heads, rows))


def _span(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """Return a figure with its bounds; a dash where there is none."""
    if value is None:
        return "–"
    return f"{value:.4g}" if low is None or high is None else f"{value:.4g} [{low:.4g}, {high:.4g}]"


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
