"""The audit from files to result."""

__all__ = ["Options", "run"]

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from metabolic import __version__
from metabolic.account.zones import WORLD_G_PER_KWH
from metabolic.audit.blocks import Sums, read_sums
from metabolic.audit.counts import chains, model_spend, waste
from metabolic.audit.evidence import labels_needed
from metabolic.audit.figures import Money, figures
from metabolic.audit.load import Loaded, Records, load
from metabolic.audit.parts import Spread, gather
from metabolic.audit.policies import policies
from metabolic.audit.prices import Entry, PriceTable
from metabolic.audit.progress import Tell, Watch
from metabolic.audit.result import Audit, LaneEvidence, PolicyOutcome
from metabolic.audit.router import Foreseen, foresee
from metabolic.audit.savings import ALPHA, Savings, estimate
from metabolic.audit.tasks import Classify, Sample, classify_sample, task_shares
from metabolic.audit.verdict import unknowns, verdict
from metabolic.audit.work import make_work, register_prices
from metabolic.core.errors import ConfigError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_MAX_CANDIDATES = 6


class Options(Struct, frozen=True, kw_only=True):
    """What is asked.

    ``candidates`` are the models that might serve instead, by name, ``catalogue`` those with what
    they ask (both ``()``: those that were labelled, else cheaper ones of the log and of the price
    table). ``databases`` are addresses of LiteLLM's. ``spool`` is a
    folder for parts that are read elsewhere. ``epsilon`` is the loss allowed per lane.
    ``memory_mb`` and ``threads`` bound the reader; what does not fit goes to a temporary file.
    """

    paths: tuple[Path, ...]
    databases: tuple[str, ...] = ()
    spool: Path | None = None
    candidates: tuple[str, ...] = ()
    catalogue: tuple[Entry, ...] = ()
    epsilon: float = 0.02
    g_per_kwh: float = WORLD_G_PER_KWH
    running_usd_per_month: float = 0.0
    memory_mb: int = 1024
    threads: int = 2
    seed: int = 0


def run(
    options: Options,
    *,
    prices: PriceTable,
    classify: Classify,
    records: Records | None = None,
    progress: Tell | None = None,
    spread: Spread | None = None,
) -> Audit:
    """Read the logs and return all there is to say; ``spread`` reads files elsewhere.

    Raises:
        ConfigError: the extra ``audit`` is not installed, a log cannot be read, or no row could.
    """
    try:
        import duckdb  # noqa: PLC0415 - the extra `audit`
    except ImportError as exc:
        message = "reading logs needs the extra: pip install 'metabolic[audit]'"
        raise ConfigError(message) from exc
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="metabolic-audit-") as folder:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": f"{options.memory_mb}MB",
            "threads": options.threads,
            "temp_directory": folder,
        }
        with duckdb.connect(str(Path(folder) / "rows.duckdb"), config=settings) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            with Watch(connection, progress) as watch:
                loaded = _loaded(connection, options, records, watch, spread, Path(folder))
                watch.begin("counting", done_ratio=None)
            if not sum(one.rows for one in loaded.sources):
                message = "no row of these logs could be used" + _why(loaded)
                raise ConfigError(message)
            return _analysed(connection, options, loaded, prices, classify, began)


def _loaded(
    connection: "DuckDBPyConnection",
    options: Options,
    records: Records | None,
    watch: Watch,
    spread: Spread | None,
    folder: Path,
) -> Loaded:
    """Read everything here, or have the files read elsewhere and gather them."""
    if spread is None:
        databases = options.databases
        return load(connection, options.paths, databases=databases, records=records, watch=watch)
    if options.databases:
        message = "a database is read here: leave --ray out"
        raise ConfigError(message)
    watch.begin(f"reading {len(options.paths)} files", done_ratio=None)
    return gather(connection, spread(options.paths, options.spool or folder, records))


def _why(loaded: Loaded) -> str:
    """Return the first reason, if there is one."""
    if not loaded.bad:
        return ""
    first = loaded.bad[0]
    return f": {first.path}, line {first.lines[0]}: {first.reason} ({first.rows} rows)"


def _analysed(
    connection: "DuckDBPyConnection",
    options: Options,
    loaded: Loaded,
    prices: PriceTable,
    classify: Classify,
    began: float,
) -> Audit:
    """Return the result of what was loaded."""
    sample = classify_sample(connection, classify)
    labelled = _canonical(connection, prices)
    entries = _entries(connection, prices, options.catalogue)
    register_prices(connection, entries)
    make_work(connection)
    facts = _facts(connection)
    candidates = _candidates(options, prices, entries, labelled)
    known = entries | {one.model: one for one in candidates}
    sums, found = _savings(connection, options, candidates, known, usd=facts["usd"] is not None)
    foreseen = () if found is None or sums is None or labelled else foresee(
        connection, sample.seen, found.lanes, entries=known
    )  # fmt: skip
    outcomes = () if found is None or sums is None else policies(
        connection, sums, found, entries=known, g_per_kwh=options.g_per_kwh
    )  # fmt: skip
    analysis = _Analysis(
        options=options,
        loaded=loaded,
        prices_as_of=prices.as_of,
        sample=sample,
        has_labels=bool(labelled),
        entries=entries,
        facts=facts,
        found=found,
        foreseen=foreseen,
        outcomes=outcomes,
        began=began,
    )
    return _audit(connection, analysis)


class _Analysis(Struct, frozen=True, kw_only=True):
    """What the result is made of; ``began`` is of the performance counter, in seconds."""

    options: Options
    loaded: Loaded
    prices_as_of: str
    sample: Sample
    has_labels: bool
    entries: dict[str, Entry | None]
    facts: dict[str, Any]
    found: Savings | None
    foreseen: tuple[Foreseen, ...]
    outcomes: tuple[PolicyOutcome, ...]
    began: float


def _audit(connection: "DuckDBPyConnection", made: _Analysis) -> Audit:
    """Return the result, with the counts that are still to be read."""
    options, facts, sample, found = made.options, made.facts, made.sample, made.found
    spent = model_spend(connection, made.entries)
    return Audit(
        version=__version__,
        made_s=time.time(),
        prices_as_of=made.prices_as_of,
        epsilon=options.epsilon,
        rows=sum(one.rows for one in made.loaded.sources),
        calls=int(facts["calls"]),
        from_s=facts["from_s"],
        to_s=facts["to_s"],
        has_text=sample.prompts > 0,
        has_hashes=facts["hashes"],
        has_tokens=facts["tokens"],
        has_labels=made.has_labels,
        sources=made.loaded.sources,
        bad=made.loaded.bad,
        figures=figures(
            facts, sample, found, spent, _money(connection, options), foreseen=made.foreseen
        ),
        models=spent,
        tasks=task_shares(connection),
        chains=chains(connection),
        waste=waste(connection),
        lanes=_evidence(found, options.epsilon, made.foreseen),
        policies=made.outcomes,
        verdict=verdict(found, made.outcomes, epsilon=options.epsilon),
        unknown=_unknown(facts, sample, labels=made.has_labels),
        hours=_hours(connection),
        seconds=time.perf_counter() - made.began,
    )


def _entries(
    connection: "DuckDBPyConnection", prices: PriceTable, catalogue: Sequence[Entry]
) -> dict[str, Entry | None]:
    """Return the prices of all models that served; the catalogue's own names go first."""
    own = {one.model: one for one in catalogue}
    rows = connection.execute(
        "SELECT DISTINCT model FROM calls WHERE bad IS NULL AND model IS NOT NULL ORDER BY 1"
    ).fetchall()
    return {row[0]: own.get(row[0]) or prices.find(row[0]) for row in rows}


def _unknown(facts: dict[str, Any], sample: Sample, *, labels: bool) -> tuple[str, ...]:
    return unknowns(
        tokens=facts["tokens"],
        text=sample.prompts > 0,
        hashes=facts["hashes"],
        labels=labels,
        sessions=facts["sessions"],
        times=facts["from_s"] is not None,
    )


def _savings(
    connection: "DuckDBPyConnection",
    options: Options,
    candidates: Sequence[Entry],
    known: dict[str, Entry | None],
    *,
    usd: bool,
) -> tuple[Sums | None, Savings | None]:
    """Return sums and savings; nothing where no dollar is known."""
    if not usd:
        return None, None
    sums = read_sums(connection)
    if float(sums.total_usd.sum()) <= 0:
        return sums, None
    return sums, estimate(
        sums, candidates=candidates, entries=known, epsilon=options.epsilon, seed=options.seed
    )


def _canonical(connection: "DuckDBPyConnection", prices: PriceTable) -> dict[str, Entry]:
    """Name the labelled models as the price table does; return their entries."""
    found: dict[str, Entry] = {}
    rows = connection.execute(
        "SELECT DISTINCT shadow_model FROM calls WHERE shadow_quality IS NOT NULL AND bad IS NULL"
    ).fetchall()
    for (name,) in rows:
        entry = prices.find(name or "")
        if entry is not None:
            found[entry.model] = entry
            if entry.model != name:
                connection.execute(
                    "UPDATE calls SET shadow_model = ? WHERE shadow_model = ?", [entry.model, name]
                )
    return found


def _candidates(
    options: Options,
    prices: PriceTable,
    entries: dict[str, Entry | None],
    labelled: dict[str, Entry],
) -> tuple[Entry, ...]:
    """Return who might serve instead.

    Raises:
        ConfigError: a model that was named has no price.
    """
    named: dict[str, Entry] = {one.model: one for one in options.catalogue}
    for name in options.candidates:
        entry = prices.find(name)
        if entry is None:
            message = f'no price is known of "{name}": give one with --prices'
            raise ConfigError(message)
        named[entry.model] = entry
    if named or labelled:
        return tuple((named or labelled).values())
    served = {one.model: one for one in entries.values() if one is not None}
    cheaper = {
        other.model: other
        for one in served.values()
        if one.cheaper is not None and (other := prices.find(one.cheaper)) is not None
    }
    return tuple((served | cheaper).values())[-_MAX_CANDIDATES:]


def _facts(connection: "DuckDBPyConnection") -> dict[str, Any]:
    """Return single figures of the whole log."""
    cursor = connection.execute("""
        SELECT sum(requests) AS calls, min(at_s) AS from_s, max(at_s) AS to_s,
            count(prompt) > 0 AS hashes, count(input_tokens) + count(out) > 0 AS tokens,
            bool_or(chained) AS sessions, sum(usd) AS usd, count(reported_usd) > 0 AS reported,
            sum(reported_usd) AS reported_usd, sum(derived_usd) AS derived_usd,
            sum(input_tokens) AS input, sum(cached) AS cached, sum(out) AS output,
            sum(reasoning_tokens) AS reasoning, sum(requests) FILTER (failed) AS failed,
            sum(requests) FILTER (from_cache) AS from_cache, count(DISTINCT chain) AS chains,
            sum(requests) FILTER (usd IS NULL) AS unpriced, sum(energy_j) AS energy_j,
            stddev_samp(usd) / sqrt(count(usd)) AS usd_error, avg(usd) AS usd_mean,
            quantile_cont(usd, .5) AS usd_p50, quantile_cont(usd, .95) AS usd_p95,
            max(requests) > 1 AS buckets, quantile_cont(seconds, .5) AS seconds_p50,
            quantile_cont(seconds, .95) AS seconds_p95
        FROM work""")
    row = cursor.fetchone()
    assert row is not None
    return dict(zip([head[0] for head in cursor.description or ()], row, strict=True))


def _money(connection: "DuckDBPyConnection", options: Options) -> Money:
    """Return the mean cost of a call with its error over blocks (a ratio of two sums)."""
    row = connection.execute("""
        WITH b AS (SELECT sum(usd) AS u, sum(requests) AS n FROM work WHERE usd IS NOT NULL
            GROUP BY block), m AS (SELECT sum(u) / sum(n) AS mean, sum(n) AS n FROM b)
        SELECT any_value(m.mean), sqrt(sum((u - m.mean * b.n) ** 2)) / any_value(m.n) FROM b, m
        """).fetchone()
    mean = None if row is None else row[0]
    error = 0.0 if row is None else float(row[1] or 0.0)
    return Money(
        g_per_kwh=options.g_per_kwh,
        running_usd_per_month=options.running_usd_per_month,
        per_call=None if mean is None else (float(mean), error),
    )


def _hours(connection: "DuckDBPyConnection") -> tuple[float, ...]:
    """Return calls by hour of the day (UTC); nothing without times."""
    rows = connection.execute("""SELECT (at_s / 3600)::BIGINT % 24 AS hour, sum(requests) FROM work
        WHERE at_s IS NOT NULL GROUP BY 1""").fetchall()
    if not rows:
        return ()
    found = dict(rows)
    return tuple(float(found.get(hour, 0)) for hour in range(24))


def _evidence(
    found: Savings | None, epsilon: float, foreseen: tuple[Foreseen, ...]
) -> tuple[LaneEvidence, ...]:
    """Return what is known of each lane with each model, most to save first."""
    if found is None:
        return ()
    alpha = ALPHA / max(1, len(found.lanes))
    shares = {(one.lane, one.model): (one.low, one.high) for one in foreseen}
    made = [
        LaneEvidence(
            lane=one.lane,
            model=one.model,
            calls=int(one.calls),
            labels=one.loss.labels,
            loss=one.loss.mean,
            loss_low=one.loss.low,
            loss_high=one.loss.high,
            saving_usd=float(one.saving.sum()),
            adequate="yes"
            if one.loss.high <= epsilon
            else "no"
            if one.loss.low > epsilon
            else "unknown",
            labels_needed=labels_needed(one.loss, epsilon=epsilon, alpha=alpha),
            foreseen_low=shares.get((one.lane, one.model), (None, None))[0],
            foreseen_high=shares.get((one.lane, one.model), (None, None))[1],
        )
        for one in found.lanes
    ]
    return tuple(sorted(made, key=lambda one: -one.saving_usd))
