"""What was spent: by model, by chain, and on what need not have been."""

__all__ = ["chains", "model_spend", "waste"]

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from metabolic.account.work import remote_range
from metabolic.audit.prices import Entry
from metabolic.audit.result import Chain, ModelSpend, Waste

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_LONG_TOKENS = 8192
_SHORT_TOKENS = 32
_RETRY_S = 600.0
_RETRIEVAL_TOKENS = 2000


def model_spend(
    connection: "DuckDBPyConnection", entries: Mapping[str, Entry | None]
) -> tuple[ModelSpend, ...]:
    """Return calls, tokens and dollars by model, dearest first."""
    rows = connection.execute("""
        SELECT model, sum(requests), sum(input_tokens), sum(cached), sum(out), sum(usd),
            count(reported_usd) > 0, sum(requests) FILTER (failed), sum(fresh)
        FROM work GROUP BY model ORDER BY sum(usd) DESC NULLS LAST, 2 DESC, 1""").fetchall()
    return tuple(_spend(row, entries.get(row[0] or "")) for row in rows)


def _spend(row: tuple[Any, ...], entry: Entry | None) -> ModelSpend:
    """Return one model's line."""
    model, calls, tokens, cached, out, usd, reported, failed, fresh = row
    energy = None
    if entry is not None and tokens is not None:
        energy = remote_range(entry.sized, input_tokens=int(fresh), output_tokens=int(out or 0))
    said = "not known" if entry is None else f"{entry.model}: {entry.input:g} / {entry.output:g}"
    return ModelSpend(
        model=model or "(not named)",
        calls=int(calls),
        input_tokens=int(tokens or 0),
        cached_tokens=int(cached or 0),
        output_tokens=int(out or 0),
        usd=usd,
        usd_origin="measured" if reported else "derived",
        price=said,
        failed=int(failed or 0),
        joules_low=None if energy is None else energy.low_j,
        joules_high=None if energy is None else energy.high_j,
    )


def chains(connection: "DuckDBPyConnection") -> tuple[Chain, ...]:
    """Return the kinds of chains: single calls short and long, sessions, agent tasks.

    An agent task bears a task's id, or is a session in which tools were given and that has three
    calls or more. The multiplier is against single calls of under 2,000 prompt tokens.
    """
    rows = connection.execute(f"""
        WITH one AS (SELECT chain, sum(requests) AS calls, sum(usd) AS usd,
            bool_or(tools) AS tools, count(task) > 0 AS task, max(input_tokens) AS longest,
            bool_or(requests > 1) AS bucket FROM work GROUP BY chain),
        kinds AS (SELECT calls, usd, CASE
            WHEN bucket THEN 'bucket of a usage export'
            WHEN (task AND calls > 1) OR (tools AND calls >= 3) THEN 'agent task'
            WHEN calls > 1 THEN 'session'
            WHEN longest >= {_RETRIEVAL_TOKENS} THEN 'single call, long prompt'
            ELSE 'single call' END AS kind FROM one)
        SELECT kind, count(*), quantile_cont(calls, .5), quantile_cont(calls, .95), avg(usd),
            quantile_cont(usd, .5), quantile_cont(usd, .95)
        FROM kinds GROUP BY kind ORDER BY 2 DESC""").fetchall()
    base = next((row[4] for row in rows if row[0] == "single call"), None)
    paper = {
        "single call, long prompt": "3-5x (retrieval)",
        "session": "",
        "agent task": "10-25x, 50-100x (agents)",
    }
    return tuple(
        Chain(
            kind=kind,
            count=count,
            calls_p50=calls_p50,
            calls_p95=calls_p95,
            usd_mean=mean,
            usd_p50=usd_p50,
            usd_p95=usd_p95,
            multiplier=mean / base if base and mean is not None and kind in paper else None,
            paper=paper.get(kind, ""),
        )
        for kind, count, calls_p50, calls_p95, mean, usd_p50, usd_p95 in rows
    )


_KINDS = {
    "failed calls": (
        "failed AND coalesce(input_tokens, 0) + coalesce(out, 0) > 0",
        "billed tokens of calls that gave no answer",
    ),
    "repeated at once": (
        f"again AND at_s - before_s <= {_RETRY_S}",
        "the same prompt within ten minutes in one chain: retries, or a client that did not wait",
    ),
    "loops": ("run >= 3", "third and later time the same prompt stood in one chain"),
    "asked before": (
        "known",
        "an exact repeat of any earlier prompt: an exact cache might have answered",
    ),
    "long prompt, short answer": (
        f"fresh >= {_LONG_TOKENS} AND out <= {_SHORT_TOKENS}",
        f"over {_LONG_TOKENS:,} fresh prompt tokens for {_SHORT_TOKENS} or less: all needed?",
    ),
    "cache not used": (
        "nth > 1 AND cached = 0 AND input_tokens >= 1024",
        "later calls of a chain, 1,024 prompt tokens or more, none from the prompt cache",
    ),
}


def waste(connection: "DuckDBPyConnection") -> tuple[Waste, ...]:
    """Return the kinds of waste that this log can show, also where there was none."""
    row = connection.execute(
        "SELECT count(prompt) > 0, count(input_tokens) > 0, bool_or(chained) FROM work"
    ).fetchone()
    assert row is not None
    hashed, counted, chained = row
    sums = ", ".join(
        f"""count(*) FILTER ({test}), sum(coalesce(input_tokens, 0) + coalesce(out, 0))
        FILTER ({test}), sum(usd) FILTER ({test})"""
        for test, _ in _KINDS.values()
    )
    prompts = """CASE WHEN prompt IS NULL THEN 1
            ELSE row_number() OVER (PARTITION BY chain, prompt ORDER BY at_s, line) END AS run,
        lag(at_s) OVER (PARTITION BY chain, prompt ORDER BY at_s, line) AS before_s,
        prompt IS NOT NULL
            AND row_number() OVER (PARTITION BY prompt ORDER BY at_s, line) > 1 AS known"""
    if not hashed:
        prompts = "1 AS run, NULL::DOUBLE AS before_s, false AS known"
    nth = "row_number() OVER (PARTITION BY chain ORDER BY at_s, line)" if chained else "1"
    found = connection.execute(f"""SELECT {sums} FROM (SELECT *,
        run > 1 AS again FROM (SELECT failed, input_tokens, out, usd, at_s, fresh, cached, prompt,
        {nth} AS nth, {prompts} FROM work WHERE requests = 1))""").fetchone()
    assert found is not None
    cells = iter(found)
    made: list[Waste] = []
    for (kind, (_, note)), calls, tokens, usd in zip(
        _KINDS.items(), cells, cells, cells, strict=False
    ):
        if (kind in {"loops", "asked before", "repeated at once"} and not hashed) or not counted:
            continue
        known = usd if calls else 0.0
        made.append(Waste(kind=kind, calls=calls, tokens=int(tokens or 0), usd=known, note=note))
    return tuple(made)
