"""Policies on this log: what each would have cost, drawn and emitted, beside what was spent."""

__all__ = ["policies"]

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from metabolic.account.carbon import carbon_g
from metabolic.account.work import remote_range
from metabolic.audit.blocks import Cell, Sums
from metabolic.audit.prices import Entry
from metabolic.audit.result import PolicyOutcome
from metabolic.audit.savings import Lane, Savings

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class _Joules(Struct, frozen=True, kw_only=True):
    """A range of joules; adds up end by end, for one model's error is the other's too."""

    low: float = 0.0
    high: float = 0.0

    def plus(self, other: "_Joules", sign: int = 1) -> "_Joules":
        """Return the sum, or with ``sign`` -1 the difference."""
        return _Joules(low=self.low + sign * other.low, high=self.high + sign * other.high)


def policies(
    connection: "DuckDBPyConnection",
    sums: Sums,
    found: Savings,
    *,
    entries: Mapping[str, Entry | None],
    g_per_kwh: float,
) -> tuple[PolicyOutcome, ...]:
    """Return now, each model for everything, the lanes' models, and the same query by query."""
    total = float(sums.total_usd.sum())
    if total <= 0:
        return ()
    now = _now(sums, entries)
    made = [_outcome("as it is", total, (0.0, 0.0, 0.0), joules=now, g_per_kwh=g_per_kwh)]
    models = dict.fromkeys(one.model for one in found.lanes)
    made += [_single(model, sums, found, entries, g_per_kwh) for model in models]
    chosen = found.likely or found.certain
    bounds = (found.value, found.low, found.high)
    joules = now.plus(_change(sums, chosen or found.possible, entries))
    made.append(
        _outcome(
            "cheapest adequate model per lane, whole sessions",
            total,
            bounds,
            joules=joules if chosen else None,
            g_per_kwh=g_per_kwh,
            loss=_loss(chosen),
            note=", ".join(f"{one.lane} → {one.model}" for one in chosen),
        )
    )
    turns = _query_by_query(connection, chosen or found.possible, entries)
    if turns is not None:
        made.append(_alone(turns, total, known=bool(chosen), g_per_kwh=g_per_kwh))
    return tuple(made)


def _alone(usd: float, total: float, *, known: bool, g_per_kwh: float) -> PolicyOutcome:
    """Return what moving call by call saves; the likely value only where lanes are ``known``."""
    return _outcome(
        "the same models, query by query",
        total,
        (usd / total if known else None, min(0.0, usd / total), usd / total),
        joules=None,
        g_per_kwh=g_per_kwh,
        note="each change of model within a session pays for the prompt again",
    )


def _outcome(  # noqa: PLR0913 - one keyword for each part
    name: str,
    total: float,
    saving: tuple[float | None, float, float],
    *,
    joules: _Joules | None,
    g_per_kwh: float,
    loss: float | None = None,
    note: str = "",
) -> PolicyOutcome:
    value, low, high = saving
    likely = (low + high) / 2 if value is None else value
    return PolicyOutcome(
        policy=name,
        usd=total * (1 - likely),
        saving_ratio=value,
        saving_low=low,
        saving_high=high,
        joules_low=None if joules is None else joules.low,
        joules_high=None if joules is None else joules.high,
        carbon_low_g=None if joules is None else carbon_g(joules.low, g_per_kwh=g_per_kwh),
        carbon_high_g=None if joules is None else carbon_g(joules.high, g_per_kwh=g_per_kwh),
        loss=loss,
        note=note,
    )


def _single(
    model: str,
    sums: Sums,
    found: Savings,
    entries: Mapping[str, Entry | None],
    g_per_kwh: float,
) -> PolicyOutcome:
    """Return one model for all that is dearer now, its cache counted."""
    lanes = [one for one in found.lanes if one.model == model]
    total = float(sums.total_usd.sum())
    likely, best, worst = (
        sum(float(getattr(one, which).sum()) for one in lanes) / total
        for which in ("saving", "best", "worst")
    )
    return _outcome(
        f"always {model}, cached",
        total,
        (likely, worst, best),
        joules=_now(sums, entries).plus(_change(sums, lanes, entries)),
        g_per_kwh=g_per_kwh,
        loss=_loss(lanes),
        note="whatever it loses in quality",
    )


def _loss(lanes: Sequence[Lane]) -> float | None:
    """Return the mean loss over the calls of lanes; ``None`` where one is not known."""
    calls = sum(one.calls for one in lanes)
    if not calls or any(one.loss.mean is None for one in lanes):
        return None
    return sum(one.calls * (one.loss.mean or 0.0) for one in lanes) / calls


def _now(sums: Sums, entries: Mapping[str, Entry | None]) -> _Joules:
    """Return what all calls are modelled to have drawn."""
    made = _Joules()
    for cell in sums.cells:
        served = entries.get(cell.model)
        if served is not None:
            made = made.plus(_joules(served, cell))
    return made


def _change(sums: Sums, lanes: Sequence[Lane], entries: Mapping[str, Entry | None]) -> _Joules:
    """Return the joules that moving lanes adds (below zero: saves)."""
    by_lane = {one.lane: one for one in lanes}
    by_name = {one.model: one for one in entries.values() if one is not None}
    made = _Joules()
    for cell in sums.cells:
        lane, served = by_lane.get(cell.lane), entries.get(cell.model)
        if lane is None or served is None or served.model == lane.model:
            continue
        other = by_name[lane.model]
        if served.input + served.output > other.input + other.output:
            made = made.plus(_joules(other, cell)).plus(_joules(served, cell), -1)
    return made


def _joules(entry: Entry, cell: Cell) -> _Joules:
    """Return the modelled joules of a cell's tokens on one model."""
    energy = remote_range(
        entry.sized, input_tokens=int(cell.fresh.sum()), output_tokens=int(cell.out.sum())
    )
    return _Joules(low=energy.low_j, high=energy.high_j)


def _query_by_query(
    connection: "DuckDBPyConnection", lanes: Sequence[Lane], entries: Mapping[str, Entry | None]
) -> float | None:
    """Return the dollars saved where every call moves alone; ``None`` where that is no different.

    A call that another model answered before it in its chain finds nothing in its cache.
    """
    mixed = connection.execute("SELECT count(*) FROM chain_lanes").fetchone()
    if not lanes or mixed is None or mixed[0] == 0:
        return None
    connection.execute("CREATE OR REPLACE TEMP TABLE target (lane VARCHAR, other VARCHAR)")
    for one in lanes:
        connection.execute("INSERT INTO target VALUES (?, ?)", [one.lane, one.model])
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE rates (other VARCHAR, f DOUBLE, k DOUBLE, o DOUBLE)"
    )
    by_name = {one.model: one for one in entries.values() if one is not None}
    for name in {one.model for one in lanes}:
        entry = by_name[name]
        connection.execute("INSERT INTO rates VALUES (?, ?, ?, ?)", [name, *entry.rates])
    found = connection.execute("""
        WITH moved AS (SELECT w.*, CASE WHEN p.fresh + p.out > r.f + r.o AND NOT from_cache
                THEN r.other END AS taken, p.fresh AS pf, p.kept AS pk, r.f, r.k, r.o
            FROM work w LEFT JOIN prices p USING (model) LEFT JOIN target t USING (lane)
            LEFT JOIN rates r USING (other)),
        served AS (SELECT *, coalesce(taken, model) AS served_by,
            lag(coalesce(taken, model)) OVER (PARTITION BY chain ORDER BY at_s, line) AS last_by
            FROM moved),
        cached AS (SELECT *, CASE WHEN coalesce(last_by = served_by, true) THEN cached ELSE 0 END
            AS warm FROM served)
        SELECT sum(CASE WHEN taken IS NOT NULL
            THEN usd - (fresh + cached - warm) * f - warm * k - coalesce(out, 0) * o
            ELSE (warm - cached) * (pf - pk) END) FROM cached""").fetchone()
    return None if found is None or found[0] is None else float(found[0])
