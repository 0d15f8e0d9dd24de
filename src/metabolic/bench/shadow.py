"""Shadow mode end to end: what it foretells, what the switch then saves, and what it adds.

Two halves of the questions, by a draw on their ids. On the one the gateway passes every request on
and looks behind the answers; then ``mode = "route"`` is set, as the report says, and the other
half is asked: routed, and of the upstream alone beside it, for what it would have taken. Costs are
the receipts' (prices by active parameters), and the engines' CPU seconds beside them.
"""

__all__ = ["Options", "run"]

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from msgspec import Struct

from metabolic.bench.client import drive, request
from metabolic.bench.processes import Child, free_port, pin, spread
from metabolic.bench.report import Figure, Missing, Report, Row, progress, report
from metabolic.bench.shadow_phases import Asked, Phases, ask_all, fakes, gateway, rows_of, settle
from metabolic.bench.shadow_real import PRICE_RATIO, engines
from metabolic.core.errors import MetabolicError
from metabolic.decide.shadow_totals import Findings, Totals

_DRAWS = 2000
_MAX_LOSS_RATIO = 0.05
_BODY = (
    b'{"model":"mock","messages":[{"role":"user","content":"Is 17 prime? Yes or no."}],'
    b'"max_tokens":8}'
)


class Options(Struct, frozen=True, kw_only=True):
    """At most ``questions`` are asked in each phase; ``preference`` is the dial after it."""

    questions: int = 69
    preference: float = 0.5
    price_ratio: float = PRICE_RATIO
    seed: int = 0
    quick: bool = False


def run(options: Options) -> Report:
    """Measure, and say what it was."""
    began_s = time.monotonic()
    figures: dict[str, Figure] = {}
    missing: list[Missing] = []
    rows: list[Row] = []
    notes = ["thresholds and dial are fixed before: nothing is chosen on what is reported"]
    with tempfile.TemporaryDirectory(prefix="metabolic-shadow-") as name:
        folder = Path(name)
        figures |= _added(folder, windows=3 if options.quick else 15)
        made = fakes if options.quick else partial(engines, price_ratio=options.price_ratio)
        try:
            with made(folder, options.questions, options.seed) as phases:
                _end_to_end(phases, folder, options, figures, rows, notes)
        except MetabolicError as error:
            wanted = ("estimate", "measured_after", "inside")
            missing += [Missing(figure=one, why=str(error)) for one in wanted]
    return report(
        "shadow",
        seed=options.seed,
        seconds=time.monotonic() - began_s,
        quick=options.quick,
        notes=notes,
        figures=figures,
        rows=rows,
        missing=missing,
    )


def _end_to_end(
    phases: Phases,
    folder: Path,
    options: Options,
    figures: dict[str, Figure],
    rows: list[Row],
    notes: list[str],
) -> None:
    """Shadow on one half, switch, and measure on the other."""
    before, after = phases.halves
    with gateway(folder, phases, mode="observe", preference=options.preference) as port:
        progress(f"shadow: {len(before)} questions are passed on")
        passed = ask_all(port, before, phases, model=phases.model)
        settle(folder, len(before), phases)
    found = _findings(folder)
    with gateway(folder, phases, mode="route", preference=options.preference) as port:
        progress(f"after the switch: {len(after)} other questions are routed")
        cpu_s = phases.cpu_s()
        routed = ask_all(port, after, phases, model=phases.model)
        routed_cpu_s = phases.cpu_s() - cpu_s
    progress("the same questions, of the upstream alone")
    cpu_s = phases.cpu_s()
    alone = ask_all(phases.upstream_port, after, phases, model=phases.upstream_model)
    alone_cpu_s = phases.cpu_s() - cpu_s
    _figures(found, alone, routed, figures)
    if alone_cpu_s > 0:
        figures["measured_after_cpu"] = Figure(
            value=1 - routed_cpu_s / alone_cpu_s,
            unit="ratio",
            n=len(routed),
            unit_note="CPU seconds of both engines, routed against the upstream alone",
        )
    for phase, some in (("passed on", passed), ("routed", routed), ("upstream alone", alone)):
        rows.append(_row(phase, some))
    notes.append(f"the report said: {found.verdict}: {found.why}")
    notes.append(f"upstream {phases.upstream_model}, cheaper tier {phases.small_model}")


def _findings(folder: Path) -> Findings:
    """Return what the shadow found."""
    totals = Totals()
    for row in rows_of(folder):
        totals.add(row)
    return totals.findings(max_loss_ratio=_MAX_LOSS_RATIO)


def _figures(
    found: Findings, alone: Sequence[Asked], routed: Sequence[Asked], figures: dict[str, Figure]
) -> None:
    """Put what was foretold beside what came true."""
    saving = found.saving_usd
    value, low, high = _saved(alone, routed)
    figures["measured_after"] = Figure(
        value=value, unit="ratio", n=len(routed), low=low, high=high, unit_note="bootstrap, 95 %"
    )
    figures["accuracy_before"] = _share([one.right for one in alone])
    figures["accuracy_after"] = _share([one.right for one in routed])
    figures["served_small_ratio"] = _share([one.small for one in routed])
    figures["spent_ratio"] = Figure(
        value=found.spent_usd / max(sum(one.usd for one in alone), 1e-12),
        unit="ratio",
        n=found.rows,
    )
    if saving is None:
        return
    figures["estimate"] = Figure(
        value=saving.value,
        unit="ratio",
        n=saving.sessions,
        low=saving.low,
        high=saving.high,
        unit_note="a confidence sequence, 95 % at all times together",
    )
    if saving.low is not None and saving.high is not None:
        slack = 1e-9
        inside = saving.low - slack <= value <= saving.high + slack
        figures["low"] = Figure(value=saving.low, unit="ratio", n=saving.sessions)
        figures["high"] = Figure(value=saving.high, unit="ratio", n=saving.sessions)
        figures["inside"] = Figure(value=float(inside), unit="bool", n=1)
    if found.loss is not None:
        loss = found.loss
        figures["loss_estimate"] = Figure(
            value=loss.value, unit="ratio", n=loss.sessions, low=loss.low, high=loss.high
        )
    figures["unjudged_ratio"] = Figure(value=found.unjudged_ratio, unit="ratio", n=found.rows)


def _saved(alone: Sequence[Asked], routed: Sequence[Asked]) -> tuple[float, float, float]:
    """Return the share saved, paired by question, with a bootstrap interval."""
    pairs = list(zip([one.usd for one in alone], [one.usd for one in routed], strict=True))
    lot = random.Random(0)
    drawn: list[float] = []
    for _ in range(_DRAWS):
        some = lot.choices(pairs, k=len(pairs))
        drawn.append(1 - sum(b for _, b in some) / max(sum(a for a, _ in some), 1e-12))
    drawn.sort()
    whole = sum(a for a, _ in pairs)
    value = 1 - sum(b for _, b in pairs) / max(whole, 1e-12)
    return value, drawn[int(0.025 * _DRAWS)], drawn[int(0.975 * _DRAWS)]


def _share(flags: Sequence[bool]) -> Figure:
    """Return a share as a figure."""
    return Figure(value=statistics.fmean(flags) if flags else 0.0, unit="ratio", n=len(flags))


def _row(phase: str, some: Sequence[Asked]) -> Row:
    """Return one phase as a line."""
    return {
        "phase": phase,
        "n": len(some),
        "usd": sum(one.usd for one in some),
        "small_share": statistics.fmean(one.small for one in some) if some else None,
        "accuracy": statistics.fmean(one.right for one in some) if some else None,
        "p50_s": statistics.median(one.seconds for one in some) if some else None,
    }


def _added(folder: Path, *, windows: int) -> dict[str, Figure]:
    """Return what passing on adds to a request: median latencies, in turn with the direct way."""
    mine, other = spread()
    pin(0, other)
    port, log = free_port(), folder / "added.log"
    with Child("metabolic.bench.mock", core=other, log=folder / "mock.log") as mock:
        upstream = int(mock.line())
        path = folder / "added.toml"
        path.write_text(_ADDED.format(port=port, upstream=upstream, folder=folder))
        arguments = ("metabolic", "serve", "--config", str(path))
        with Child(*arguments, core=mine, log=log) as child:
            added, cpu_us = asyncio.run(_pairs(child, port, upstream, windows=windows))
    return {
        "cpu_us_per_request": Figure(
            value=statistics.median(cpu_us),
            unit="us",
            n=windows,
            low=min(cpu_us),
            high=max(cpu_us),
            unit_note="the whole gateway process, looking at 5 % of requests",
        ),
        "added_p50_ms": Figure(
            value=statistics.median(added),
            unit="ms",
            n=windows,
            low=min(added),
            high=max(added),
            unit_note="low and high are the smallest and largest window",
        ),
    }


_ADDED = """
[server]
port = {port}
log_level = "error"
[models]
fleet = "none"
[sense]
enabled = false
[ledger]
kind = "jsonl"
path = "{folder}/added.jsonl"
[shadow]
upstream = "mock"
sample_ratio = 0.05
max_usd_per_day = 1000.0
[[deployment]]
name = "mock"
base_url = "http://127.0.0.1:{upstream}/v1"
tier = "large"
input_usd_per_million_tokens = 1.0
output_usd_per_million_tokens = 4.0
[[deployment]]
name = "small"
base_url = "http://127.0.0.1:{upstream}/v1"
tier = "tiny"
input_usd_per_million_tokens = 0.1
output_usd_per_million_tokens = 0.4
"""


async def _pairs(
    child: Child, port: int, upstream: int, *, windows: int
) -> tuple[list[float], list[float]]:
    """Return differences of median latencies, and CPU microseconds a request, by window."""
    from metabolic.bench.shadow_phases import up  # noqa: PLC0415 - beside its only use

    await asyncio.to_thread(up, child, port)
    raw, found, cpu_us = request(_BODY), list[float](), list[float]()
    for window in range(windows + 1):
        before_s = child.cpu_s()
        through = await drive(port, raw, concurrency=1, seconds=0.5)
        took_s = child.cpu_s() - before_s
        direct = await drive(upstream, raw, concurrency=1, seconds=0.5)
        if window:
            found.append(1e3 * (through.quantile_s(0.5) - direct.quantile_s(0.5)))
            cpu_us.append(1e6 * took_s / max(1, through.requests))
    return found, cpu_us
