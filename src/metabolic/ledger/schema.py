"""The tables of the SQLite ledger, their version, and a record as a row.

``records`` is append-only: one row per request with what is asked for often, and the whole record
in ``body``. ``settlements`` holds what the meters said later. The view ``receipts`` joins both,
so ``select sum(energy_j) from receipts where tenant = ?`` needs nothing of this package.

Every request pays for writing a row, few for reading it. So a receipt lies there once, as JSON
that the view takes apart: a column each would cost three times the CPU. Only ``id`` and ``at_s``
are indexed, for the same reason.

Money in the view is whole millionths of a dollar; a local answer is often below one, so
electricity is there beside it as it is.
"""

__all__ = [
    "CHUNK",
    "INSERT_BLOB",
    "INSERT_SETTLEMENT",
    "PAGE_BYTES",
    "VERSION",
    "check_version",
    "insert_records",
    "migrate",
    "record_row",
    "settlement_row",
]

import sqlite3

from metabolic.core.errors import LedgerError
from metabolic.core.receipt import Receipt, Record, Settlement
from metabolic.ledger.packing import packed_receipt, packed_settlement

VERSION = 2
"""``user_version`` of the file; the last of ``_STEPS`` leads to it, each other one to one less."""

CHUNK = 64
"""Records per statement: SQLite runs it without the interpreter's lock, which is taken again once
a chunk instead of once a row. Ten values a row stay below the 999 that any SQLite takes."""

PAGE_BYTES = 16_384
"""Several records fit in a page: at the usual 4096 each wastes part of its own, and twice the
CPU goes into writing pages. Larger pages win little, and a lone record then writes more."""

_STEPS = (
    """
    CREATE TABLE records (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, at_s REAL NOT NULL, tenant TEXT,
        session TEXT, client_task TEXT, lane TEXT, decision_version INTEGER,
        receipt TEXT NOT NULL, dictionary INTEGER, body BLOB NOT NULL
    );
    CREATE INDEX records_by_time ON records (at_s);
    CREATE TABLE settlements (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, stored_s REAL NOT NULL,
        receipt TEXT, body BLOB NOT NULL
    );
    CREATE TABLE blobs (
        digest TEXT PRIMARY KEY, used_day INTEGER NOT NULL, body BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX blobs_by_day ON blobs (used_day);
    CREATE TABLE dictionaries (number INTEGER PRIMARY KEY, body BLOB NOT NULL);
    CREATE VIEW receipts AS
    SELECT
        id, at_s, tenant, session, client_task, json_extract(receipt, '$.task') AS task, lane,
        json_extract(receipt, '$.level') AS level,
        json_extract(receipt, '$.answer.deployment') AS deployment,
        json_extract(receipt, '$.answer.escalations') AS escalations,
        json_extract(receipt, '$.answer.degraded') AS degraded,
        json_extract(receipt, '$.answer.confidence') AS confidence,
        CASE WHEN json_extract(receipt, '$.answer') IS NULL
            THEN coalesce(json_extract(receipt, '$.failure.kind'), 'no_answer') END AS failure,
        json_extract(receipt, '$.seconds') AS seconds,
        json_array_length(receipt, '$.attempts') AS attempts,
        json_extract(receipt, '$.usage.input_tokens') AS input_tokens,
        json_extract(receipt, '$.usage.cached_tokens') AS cached_tokens,
        json_extract(receipt, '$.usage.output_tokens') AS output_tokens,
        json_extract(receipt, '$.usage.reasoning_tokens') AS reasoning_tokens,
        json_extract(receipt, '$.status') AS status,
        json_extract(receipt, '$.energy.energy_j') AS energy_j,
        json_extract(receipt, '$.energy.low_j') AS low_j,
        json_extract(receipt, '$.energy.high_j') AS high_j,
        json_extract(receipt, '$.energy.origin') AS energy_origin,
        json_extract(receipt, '$.cpu_s') AS cpu_s,
        CAST(round(1e6 * (
            coalesce(json_extract(receipt, '$.cost.tokens_usd'), 0.0)
            + coalesce(json_extract(receipt, '$.cost.electricity_usd'), 0.0)
        )) AS INTEGER) AS cost_micro_usd,
        json_extract(receipt, '$.cost.electricity_usd') AS electricity_usd,
        json_extract(receipt, '$.carbon.carbon_g') AS carbon_g,
        json_extract(receipt, '$.remote_energy.energy_j') AS remote_energy_j,
        decision_version
    FROM (
        SELECT r.id, at_s, tenant, session, client_task, lane, decision_version,
            coalesce(s.receipt, r.receipt) AS receipt
        FROM records AS r LEFT JOIN settlements AS s ON s.id = r.id
    );
    """,
)

_RECORD_COLUMNS = (
    "id, at_s, tenant, session, client_task, lane, decision_version, receipt, dictionary, body"
)

INSERT_SETTLEMENT = """
    INSERT INTO settlements (id, stored_s, receipt, body) VALUES (?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET receipt = excluded.receipt WHERE settlements.receipt IS NULL
"""
"""A second settlement of a request changes nothing, unless the first came before its record."""

INSERT_BLOB = (
    "INSERT INTO blobs (digest, used_day, body) VALUES (?, ?, ?)"
    " ON CONFLICT (digest) DO UPDATE SET used_day = max(used_day, excluded.used_day)"
)


def insert_records(count: int) -> str:
    """Return the statement that inserts ``count`` rows; an id that is there already is left."""
    return _INSERT_CHUNK if count == CHUNK else _insert(count)


def _insert(count: int) -> str:
    row = f"({', '.join('?' * len(_RECORD_COLUMNS.split(',')))})"
    rows = ", ".join([row] * count)
    return f"INSERT OR IGNORE INTO records ({_RECORD_COLUMNS}) VALUES {rows}"  # noqa: S608 - no data in it


_INSERT_CHUNK = _insert(CHUNK)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the file to ``VERSION``, all or nothing; a file that is not ours is refused.

    Raises:
        LedgerError: another release of Metabolic wrote the file.
        sqlite3.Error: the file cannot be written.
    """
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    check_version(found)
    first = VERSION - len(_STEPS)
    for number in range(max(found, first), VERSION):
        connection.executescript(
            f"BEGIN IMMEDIATE; {_STEPS[number - first]} PRAGMA user_version = {number + 1}; COMMIT;"
        )


def check_version(found: int) -> None:
    """Refuse a file that this release cannot read; 0 is one without tables yet.

    Raises:
        LedgerError: a later release wrote it, or one before the first.
    """
    if found > VERSION or 0 < found <= VERSION - len(_STEPS):
        message = f"the ledger has version {found}; this release knows up to {VERSION}"
        if found < VERSION:
            message = f"the ledger has version {found}, of before the first release: move it away"
        raise LedgerError(message)


def record_row(record: Record, body: bytes, dictionary: int | None) -> tuple[object, ...]:
    """Return a record as values in the order of ``insert_records``."""
    ask = record.ask
    return (
        ask.id,
        ask.at_s,
        ask.tenant,
        ask.session,
        ask.task,
        record.signals.lane,
        record.decision_version,
        packed_receipt(record.receipt),
        dictionary,
        body,
    )


def settlement_row(
    settlement: Settlement, *, receipt: Receipt | None, now_s: float
) -> tuple[object, ...]:
    """Return a settlement as values of ``INSERT_SETTLEMENT``.

    ``receipt`` is the settled one; ``None`` while its record is not here: it is put in when that
    comes.
    """
    settled = None if receipt is None else packed_receipt(receipt)
    return settlement.id, now_s, settled, packed_settlement(settlement)
