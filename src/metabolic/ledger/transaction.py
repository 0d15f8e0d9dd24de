"""Entries into SQLite: each batch whole, or not at all."""

__all__ = ["Transaction"]

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress

from metabolic.account.settlement import settled_receipt
from metabolic.core.errors import LedgerError
from metabolic.core.receipt import Receipt, Record, Settlement
from metabolic.ledger.codec import (
    BlobEntry,
    Entry,
    RecordEntry,
    SettlementEntry,
    digests_of,
)
from metabolic.ledger.packing import Packer, dictionary_of, receipt_of, settlement_of
from metabolic.ledger.schema import (
    CHUNK,
    INSERT_BLOB,
    INSERT_SETTLEMENT,
    insert_records,
    record_row,
    settlement_row,
)
from metabolic.ledger.writer import Tally

_DAY_S = 86_400
_MARKED_DIGESTS = 4096
_UNSETTLED_RECEIPTS = 2048
"""A meter's window is a second or so; a receipt takes some 2 kB."""


class Transaction:
    """Stores batches over one open connection; after an error the connection must be closed."""

    def __init__(
        self, connection: sqlite3.Connection, tally: Tally, now_s: Callable[[], float]
    ) -> None:
        """Read the dictionary to pack records against."""
        self.connection, self._tally, self._now_s = connection, tally, now_s
        sql = "SELECT number, body FROM dictionaries ORDER BY number DESC LIMIT 1"
        newest = connection.execute(sql).fetchone()
        self._packer = Packer() if newest is None else Packer(*newest)
        self._marked: dict[str, int] = {}
        self._unsettled: dict[str, Receipt] = {}

    def store(self, entries: Sequence[Entry], *, deflate: bool, late: bool = False) -> None:
        """Store a batch; ``late`` when settlements of its records may be here already.

        After an error nothing of the batch is stored, and this object must not be used again.

        Raises:
            sqlite3.Error: the file cannot be written.
            UNENCODABLE: a value is not what its type says.
        """
        records = [entry.record for entry in entries if isinstance(entry, RecordEntry)]
        settlements = [one.settlement for one in entries if isinstance(one, SettlementEntry)]
        blobs = [entry for entry in entries if isinstance(entry, BlobEntry)]
        self.connection.execute("BEGIN IMMEDIATE")
        self._blobs(blobs)
        inserted = self._records(records, deflate=deflate)
        if late:
            settlements = [*self._waiting(records), *settlements]
        receipts = {one.ask.id: one.receipt for one in records}
        self._settlements(settlements, receipts)
        marked = self._mark(records)
        self.connection.execute("COMMIT")
        self._tally.stored += inserted
        self._tally.duplicate += len(records) - inserted
        self._remember(marked, receipts)

    def _records(self, records: Sequence[Record], *, deflate: bool) -> int:
        """Insert records; return how many are new."""
        if deflate and records and self._packer.number is None:
            self._begin_dictionary(records)
        inserted = 0
        for start in range(0, len(records), CHUNK):
            chunk = records[start : start + CHUNK]
            values: list[object] = []
            for record in chunk:
                values += record_row(record, *self._packer.pack(record, deflate=deflate))
            inserted += self.connection.execute(insert_records(len(chunk)), values).rowcount
        return inserted

    def _begin_dictionary(self, records: Sequence[Record]) -> None:
        """Make a dictionary of the record with most in it."""
        body = dictionary_of(max(records, key=lambda record: len(record.events)))
        sql = "INSERT INTO dictionaries (body) VALUES (?)"
        number = self.connection.execute(sql, (body,)).lastrowid
        if number is not None:
            self._packer = Packer(number, body)

    def _waiting(self, records: Sequence[Record]) -> list[Settlement]:
        """Return settlements that came before these records."""
        sql = "SELECT body FROM settlements WHERE id = ?"
        found: list[Settlement] = []
        for record in records:
            row = self.connection.execute(sql, (record.ask.id,)).fetchone()
            if row is not None:
                with suppress(LedgerError):
                    found.append(settlement_of(row[0]))
        return found

    def _settlements(self, settlements: Sequence[Settlement], receipts: dict[str, Receipt]) -> None:
        """Insert settlements with the figures they lead to."""
        now_s = self._now_s()
        rows: list[tuple[object, ...]] = []
        for one in settlements:
            receipt = receipts.get(one.id) or self._unsettled.pop(one.id, None)
            receipt = receipt or self._receipt(one.id)
            bill = None if receipt is None else settled_receipt(receipt, one)
            rows.append(settlement_row(one, receipt=bill, now_s=now_s))
        self.connection.executemany(INSERT_SETTLEMENT, rows)

    def _receipt(self, request_id: str) -> Receipt | None:
        row = self.connection.execute(
            "SELECT receipt FROM records WHERE id = ?", (request_id,)
        ).fetchone()
        if row is None:
            return None
        try:
            return receipt_of(row[0])
        except LedgerError:
            return None

    def _blobs(self, blobs: Sequence[BlobEntry]) -> None:
        today = int(self._now_s() // _DAY_S)
        rows = [(one.digest, today, one.blob) for one in blobs]
        self.connection.executemany(INSERT_BLOB, rows)

    def _mark(self, records: Sequence[Record]) -> dict[str, int]:
        """Mark the blobs that records refer to as used on their day, once a day each."""
        days: dict[str, int] = {}
        # Records of a batch mostly refer to the same blobs: each such group is looked at once.
        groups = {
            (one.ask.at_s // _DAY_S, one.decision.policy_id, one.situation.fleet_id,
             one.situation.metabolic_id, one.situation.hardware_id): one
            for one in records
        }  # fmt: skip
        for record in groups.values():
            day = int(record.ask.at_s // _DAY_S)
            for digest in digests_of(record):
                if day > self._marked.get(digest, -1) and day > days.get(digest, -1):
                    days[digest] = day
        self.connection.executemany(
            "UPDATE blobs SET used_day = max(used_day, ?) WHERE digest = ?",
            [(day, digest) for digest, day in days.items()],
        )
        return days

    def _remember(self, marked: dict[str, int], receipts: dict[str, Receipt]) -> None:
        """Keep what saves a look into the file: marks, and receipts about to be settled."""
        if len(self._marked) > _MARKED_DIGESTS:
            self._marked.clear()
        self._marked.update(marked)
        if len(self._unsettled) > _UNSETTLED_RECEIPTS:
            self._unsettled.clear()
        self._unsettled.update(receipts)
