"""Where entries wait while the store cannot take them: a bounded file of JSON lines.

It is written and read by the ledger's one thread. A line torn by a crash is skipped when read,
and a write that fails half-way is taken back, so every other line stays whole.
"""

__all__ = ["Spool", "spool_path", "spooled"]

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from metabolic.core.errors import LedgerError
from metabolic.ledger.appending import append_lines
from metabolic.ledger.codec import Entry, entry_of


def spool_path(path: Path) -> Path:
    """Return where a ledger's spool lies: beside it."""
    return path.with_name(f"{path.name}.spool.jsonl")


def spooled(path: Path, request_id: str) -> Iterator[Entry]:
    """Iterate over what is spooled of a request; nothing when it cannot be read."""
    wanted = request_id.encode(errors="replace")
    try:
        with path.open("rb") as file:
            for line in file:
                if wanted in line:
                    with suppress(LedgerError):
                        yield entry_of(line)
    except OSError:
        return


class Spool:
    """One spool file; it exists only while something waits in it."""

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        """Look whether an earlier process left entries."""
        self._path, self._max_bytes = path, max_bytes
        self._offset = self._read_to = 0
        self.waiting = self._size() > 0

    def write(self, lines: Sequence[bytes]) -> int:
        """Append lines; return how many of the first there was room for.

        Raises:
            OSError: the file cannot be written; it is then as it was before.
        """
        room = self._max_bytes - self._size()
        kept: list[bytes] = []
        for line in lines:
            room -= len(line)
            if room < 0:
                break
            kept.append(line)
        if kept:
            append_lines(self._path, b"".join(kept))
            self.waiting = True
        return len(kept)

    def read(self, count: int) -> tuple[list[Entry], int]:
        """Return up to ``count`` entries not yet passed, and how many lines were unreadable.

        Raises:
            OSError: the file cannot be read.
        """
        entries: list[Entry] = []
        torn = 0
        with self._path.open("rb") as file:
            file.seek(self._offset)
            while len(entries) + torn < count and (line := file.readline()):
                try:
                    entries.append(entry_of(line))
                except LedgerError:
                    torn += bool(line.strip())
            self._read_to = file.tell()
        return entries, torn

    def passed(self) -> None:
        """Forget what ``read`` returned last; when nothing is left, remove the file.

        Raises:
            OSError: the file cannot be removed; it is then read again, which does no harm.
        """
        self._offset = self._read_to
        if self._offset >= self._size():
            self._path.unlink(missing_ok=True)
            self._offset = 0
            self.waiting = False

    def rewind(self) -> None:
        """Read from the beginning again, and look whether anything is there."""
        self._offset = 0
        self.waiting = self._size() > 0

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError:
            return 0
