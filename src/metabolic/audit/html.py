"""The report for the person who pays: one HTML file that fetches nothing and runs nothing."""

__all__ = ["html_report"]

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape

from metabolic.audit.result import Audit, Figure
from metabolic.audit.svg import bars, columns, intervals
from metabolic.audit.words import WORDS, amount, lane_row, said

_STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#566070;--line:#d5dae1;--paper:#fff;
--accent:#2563a8;--range:#9dbfe3;--good:#1b6e3c;--stop:#9a2c1f;--wait:#7a5200}
@media(prefers-color-scheme:dark){:root{--ink:#e8ecf2;--soft:#a7b1c0;--line:#3a4452;
--paper:#141a22;--accent:#7db4f0;--range:#35608f;--good:#7fd39c;--stop:#f2998d;--wait:#e8c070}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);margin:0 auto;
max-width:60rem;padding:2rem 1.25rem}
h1{font-size:1.6rem;margin:0 0 .25rem}h2{font-size:1.15rem;margin:2.25rem 0 .5rem}
p{margin:.5rem 0}.soft{color:var(--soft)}.verdict{border-left:6px solid var(--wait);
padding:.5rem 1rem;margin:1.5rem 0;background:color-mix(in srgb,var(--line) 30%,transparent)}
.verdict strong{font-size:1.3rem;text-transform:uppercase;letter-spacing:.03em}
.switch{border-color:var(--good)}.stop{border-color:var(--stop)}
.cards{display:flex;flex-wrap:wrap;gap:1rem;margin:1rem 0}.card{flex:1 1 11rem;
border:1px solid var(--line);border-radius:6px;padding:.75rem 1rem}
.card b{display:block;font-size:1.35rem;font-variant-numeric:tabular-nums}
.card small{display:block;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.92rem}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
th{color:var(--soft);font-weight:600}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
svg{width:100%;height:auto;margin:.5rem 0}svg text{font:13px system-ui,sans-serif;fill:var(--ink)}
.bar,.dot{fill:var(--accent)}.range{fill:var(--range)}.axis{stroke:var(--soft)}
@media print{body{padding:0}h2{break-after:avoid}}
"""

_CARDS = ("spent_usd", "usd_per_call", "net_saving_ratio", "energy_j", "carbon_g")


def html_report(audit: Audit) -> str:
    """Return the whole page."""
    parts = [
        *_head(audit),
        *_verdict(audit),
        *_saving(audit),
        *_spending(audit),
        *_work(audit),
        *_details(audit),
    ]
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">"
        f"<title>Metabolic audit</title><style>{_STYLE}</style></head>\n"
        f"<body><main>\n{body}\n</main></body></html>\n"
    )


def _head(audit: Audit) -> Iterable[str]:
    """Yield the title and what was read."""
    made = datetime.fromtimestamp(audit.made_s, tz=UTC).strftime("%Y-%m-%d")
    yield "<h1>What inference costs, and what a change would save</h1>"
    period = ""
    if audit.from_s is not None and audit.to_s is not None:
        ends = [datetime.fromtimestamp(at, tz=UTC) for at in (audit.from_s, audit.to_s)]
        period = f", {ends[0]:%Y-%m-%d} to {ends[1]:%Y-%m-%d}"
    yield (
        f'<p class="soft">{audit.calls:,} calls in {len(audit.sources)} file(s){period}. '
        f"Made {made} by metabolic {escape(audit.version)}; prices as of "
        f"{escape(audit.prices_as_of)}.</p>"
    )


def _verdict(audit: Audit) -> Iterable[str]:
    """Yield the answer first, then the figures that carry it."""
    found = audit.verdict
    kind = {"switch": "switch", "do not switch": "stop"}.get(found.word, "")
    yield f'<div class="verdict {kind}"><strong>{escape(found.word)}</strong>'
    yield f"<p>{escape(found.sentence)}</p>"
    yield from (f'<p class="soft">{escape(one)}</p>' for one in found.reasons)
    yield "</div>"
    by_name = {one.name: one for one in audit.figures}
    yield '<div class="cards">'
    for name in _CARDS:
        if name in by_name:
            yield _card(by_name[name])
    yield "</div>"


def _card(one: Figure) -> str:
    """Return one figure, large, with its interval below it."""
    shown, _, spread = said(one).partition(" (")
    spread = spread.removesuffix(")")
    return (
        f'<div class="card"><span class="soft">{escape(WORDS.get(one.name, one.name))}</span>'
        f"<b>{escape(shown)}</b>{f'<small>{escape(spread)}</small>' if spread else ''}"
        f'<span class="soft">{one.origin}{": " + escape(one.note) if one.note else ""}</span></div>'
    )


def _saving(audit: Audit) -> Iterable[str]:
    """Yield the policies and the evidence they stand on."""
    if not audit.policies:
        return
    yield "<h2>What would be saved</h2>"
    yield (
        "<p>Share of the dollars that would not be spent, net of the prompt cache. The bar is what "
        "can be said with 95 % confidence, the dot the likely value; no dot: nothing was "
        "labelled.</p>"
    )
    rows = [
        (
            one.policy,
            one.saving_ratio,
            one.saving_low,
            one.saving_high,
            f"{one.saving_low:.0%} to {one.saving_high:.0%}",
        )
        for one in audit.policies[1:]
    ]
    if rows:
        yield intervals(rows, title="Saving by policy, share of dollars")
    yield _policies(audit)
    if audit.lanes:
        yield "<h2>The evidence, lane by lane</h2>"
        yield _lanes(audit)


def _policies(audit: Audit) -> str:
    """Return the table of policies."""
    return _table(
        ("policy", ">USD", ">saved", ">quality lost", ">MJ", ">kg CO2e", ""),
        [
            (
                one.policy,
                amount(one.usd),
                f"{one.saving_low:.0%} to {one.saving_high:.0%}",
                "not known" if one.loss is None else f"{one.loss:.1%}",
                _range(one.joules_low, one.joules_high, 1e6),
                _range(one.carbon_low_g, one.carbon_high_g, 1e3),
                one.note,
            )
            for one in audit.policies
        ],
    )


def _lanes(audit: Audit) -> str:
    """Return the table of what is known of each lane with each model."""
    return _table(
        (
            "lane",
            "model",
            ">calls",
            ">labels",
            ">quality lost",
            ">at most ε?",
            ">labels to tell",
            ">as good, foreseen",
        ),
        [lane_row(one) for one in audit.lanes],
    )


def _spending(audit: Audit) -> Iterable[str]:
    """Yield the dollars by model, task and chain."""
    priced = [one for one in audit.models if one.usd]
    if priced:
        yield "<h2>Where the dollars go</h2>"
        yield bars(
            [(one.model, one.usd or 0.0, f"{amount(one.usd)} USD") for one in priced[:12]],
            title="USD by model",
        )
    yield _models(audit)
    if audit.chains:
        yield "<h2>What one call, session and task costs</h2>"
        yield _chains(audit)


def _models(audit: Audit) -> str:
    """Return the table of models."""
    return _table(
        ("model", ">calls", ">failed", ">input", ">cached", ">output", ">USD", "price in / out"),
        [
            (
                one.model,
                f"{one.calls:,}",
                f"{one.failed:,}",
                f"{one.input_tokens:,}",
                f"{one.cached_tokens:,}",
                f"{one.output_tokens:,}",
                amount(one.usd),
                one.price,
            )
            for one in audit.models
        ],
    )


def _chains(audit: Audit) -> str:
    """Return the table of calls, sessions and tasks."""
    return _table(
        (
            "kind",
            ">how many",
            ">calls, median",
            ">calls, 95 %",
            ">USD, mean",
            ">times a call",
            "paper",
        ),
        [
            (
                one.kind,
                f"{one.count:,}",
                f"{one.calls_p50:g}",
                f"{one.calls_p95:g}",
                amount(one.usd_mean),
                "–" if one.multiplier is None else f"{one.multiplier:.1f}x",
                one.paper,
            )
            for one in audit.chains
        ],
    )


def _work(audit: Audit) -> Iterable[str]:
    """Yield task types and waste."""
    if len(audit.tasks) > 1:
        yield "<h2>What is asked</h2>"
        yield bars(
            [(one.task, one.share_ratio, f"{one.share_ratio:.0%}") for one in audit.tasks],
            title="Share of calls by task type",
        )
    if audit.hours:
        yield "<h2>When: calls by hour of the day, UTC</h2>"
        yield columns(
            [(f"{hour:02d}", value, f"{value:,.0f}") for hour, value in enumerate(audit.hours)],
            title="Calls by hour of the day, UTC",
        )
    if audit.waste:
        yield "<h2>What need not have been</h2>"
        yield "<p>These may overlap: do not add them.</p>"
        yield _table(
            ("kind", ">calls", ">tokens", ">USD", ""),
            [
                (one.kind, f"{one.calls:,}", f"{one.tokens:,}", amount(one.usd), one.note)
                for one in audit.waste
            ],
        )


def _details(audit: Audit) -> Iterable[str]:
    """Yield all figures with their origin, what is not known, and what was read."""
    yield "<h2>All figures</h2>"
    yield _table(
        ("figure", ">value", "origin", ""),
        [(WORDS.get(one.name, one.name), said(one), one.origin, one.note) for one in audit.figures],
    )
    yield "<h2>What this log cannot say</h2><ul>"
    yield from (f"<li>{escape(one)}</li>" for one in audit.unknown)
    yield "</ul><h2>What was read</h2>"
    yield _table(
        ("file", "format", ">rows", ">bad", ">other lines"),
        [
            (one.path, one.format, f"{one.rows:,}", f"{one.bad:,}", f"{one.other:,}")
            for one in audit.sources
        ],
    )
    if audit.bad:
        yield _table(
            ("file", "why not used", ">rows", "first lines"),
            [
                (one.path, one.reason, f"{one.rows:,}", ", ".join(map(str, one.lines)))
                for one in audit.bad
            ],
        )


def _range(low: float | None, high: float | None, unit: float) -> str:
    if low is None or high is None:
        return "not known"
    return f"{amount(low / unit)} to {amount(high / unit)}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; a head that begins with ``>`` is of numbers."""
    kinds = [' class="n"' if head.startswith(">") else "" for head in heads]
    top = "".join(
        f'<th scope="col"{kind}>{escape(head.lstrip(">"))}</th>'
        for head, kind in zip(heads, kinds, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td{kind}>{escape(cell)}</td>" for cell, kind in zip(row, kinds, strict=True))
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll"><table><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
