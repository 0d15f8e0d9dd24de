"""The tables of the SQLite ledger, their version, and a record as a row.

``records`` is append-only: one row per request with what is asked for often, and the whole record
in ``body``. ``settlements`` holds what the meters said later. The view ``receipts`` joins both,
so ``select sum(energy_j) from receipts where tenant = ?`` needs nothing of this package.
Only ``id`` and ``at_s`` are indexed: each further index would cost every request.

Money is whole millionths of a dollar; a local answer is often below one, so electricity is kept
beside it as it is.
"""

__all__ = [
    "CHUNK",
    "INSERT_BLOB",
    "INSERT_SETTLEMENT",
    "VERSION",
    "insert_records",
    "migrate",
    "record_row",
    "settlement_row",
]

import sqlite3

from metabolic.core.errors import LedgerError
from metabolic.core.receipt import Receipt, Record, Settlement
from metabolic.core.units import micro_usd_from_usd

VERSION = 1
"""``user_version`` of the file; ``_STEPS[n]`` leads from version n to n + 1."""

CHUNK = 16
"""Records per statement: SQLite runs it without the interpreter's lock, which is taken again once
a chunk instead of once a row, and encoding a chunk holds that lock a third of a millisecond."""

_STEPS = (
    """
    CREATE TABLE records (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, at_s REAL NOT NULL,
        tenant TEXT, session TEXT, client_task TEXT, task TEXT, lane TEXT, level TEXT,
        deployment TEXT, escalations INTEGER, degraded INTEGER, confidence REAL, failure TEXT,
        seconds REAL, attempts INTEGER, input_tokens INTEGER, cached_tokens INTEGER,
        output_tokens INTEGER, reasoning_tokens INTEGER,
        energy_j REAL, low_j REAL, high_j REAL, energy_origin TEXT, cpu_s REAL,
        cost_micro_usd INTEGER, electricity_usd REAL, carbon_g REAL,
        remote_energy_j REAL, decision_version INTEGER, dictionary INTEGER, body BLOB NOT NULL
    );
    CREATE INDEX records_by_time ON records (at_s);
    CREATE TABLE settlements (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, stored_s REAL NOT NULL,
        energy_j REAL, low_j REAL, high_j REAL, energy_origin TEXT, cpu_s REAL,
        cost_micro_usd INTEGER, electricity_usd REAL, carbon_g REAL,
        body BLOB NOT NULL
    );
    CREATE TABLE blobs (
        digest TEXT PRIMARY KEY, used_day INTEGER NOT NULL, body BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX blobs_by_day ON blobs (used_day);
    CREATE TABLE dictionaries (number INTEGER PRIMARY KEY, body BLOB NOT NULL);
    CREATE VIEW receipts AS
    SELECT
        r.id, r.at_s, r.tenant, r.session, r.client_task, r.task, r.lane, r.level, r.deployment,
        r.escalations, r.degraded, r.confidence, r.failure, r.seconds, r.attempts,
        r.input_tokens, r.cached_tokens, r.output_tokens, r.reasoning_tokens,
        CASE WHEN s.number IS NULL THEN 'provisional' ELSE 'settled' END AS status,
        coalesce(s.energy_j, r.energy_j) AS energy_j,
        coalesce(s.low_j, r.low_j) AS low_j,
        coalesce(s.high_j, r.high_j) AS high_j,
        coalesce(s.energy_origin, r.energy_origin) AS energy_origin,
        coalesce(s.cpu_s, r.cpu_s) AS cpu_s,
        coalesce(s.cost_micro_usd, r.cost_micro_usd) AS cost_micro_usd,
        coalesce(s.electricity_usd, r.electricity_usd) AS electricity_usd,
        coalesce(s.carbon_g, r.carbon_g) AS carbon_g,
        r.remote_energy_j, r.decision_version
    FROM records AS r LEFT JOIN settlements AS s ON s.id = r.id;
    """,
)

_RECORD_COLUMNS = (
    "id, at_s, tenant, session, client_task, task, lane, level, deployment, escalations, degraded,"
    " confidence, failure, seconds, attempts, input_tokens, cached_tokens, output_tokens,"
    " reasoning_tokens, energy_j, low_j, high_j, energy_origin, cpu_s, cost_micro_usd,"
    " electricity_usd, carbon_g, remote_energy_j, decision_version, dictionary, body"
)
INSERT_SETTLEMENT = """
    INSERT INTO settlements (
        id, stored_s, energy_j, low_j, high_j, energy_origin, cpu_s, cost_micro_usd,
        electricity_usd, carbon_g, body
    )
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET
        energy_j = excluded.energy_j, low_j = excluded.low_j, high_j = excluded.high_j,
        energy_origin = excluded.energy_origin, cpu_s = excluded.cpu_s,
        cost_micro_usd = excluded.cost_micro_usd, electricity_usd = excluded.electricity_usd,
        carbon_g = excluded.carbon_g
    WHERE settlements.cost_micro_usd IS NULL
"""
"""A second settlement of a request changes nothing, unless the first came before its record."""

INSERT_BLOB = (
    "INSERT INTO blobs (digest, used_day, body) VALUES (?, ?, ?)"
    " ON CONFLICT (digest) DO UPDATE SET used_day = max(used_day, excluded.used_day)"
)


def insert_records(count: int) -> str:
    """Return the statement that inserts ``count`` rows; an id that is there already is left."""
    row = f"({', '.join('?' * len(_RECORD_COLUMNS.split(',')))})"
    rows = ", ".join([row] * count)
    return f"INSERT OR IGNORE INTO records ({_RECORD_COLUMNS}) VALUES {rows}"  # noqa: S608 - no data in it


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the file to ``VERSION``, all or nothing; a newer file is refused.

    Raises:
        LedgerError: a later release of Metabolic wrote the file.
        sqlite3.Error: the file cannot be written.
    """
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > VERSION:
        message = f"the ledger has version {found}; this release knows up to {VERSION}"
        raise LedgerError(message)
    for number in range(found, VERSION):
        connection.executescript(
            f"BEGIN IMMEDIATE; {_STEPS[number]} PRAGMA user_version = {number + 1}; COMMIT;"
        )


def record_row(record: Record, body: bytes, dictionary: int | None) -> tuple[object, ...]:
    """Return a record as values in the order of ``insert_records``."""
    ask, signals, receipt = record.ask, record.signals, record.receipt
    answer, usage = receipt.answer, receipt.usage
    return (
        ask.id,
        ask.at_s,
        ask.tenant,
        ask.session,
        ask.task,
        signals.task,
        signals.lane,
        receipt.level,
        None if answer is None else answer.deployment,
        None if answer is None else answer.escalations,
        None if answer is None else answer.degraded,
        None if answer is None else answer.confidence,
        _failure(receipt),
        receipt.seconds,
        len(receipt.attempts),
        usage.input_tokens,
        usage.cached_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
        *_bill(receipt),
        None if receipt.remote_energy is None else receipt.remote_energy.energy_j,
        record.decision_version,
        dictionary,
        body,
    )


def settlement_row(
    settlement: Settlement, body: bytes, *, receipt: Receipt | None, now_s: float
) -> tuple[object, ...]:
    """Return a settlement as values of ``INSERT_SETTLEMENT``.

    ``receipt`` is the settled one; ``None`` while its record is not here: then the figures stay
    empty until it comes.
    """
    figures = (None,) * 8 if receipt is None else _bill(receipt)
    return (settlement.id, now_s, *figures, body)


def _failure(receipt: Receipt) -> str | None:
    """Return why there was no answer; ``None`` when there was one."""
    if receipt.answer is not None:
        return None
    return "no_answer" if receipt.failure is None else receipt.failure.kind


def _bill(receipt: Receipt) -> tuple[object, ...]:
    energy, carbon = receipt.energy, receipt.carbon
    return (
        None if energy is None else energy.energy_j,
        None if energy is None else energy.low_j,
        None if energy is None else energy.high_j,
        None if energy is None else energy.origin,
        receipt.cpu_s,
        micro_usd_from_usd(receipt.cost.total_usd),
        receipt.cost.electricity_usd,
        None if carbon is None else carbon.carbon_g,
    )
