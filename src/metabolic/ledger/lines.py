"""Files of JSON lines: written at the end, rotated by size, read in order of time."""

__all__ = ["LineFiles", "LineStore"]

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from metabolic.account.settlement import settled
from metabolic.core.errors import LedgerError
from metabolic.core.receipt import Record, Settlement
from metabolic.ledger.appending import append_lines
from metabolic.ledger.codec import (
    UNENCODABLE,
    BlobEntry,
    Entry,
    RecordEntry,
    cleaned,
    digests_of,
    entry_of,
    line_of,
)
from metabolic.ledger.place import prepare_directory
from metabolic.ledger.writer import Tally

_log = logging.getLogger("metabolic.ledger")

_RETENTION_PERIOD_S = 3600.0
_CACHED_BLOBS = 1024


class _Ask(Struct, frozen=True, kw_only=True):
    """Of an ask: what finds it."""

    id: str
    at_s: float


class _Record(Struct, frozen=True, kw_only=True):
    """Of a record: its ask."""

    ask: _Ask


class _RecordHead(Struct, frozen=True, kw_only=True, tag="record"):
    """A record's line of which all but id and time is skipped."""

    record: _Record


class _SettlementHead(Struct, frozen=True, kw_only=True, tag="settlement"):
    """A settlement's line, whole: it is short."""

    settlement: Settlement


class _BlobHead(Struct, frozen=True, kw_only=True, tag="blob"):
    """A blob's line without the blob."""

    digest: str


_Head = _RecordHead | _SettlementHead | _BlobHead

_decode_head = msgspec.json.Decoder(_Head).decode


class LineFiles:
    """A ledger's files: ``path``, the newest, and ``path.000001`` and so on, the oldest first."""

    def __init__(self, path: Path) -> None:
        """Keep where they are."""
        self.path = path

    def rotated(self) -> list[Path]:
        """Return the rotated files, oldest first."""
        found = self.path.parent.glob(f"{self.path.name}.*")
        numbered = [file for file in found if file.suffix[1:].isdigit()]
        return sorted(numbered, key=lambda file: int(file.suffix[1:]))

    def next_rotated(self) -> Path:
        """Return the name that the newest file gets when it is rotated."""
        numbers = [int(file.suffix[1:]) for file in self.rotated()]
        return self.path.with_name(f"{self.path.name}.{max(numbers, default=0) + 1:06d}")

    def entries(self) -> Iterator[Entry]:
        """Iterate over all entries as written; torn lines are passed over.

        Raises:
            LedgerError: a file cannot be read.
        """
        for _, _, line in self._lines():
            try:
                yield entry_of(line)
            except LedgerError:
                continue

    def records(self, since_s: float, until_s: float) -> Iterator[Record]:
        """Iterate over the records in ``[since_s, until_s)`` by time, settled where they can be.

        Places and settlements are gathered first (some 200 bytes a record), then records are read.

        Raises:
            LedgerError: a file cannot be read.
        """
        places: dict[str, tuple[float, Path, int]] = {}
        settlements: dict[str, Settlement] = {}
        for path, offset, line in self._lines():
            try:
                head: _Head = _decode_head(line)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue
            match head:
                case _RecordHead():
                    ask = head.record.ask
                    if since_s <= ask.at_s < until_s:
                        places.setdefault(ask.id, (ask.at_s, path, offset))
                case _SettlementHead():
                    settlements.setdefault(head.settlement.id, head.settlement)
                case _BlobHead():
                    pass
        for request_id, (_, path, offset) in sorted(places.items(), key=lambda one: one[1][0]):
            record = _record_at(path, offset)
            settlement = settlements.get(request_id)
            yield record if settlement is None else settled(record, settlement)

    def _lines(self) -> Iterator[tuple[Path, int, bytes]]:
        for path in (*self.rotated(), self.path):
            try:
                with path.open("rb") as file:
                    offset = 0
                    for line in file:
                        yield path, offset, line
                        offset += len(line)
            except FileNotFoundError:
                continue
            except OSError as exc:
                message = f"{path}: {exc}"
                raise LedgerError(message) from exc


class LineStore:
    """Appends entries to the newest file; implements ``writer.Store``."""

    def __init__(
        self,
        files: LineFiles,
        tally: Tally,
        *,
        rotate_bytes: int,
        retention_s: float | None,
        details: bool,
        now_s: Callable[[], float],
    ) -> None:
        """Open nothing yet: each batch opens the file, so moving it away is harmless."""
        self._files, self._tally, self._now_s = files, tally, now_s
        self._rotate_bytes, self._retention_s, self._details = rotate_bytes, retention_s, details
        self._blobs: dict[str, bytes] = {}
        self._written: set[str] = set()
        self._failing = False

    def write(self, entries: Sequence[Entry]) -> None:
        """Append a batch as a whole, or count it as lost."""
        kept: list[Entry] = []
        lines: list[bytes] = []
        for entry in entries:
            try:
                one = entry if self._details else cleaned(entry)
                lines += self._lines_of(one)
            except UNENCODABLE:
                self._tally.lose((entry,))
            else:
                kept.append(entry)
        try:
            self._append(b"".join(lines))
        except OSError as exc:
            self._failed(exc, kept)
            return
        self._tally.stored += sum(isinstance(entry, RecordEntry) for entry in kept)
        if self._failing:
            self._failing = False
            _log.warning("ledger works again", extra={"path": str(self._files.path)})

    def upkeep(self) -> float | None:
        """Remove rotated files that are too old; return seconds until the next look."""
        if self._retention_s is None:
            return None
        before_s = self._now_s() - self._retention_s
        for path in self._files.rotated():
            try:
                if path.stat().st_mtime < before_s:
                    path.unlink()
            except OSError as exc:
                _log.warning("old ledger file stays", extra={"error": str(exc)})
        return _RETENTION_PERIOD_S

    def close(self) -> None:
        """Do nothing: no file is open between batches."""

    def _lines_of(self, entry: Entry) -> list[bytes]:
        """Return an entry's line, after those of blobs that this file does not have yet."""
        if isinstance(entry, BlobEntry):
            self._blobs[entry.digest] = entry.blob
            if len(self._blobs) > _CACHED_BLOBS:
                del self._blobs[next(iter(self._blobs))]
            return self._blob_lines((entry.digest,))
        line = line_of(entry)
        if isinstance(entry, RecordEntry):
            return [*self._blob_lines(digests_of(entry.record)), line]
        return [line]

    def _blob_lines(self, digests: Sequence[str]) -> list[bytes]:
        lines: list[bytes] = []
        for digest in digests:
            if digest in self._blobs and digest not in self._written:
                lines.append(line_of(BlobEntry(digest=digest, blob=self._blobs[digest])))
                self._written.add(digest)
        return lines

    def _append(self, data: bytes) -> None:
        """Write at the end, all or nothing. Raises ``OSError``."""
        path = self._files.path
        prepare_directory(path)
        if append_lines(path, data) >= self._rotate_bytes:
            path.rename(self._files.next_rotated())
            self._written.clear()

    def _failed(self, error: OSError, entries: Sequence[Entry]) -> None:
        """Count what is lost, and say so once."""
        self._tally.lose(entries)
        self._written.clear()
        if not self._failing:
            self._failing = True
            _log.error(
                "ledger cannot be written: %s",
                error,
                extra={"path": str(self._files.path), "error": str(error)},
            )


def _record_at(path: Path, offset: int) -> Record:
    """Return the record of the line at ``offset``. Raises ``LedgerError``."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            entry = entry_of(file.readline())
    except OSError as exc:
        message = f"{path}: {exc}"
        raise LedgerError(message) from exc
    if not isinstance(entry, RecordEntry):
        message = f"{path}: changed while it was read"
        raise LedgerError(message)
    return entry.record
