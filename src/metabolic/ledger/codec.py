"""What a ledger keeps, as lines of JSON; and the one place where text is kept out.

No field of a record is made to hold a prompt or an answer. Two could quote one all the same: an
upstream's error message, and what a validator says after the colon of a reason
(``json_schema: $.age ...``). ``without_text`` empties both; every adapter here stores nothing that
has not passed it, unless the operator asked for ``details``.
"""

__all__ = [
    "UNENCODABLE",
    "BlobEntry",
    "Entry",
    "RecordEntry",
    "SettlementEntry",
    "cleaned",
    "digests_of",
    "entry_of",
    "line_of",
    "without_text",
]

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from metabolic.core.attempt import Attempt, Checked, Ended, Event, Failure
from metabolic.core.errors import LedgerError
from metabolic.core.receipt import AttemptBill, Record, Settlement

UNENCODABLE = (
    msgspec.MsgspecError,
    AttributeError,
    TypeError,
    ValueError,
    OverflowError,
    RecursionError,
)
"""What storing a value that is not what its type says may raise."""


class RecordEntry(Struct, frozen=True, kw_only=True, tag="record"):
    """A record to keep."""

    record: Record


class SettlementEntry(Struct, frozen=True, kw_only=True, tag="settlement"):
    """What the meters said of a record kept before, or to come."""

    settlement: Settlement


class BlobEntry(Struct, frozen=True, kw_only=True, tag="blob"):
    """A value many records share (fleet, policy, state, readings), under its digest."""

    digest: str
    blob: bytes


Entry = RecordEntry | SettlementEntry | BlobEntry

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Entry).decode


def line_of(entry: Entry) -> bytes:
    """Return an entry as one line of JSON, with its line feed. Raises ``UNENCODABLE``."""
    return _encode(entry) + b"\n"


def entry_of(line: bytes) -> Entry:
    """Return the entry of a line.

    Raises:
        LedgerError: the line is torn or is not one of ours.
    """
    try:
        return _decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        message = f"not a ledger line: {exc}"
        raise LedgerError(message) from exc


def digests_of(record: Record) -> tuple[str, ...]:
    """Return the digests of the blobs that a record refers to."""
    situation = record.situation
    named = (situation.fleet_id, situation.metabolic_id, situation.hardware_id)
    return tuple(digest for digest in (*named, record.decision.policy_id) if digest)


def without_text(record: Record) -> Record:
    """Return the record without error messages and details of reasons; itself if it has none."""
    if not _may_quote(record):
        return record
    receipt = record.receipt
    return replace(
        record,
        attempts=tuple(map(_attempt, record.attempts)),
        events=tuple(map(_event, record.events)),
        receipt=replace(
            receipt,
            failure=_failure(receipt.failure),
            attempts=tuple(map(_bill, receipt.attempts)),
        ),
    )


def cleaned(entry: Entry) -> Entry:
    """Return the entry with its record ``without_text``. Raises ``UNENCODABLE``."""
    if isinstance(entry, RecordEntry):
        clean = without_text(entry.record)
        return entry if clean is entry.record else RecordEntry(record=clean)
    return entry


def _may_quote(record: Record) -> bool:
    """Say whether anything must be taken out; most records need nothing, so this is quick."""
    receipt = record.receipt
    if receipt.failure is not None:
        return True
    for attempt in record.attempts:
        if attempt.failure is not None:
            return True
    for bill in receipt.attempts:
        if bill.failure is not None or (bill.reasons and _detailed(bill.reasons)):
            return True
    return _told(record.events)


def _told(events: tuple[Event, ...]) -> bool:
    """Say whether an event holds what must be taken out."""
    for event in events:
        if isinstance(event, Ended):
            if event.attempt.failure is not None:
                return True
        elif isinstance(event, Checked):
            reasons = event.verdict.reasons
            if reasons and _detailed(reasons):
                return True
    return False


def _detailed(reasons: tuple[str, ...]) -> bool:
    return ":" in "".join(reasons)


def _bill(bill: AttemptBill) -> AttemptBill:
    return replace(bill, failure=_failure(bill.failure), reasons=_reasons(bill.reasons))


def _attempt(attempt: Attempt) -> Attempt:
    return replace(attempt, failure=_failure(attempt.failure))


def _event(event: Event) -> Event:
    match event:
        case Ended():
            return replace(event, attempt=_attempt(event.attempt))
        case Checked():
            verdict = event.verdict
            return replace(event, verdict=replace(verdict, reasons=_reasons(verdict.reasons)))
        case _:
            return event


def _failure(failure: Failure | None) -> Failure | None:
    return None if failure is None else replace(failure, message="")


def _reasons(reasons: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(reason.partition(":")[0] for reason in reasons)
