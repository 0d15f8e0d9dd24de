"""An audit as tables for the terminal."""

__all__ = ["print_audit"]

from metabolic.audit.result import Audit
from metabolic.audit.words import WORDS, amount, lane_row, said
from metabolic.cli import show


def print_audit(found: Audit) -> None:
    """Print an audit for people."""
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
        show.console().print(show.table("Policies on this log", heads, rows))
    if found.lanes:
        _print_lanes(found)


def _print_lanes(found: Audit) -> None:
    """Print the evidence, the lanes with most to save first."""
    lanes = (lane_row(one) for one in found.lanes[:20])
    heads = (
        "lane",
        "model",
        ">calls",
        ">labels",
        ">lost",
        f"≤ {found.epsilon:.0%}?",
        ">needed",
        ">as good, foreseen",
    )
    show.console().print(show.table("Evidence", heads, lanes))


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
