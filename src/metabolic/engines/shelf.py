"""Where model files lie on disk, which of them are known to be whole, and who may touch them."""

__all__ = ["Shelf", "State"]

import os
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from metabolic.core.errors import StoreError
from metabolic.engines.catalogue import Entry
from metabolic.engines.transfer import sha256_of

State = Literal["ready", "unchecked", "partial", "absent", "corrupt"]

_POLL_S = 0.25


class _Mark(Struct, frozen=True, kw_only=True):
    """What a file looked like when its sha256 was found right."""

    sha256: str
    size_bytes: int
    changed_ns: int


class Shelf:
    """The directory of a store: files at the top, marks, locks and half files in ``.store``."""

    def __init__(self, root: Path) -> None:
        """Use ``root``; it is made when something is first kept."""
        self.root = root
        self._store = root / ".store"

    def file(self, entry: Entry) -> Path:
        """Return where the model's file is or would be."""
        return self.root / entry.file

    def scratch(self, entry: Entry) -> Path:
        """Return the directory for what was fetched so far."""
        return self._store / entry.id

    def checked(self, entry: Entry) -> Path | None:
        """Return the file if it was checked and has not changed since, by size and time."""
        path = self.file(entry)
        try:
            mark = msgspec.json.decode(self._mark(entry).read_bytes(), type=_Mark)
            found = path.stat()
        except (OSError, msgspec.DecodeError):
            return None
        same = (found.st_size, found.st_mtime_ns) == (mark.size_bytes, mark.changed_ns)
        return path if same and mark.sha256 == entry.sha256 else None

    def check(self, entry: Entry, go_on: Callable[[], None]) -> Path | None:
        """Read the file and mark it if it is what it should be; else return ``None``."""
        path = self.file(entry)
        self._mark(entry).unlink(missing_ok=True)
        try:
            right_size = path.stat().st_size == entry.size_bytes
            if right_size and sha256_of(path, go_on=go_on) == entry.sha256:
                self._write_mark(entry)
                return path
        except OSError:
            return None
        return None

    def keep(self, entry: Entry, whole: Path) -> Path:
        """Give a checked file its name, in one step, and clear what it was made from."""
        path = self.file(entry)
        whole.replace(path)
        self._write_mark(entry)
        shutil.rmtree(self.scratch(entry), ignore_errors=True)
        return path

    def state(self, entry: Entry) -> State:
        """Say what is here, without reading the file."""
        if self.checked(entry):
            return "ready"
        if self.file(entry).exists():
            return "unchecked"
        return "partial" if self._scratch_bytes(entry) else "absent"

    def here_bytes(self, entry: Entry) -> int:
        """Return the size of the file, or of what was fetched so far."""
        path = self.file(entry)
        return path.stat().st_size if path.exists() else self._scratch_bytes(entry)

    def remove(self, entry: Entry) -> int:
        """Remove file, mark and half files; return the bytes freed."""
        path = self.file(entry)
        freed = self._scratch_bytes(entry) + (path.stat().st_size if path.exists() else 0)
        self._mark(entry).unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        shutil.rmtree(self.scratch(entry), ignore_errors=True)
        return freed

    @contextmanager
    def locked(self, entry: Entry, *, wait: Callable[[], None]) -> Generator[None]:
        """Hold the model's lock; ``wait`` is called again and again while another has it.

        The system gives up the lock of a process that dies.
        """
        try:
            from filelock import FileLock, Timeout  # noqa: PLC0415 (only when something is fetched)
        except ImportError as exc:
            message = "filelock is not installed; run: pip install 'metabolic[local]'"
            raise StoreError(message) from exc
        try:
            self._store.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self._store / f"{entry.id}.lock", thread_local=False)
            while True:
                try:
                    lock.acquire(timeout=_POLL_S)
                    break
                except Timeout:
                    wait()
        except OSError as exc:
            message = f"{self.root}: cannot keep models there: {exc}; choose another directory"
            raise StoreError(message) from exc
        try:
            yield
        finally:
            lock.release()

    def _mark(self, entry: Entry) -> Path:
        return self._store / f"{entry.id}.json"

    def _write_mark(self, entry: Entry) -> None:
        found = self.file(entry).stat()
        mark = _Mark(sha256=entry.sha256, size_bytes=found.st_size, changed_ns=found.st_mtime_ns)
        self._mark(entry).write_bytes(msgspec.json.encode(mark))

    def _scratch_bytes(self, entry: Entry) -> int:
        files = (
            Path(parent, name)
            for parent, _, names in os.walk(self.scratch(entry))
            for name in names
        )
        return sum(path.stat().st_size for path in files if path.exists())
