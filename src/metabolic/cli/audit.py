"""``metabolic audit``: what a log cost, and what a change would save."""

__all__ = ["audit"]

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter
from cyclopts.validators import Number

from metabolic import plugins
from metabolic.account.zones import WORLD_G_PER_KWH, intensity_of
from metabolic.audit.prices import read_prices
from metabolic.audit.result import Audit
from metabolic.audit.run import Options, run
from metabolic.audit.tasks import Classify
from metabolic.audit.words import WORDS, amount, said
from metabolic.cli import show
from metabolic.cli.ledgers import open_ledger
from metabolic.config import load
from metabolic.core.errors import ConfigError
from metabolic.core.receipt import Record
from metabolic.core.request import Message, Request, Text

Ratio = Annotated[float, Parameter(validator=Number(gte=0, lte=1))]


def audit(  # noqa: PLR0913 - each is an option of the command
    logs: Annotated[tuple[Path, ...], Parameter(negative="")],
    /,
    *,
    html: Path | None = None,
    prices: Path | None = None,
    candidate: tuple[str, ...] = (),
    epsilon: Ratio = 0.02,
    zone: str | None = None,
    running: Annotated[float, Parameter(validator=Number(gte=0))] = 0.0,
    memory: Annotated[int, Parameter(validator=Number(gte=64))] = 1024,
    threads: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    seed: int = 0,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Read logs of inference: what was spent and wasted, and what a change would save, net.

    Reads OpenAI request logs and usage exports, LiteLLM spend logs, OpenTelemetry GenAI spans,
    access logs of vLLM, nginx and Envoy, our own ledger, and neutral rows; JSON lines, JSON, CSV
    and Parquet, packed or not. Needs the extra `audit`. Nothing leaves the machine.

    Args:
        logs: Files, or folders of files.
        html: Write a report as one self-contained HTML file.
        prices: A table of prices that goes before the one that comes along (TOML).
        candidate: A model that might serve instead; may be repeated.
        epsilon: The loss of quality that is allowed in each lane.
        zone: The grid's zone, two letters (else the world's average).
        running: What running the change costs, in USD a month.
        memory: The reader's memory in MB; what does not fit goes to a temporary file.
        threads: Of the reader (else one a core, four at most).
        seed: Of the bootstrap.
        json: Print one JSON object instead of tables.
    """
    classify = _classifier()
    options = Options(
        paths=_files(logs),
        candidates=candidate,
        epsilon=epsilon,
        g_per_kwh=_intensity(zone),
        running_usd_per_month=running,
        memory_mb=memory,
        threads=threads or min(4, os.cpu_count() or 1),
        seed=seed,
    )
    progress = _progress if sys.stderr.isatty() else None
    found = run(
        options, prices=read_prices(prices), classify=classify, records=_records, progress=progress
    )
    if html is not None:
        _write(html, found)
    if json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    else:
        _print(found)


def _write(path: Path, found: Audit) -> None:
    """Write the report as HTML.

    Raises:
        ConfigError: it cannot be written.
    """
    from metabolic.audit.html import html_report  # noqa: PLC0415 - only when asked for

    try:
        path.write_text(html_report(found), encoding="utf-8")
    except OSError as exc:
        message = f"{path}: {exc.strerror or exc}"
        raise ConfigError(message) from exc


def _files(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Return all files, those of folders by name.

    Raises:
        ConfigError: there are none.
    """
    found: list[Path] = []
    for path in paths:
        inside = path.rglob("*") if path.is_dir() else (path,)
        found += sorted(one for one in inside if not one.is_dir() and not one.name.startswith("."))
    if not found:
        message = "no logs: name files or folders"
        raise ConfigError(message)
    return tuple(found)


def _intensity(zone: str | None) -> float:
    """Return grams per kWh. Raises ``ConfigError`` for a zone that is not known."""
    if zone is None:
        return WORLD_G_PER_KWH
    found = intensity_of(zone)
    if found is None:
        message = f'no grid "{zone}": write a country as two letters, such as DE'
        raise ConfigError(message)
    return found.g_per_kwh


def _classifier() -> Classify:
    """Return what reads prompts: the rules."""
    made = plugins.classifier("rules")

    def classify(text: str) -> object:
        message = Message(role="user", content=(Text(text=text),))
        return made.classify(Request(id="log", dialect="chat", model="log", messages=(message,)))

    return classify  # type: ignore[return-value]


def _records(path: Path) -> Iterable[Record]:
    """Iterate over a ledger's records."""
    opened = open_ledger(path, load(None))
    try:
        yield from opened.records()
    finally:
        opened.close()


def _progress(text: str) -> None:
    print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _print(found: Audit) -> None:
    """Print an audit for people."""
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    console = show.console()
    console.print(f"{found.verdict.word.upper()}: {found.verdict.sentence}", markup=False)
    for one in found.verdict.reasons:
        console.print(f"  {one}", markup=False)
    rows = (
        (WORDS.get(one.name, one.name), said(one), one.origin, one.note) for one in found.figures
    )
    console.print(show.table(f"Figures ({found.seconds:.1f} s)", ("", "value", "origin", ""), rows))
    _print_policies(found)
    _print_spending(found)
    for line in found.unknown:
        console.print(f"not known: {line}")
    sources = (
        (one.path, one.format, f"{one.rows:,}", f"{one.bad:,}", f"{one.other:,}")
        for one in found.sources
    )
    heads = ("file", "format", ">rows", ">bad", ">other lines")
    console.print(show.table("Read", heads, sources))
    if found.bad:
        bad = (
            (one.path, one.reason, f"{one.rows:,}", ", ".join(map(str, one.lines)))
            for one in found.bad
        )
        console.print(show.table("Not used", ("file", "why", ">rows", "first lines"), bad))


def _print_policies(found: Audit) -> None:
    """Print what would be saved, and the evidence."""
    console = show.console()
    if found.policies:
        rows = (
            (
                one.policy,
                amount(one.usd),
                f"{one.saving_low:.1%} to {one.saving_high:.1%}",
                "not known" if one.loss is None else f"{one.loss:.1%}",
                one.note,
            )
            for one in found.policies
        )
        heads = ("policy", ">USD", ">saved, net", ">quality lost", "")
        console.print(show.table("Policies on this log", heads, rows))
    if found.lanes:
        lanes = (
            (
                one.lane,
                one.model,
                f"{one.calls:,}",
                f"{one.labels:,}",
                "not known"
                if one.loss is None
                else f"{one.loss:.1%} ({one.loss_low:.1%} to {one.loss_high:.1%})",
                one.adequate,
                "–" if one.labels_needed is None else f"{one.labels_needed:,}",
            )
            for one in found.lanes[:20]
        )
        heads = (
            "lane",
            "model",
            ">calls",
            ">labels",
            ">lost",
            f"≤ {found.epsilon:.0%}?",
            ">needed",
        )
        console.print(show.table("Evidence", heads, lanes))


def _print_spending(found: Audit) -> None:
    """Print models, chains, tasks and waste."""
    console = show.console()
    models = (
        (one.model, f"{one.calls:,}", f"{one.input_tokens:,}", f"{one.cached_tokens:,}",
         f"{one.output_tokens:,}", amount(one.usd), one.price)
        for one in found.models
    )  # fmt: skip
    heads = ("model", ">calls", ">input", ">cached", ">output", ">USD", "price in / out per Mtok")
    console.print(show.table("Models", heads, models))
    chains = (
        (one.kind, f"{one.count:,}", f"{one.calls_p50:g}", f"{one.calls_p95:g}",
         amount(one.usd_mean), "–" if one.multiplier is None else f"{one.multiplier:.1f}x",
         one.paper)
        for one in found.chains
    )  # fmt: skip
    heads = ("chain", ">count", ">calls p50", ">p95", ">USD mean", ">times a call", "paper")
    console.print(show.table("Chains", heads, chains))
    tasks = (
        (one.task, f"{one.calls:,}", f"{one.share_ratio:.1%}", amount(one.usd))
        for one in found.tasks[:15]
    )
    console.print(show.table("Tasks", ("task", ">calls", ">share", ">USD"), tasks))
    wasted = (
        (one.kind, f"{one.calls:,}", f"{one.tokens:,}", amount(one.usd), one.note)
        for one in found.waste
    )
    console.print(show.table("Waste (may overlap)", ("", ">calls", ">tokens", ">USD", ""), wasted))
