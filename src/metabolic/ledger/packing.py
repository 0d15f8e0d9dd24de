"""A record as few bytes: MessagePack, nothing twice, deflated when there is time.

The receipt is not in it: it lies beside it as JSON, which SQL can read. Deflating costs more CPU
than the whole rest of storing a record, so the store does it while nobody waits and leaves it when
busy.

Deflating a single record alone wins little; against a dictionary, an earlier record of the same
ledger without its names, it wins much. The dictionary lies in the ledger itself, under a number.
"""

__all__ = [
    "Packer",
    "dictionary_of",
    "packed_receipt",
    "packed_settlement",
    "receipt_of",
    "settlement_of",
    "unpacked",
]

import zlib
from collections.abc import Mapping

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from metabolic.core.attempt import Attempt, Ended, Event
from metabolic.core.decision import Decision
from metabolic.core.errors import LedgerError
from metabolic.core.fleet import SituationRef
from metabolic.core.receipt import Receipt, Record, Settlement
from metabolic.core.request import Ask
from metabolic.core.signals import Signals

_LEVEL = 1
"""Level 6 takes twice the CPU for a tenth fewer bytes."""

_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, zlib.error, KeyError)


class _Packed(Struct, frozen=True, array_like=True):
    """A record as it is packed: fields in order, without names; a new one goes to the end.

    ``attempts`` is ``None`` when they are those of the ``Ended`` events.
    """

    schema: int
    decision_version: int
    ask: Ask
    signals: Signals
    situation: SituationRef
    decision: Decision
    events: tuple[Event, ...]
    effects_digest: str
    attempts: tuple[Attempt, ...] | None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Packed).decode
_encode_receipt = msgspec.json.Encoder().encode
_decode_receipt = msgspec.json.Decoder(Receipt).decode
_decode_settlement = msgspec.msgpack.Decoder(Settlement).decode


class Packer:
    """Packs records against one dictionary; without one, nothing is deflated."""

    def __init__(self, number: int | None = None, dictionary: bytes = b"") -> None:
        """Keep the dictionary and its number."""
        self.number = number
        self._dictionary = dictionary

    def pack(self, record: Record, *, deflate: bool) -> tuple[bytes, int | None]:
        """Return the bytes of a record and the number of the dictionary to read them with."""
        body = _body(record)
        if not deflate or self.number is None:
            return body, None
        deflater = zlib.compressobj(_LEVEL, zdict=self._dictionary)
        return deflater.compress(body) + deflater.flush(), self.number


def dictionary_of(record: Record) -> bytes:
    """Return a record as a dictionary: it outlives the record, so it names nobody."""
    ask = replace(record.ask, id="", tenant=None, session=None, task=None)
    return _body(replace(record, ask=ask))


def unpacked(
    body: bytes, receipt: str, number: int | None, dictionaries: Mapping[int, bytes]
) -> Record:
    """Return a packed record with its receipt.

    Raises:
        LedgerError: the bytes are damaged, or their dictionary is gone.
    """
    try:
        packed = _decode(_inflated(body, number, dictionaries))
    except _UNREADABLE as exc:
        message = f"unreadable record: {exc}"
        raise LedgerError(message) from exc
    return Record(
        schema=packed.schema,
        decision_version=packed.decision_version,
        ask=packed.ask,
        signals=packed.signals,
        situation=packed.situation,
        decision=packed.decision,
        events=packed.events,
        effects_digest=packed.effects_digest,
        attempts=_ended(packed.events) if packed.attempts is None else packed.attempts,
        receipt=receipt_of(receipt),
    )


def packed_receipt(receipt: Receipt) -> str:
    """Return a receipt as JSON."""
    return _encode_receipt(receipt).decode()


def receipt_of(text: str) -> Receipt:
    """Return a receipt of JSON. Raises ``LedgerError``."""
    try:
        return _decode_receipt(text)
    except (TypeError, *_UNREADABLE) as exc:
        message = f"unreadable receipt: {exc}"
        raise LedgerError(message) from exc


def packed_settlement(settlement: Settlement) -> bytes:
    """Return a settlement as MessagePack."""
    return _encode(settlement)


def settlement_of(body: bytes) -> Settlement:
    """Return a packed settlement. Raises ``LedgerError``."""
    try:
        return _decode_settlement(body)
    except _UNREADABLE as exc:
        message = f"unreadable settlement: {exc}"
        raise LedgerError(message) from exc


def _body(record: Record) -> bytes:
    """Return a record as MessagePack, its attempts only once; a plain tuple is built quickest."""
    attempts = record.attempts
    # Nearly always these are the same objects, which takes no time to compare.
    return _encode(
        (
            record.schema,
            record.decision_version,
            record.ask,
            record.signals,
            record.situation,
            record.decision,
            record.events,
            record.effects_digest,
            None if attempts == _ended(record.events) else attempts,
        )
    )


def _ended(events: tuple[Event, ...]) -> tuple[Attempt, ...]:
    return tuple([event.attempt for event in events if isinstance(event, Ended)])


def _inflated(body: bytes, number: int | None, dictionaries: Mapping[int, bytes]) -> bytes:
    if number is None:
        return body
    inflater = zlib.decompressobj(zdict=dictionaries[number])
    return inflater.decompress(body) + inflater.flush()
