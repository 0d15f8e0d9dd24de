"""The table all figures come from: rows with their chain, lane, price and block.

A *chain* is a session by its id; else calls that begin alike, as long as no more than half an hour
lies between two; else the call alone. A *block* is a random group of chains: the unit the
bootstrap draws, so that calls of one session stay together.
"""

__all__ = ["BLOCKS", "GAP_S", "make_work", "register_prices"]

from collections.abc import Mapping
from typing import TYPE_CHECKING

from metabolic.audit.prices import Entry

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

BLOCKS = 1000
"""Groups of chains at most: as many as the bootstrap needs, few enough to hold."""

GAP_S = 1800.0
"""A chain that was found by its beginning ends after so long a silence."""


def register_prices(connection: "DuckDBPyConnection", entries: Mapping[str, Entry | None]) -> None:
    """Make the table of prices per token of the models in the log."""
    connection.execute("CREATE TABLE prices (model VARCHAR, fresh DOUBLE, kept DOUBLE, out DOUBLE)")
    for model, one in entries.items():
        if one is not None:
            connection.execute("INSERT INTO prices VALUES (?, ?, ?, ?)", [model, *one.rates])


def make_work(connection: "DuckDBPyConnection") -> None:
    """Make ``work`` from ``calls``, ``prices`` and ``lanes`` (prompt's lane, by file and line)."""
    derived = _derived(connection)
    chains = f"""SELECT file, line, hash(session, sum(new_) OVER (PARTITION BY session
            ORDER BY at_s, line ROWS UNBOUNDED PRECEDING)) AS chain
        FROM (SELECT file, line, session, at_s, CASE WHEN at_s - lag(at_s) OVER (
            PARTITION BY session ORDER BY at_s, line) > {GAP_S} THEN 1 ELSE 0 END AS new_
        FROM calls WHERE bad IS NULL AND session % 2 = 1)"""
    join = f"LEFT JOIN ({chains}) c USING (file, line)" if derived else ""
    cut = "coalesce(c.chain," if derived else "coalesce("
    connection.execute(f"""
        CREATE TABLE work AS SELECT {cut} session, task, hash(file, line)) AS chain,
            chain % {BLOCKS} AS block, session IS NOT NULL AS chained, task, at_s, line,
            model, coalesce(lanes.lane, calls.lane, 'all') AS lane, requests, failed, from_cache,
            tools, prompt, input_tokens, coalesce(cached_tokens, 0) AS cached,
            greatest(input_tokens - coalesce(cached_tokens, 0), 0) AS fresh,
            output_tokens AS out, reasoning_tokens, seconds, energy_j, quality, shadow_model,
            shadow_quality, shadow_output_tokens AS shadow_out,
            coalesce(propensity, 1) AS propensity, lanes.seen, reported_usd,
            prices.fresh * greatest(input_tokens - coalesce(cached_tokens, 0), 0)
                + prices.kept * coalesce(cached_tokens, 0)
                + prices.out * coalesce(output_tokens, 0) AS derived_usd,
            CASE WHEN from_cache THEN coalesce(reported_usd, 0)
                ELSE coalesce(reported_usd, derived_usd) END AS usd
        FROM calls LEFT JOIN prices USING (model) LEFT JOIN lanes USING (file, line) {join}
        WHERE bad IS NULL""")
    connection.execute("DROP TABLE calls")
    connection.execute("""CREATE TABLE chain_lanes AS
        SELECT chain, arg_min(lane, coalesce(at_s, line)) AS chain_lane FROM work
        WHERE chained GROUP BY chain HAVING count(DISTINCT lane) > 1""")


def _derived(connection: "DuckDBPyConnection") -> bool:
    """Say whether a session was found by how it begins, not by an id."""
    row = connection.execute(
        "SELECT bool_or(session % 2 = 1) FROM calls WHERE bad IS NULL"
    ).fetchone()
    return bool(row and row[0])
