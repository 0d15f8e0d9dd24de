"""Fetch a model file from the Hugging Face hub, or a mirror that speaks its protocol.

The hub's own record of the file (sha256 and size of its large-file entry) must agree with the
catalogue before a byte is fetched, and the file must agree with both when it has come. Requests go
through ``huggingface_hub`` (extra ``local``) for its endpoint, proxy and token handling; the bytes
are read here, because its own downloads do not resume after the process ended. ``HF_ENDPOINT``,
``HF_TOKEN`` and ``HF_HUB_OFFLINE`` keep their meaning. Nothing is reported to the hub beyond the
requests themselves.
"""

__all__ = ["Probe", "Remote", "fetch", "missing_bytes", "resolve"]

import importlib
import os
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from metabolic.core.errors import StoreError
from metabolic.engines.catalogue import HubSource
from metabolic.engines.transfer import Job, sha256_of

if TYPE_CHECKING:
    from types import ModuleType

PROBE_TIMEOUT_S = 3.0
"""How long the hub may take to answer before it counts as unreachable."""

_PROBE_KEEP_S = 60.0
_READ_TIMEOUT_S = 30.0


class Remote(Struct, frozen=True, kw_only=True):
    """What the hub says of a file: where it is, its sha256 and its size."""

    url: str
    sha256: str
    size_bytes: int


class Probe:
    """Says whether the hub can be reached, asking it at most once a minute."""

    def __init__(
        self,
        source: HubSource,
        *,
        endpoint: str | None = None,
        timeout_s: float = PROBE_TIMEOUT_S,
    ) -> None:
        """Ask for ``source`` at ``endpoint`` (``None``: ``HF_ENDPOINT``, else the hub's own)."""
        self._source = source
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._asked_s: float | None = None
        self._problem: str | None = None

    def problem(self) -> str | None:
        """Return why the hub cannot be used, ``None`` when it can; takes 3 s at most."""
        with self._lock:
            now = time.monotonic()
            if self._asked_s is None or now - self._asked_s > _PROBE_KEEP_S:
                self._problem = self._ask()
                self._asked_s = now
            return self._problem

    def _ask(self) -> str | None:
        """Ask in a thread that is not waited for: a name lookup has no timeout of its own."""
        answer: list[str | None] = []

        def ask() -> None:
            try:
                resolve(self._source, endpoint=self._endpoint, timeout_s=self._timeout_s)
            except StoreError as exc:
                answer.append(str(exc).removeprefix(f"{_name(self._source)}: "))
            else:
                answer.append(None)

        asker = threading.Thread(target=ask, name="hub-probe", daemon=True)
        asker.start()
        asker.join(self._timeout_s)
        return answer[0] if answer else f"no answer within {self._timeout_s:g} s"


def resolve(source: HubSource, *, endpoint: str | None = None, timeout_s: float = 10.0) -> Remote:
    """Ask the hub for the sha256 and size of a file.

    Raises:
        StoreError: the hub does not answer, or has no large-file record of the file.
    """
    hub = _library()
    url = hub.hf_hub_url(source.repo, source.file, revision=source.revision, endpoint=endpoint)
    with _translated(_name(source)):
        found = hub.get_hf_file_metadata(url, timeout=timeout_s, endpoint=endpoint)
    if found.etag is None or found.size is None:
        message = f"{_name(source)}: the hub gave no sha256 and size"
        raise StoreError(message)
    return Remote(url=url, sha256=found.etag, size_bytes=found.size)


def fetch(source: HubSource, job: Job, *, endpoint: str | None = None) -> Path:
    """Fetch the file, going on where an earlier fetch ended, and return it checked.

    Raises:
        StoreError: the hub does not serve it, its record or its bytes differ from the catalogue,
            or the fetch was stopped.
    """
    job.scratch.mkdir(parents=True, exist_ok=True)
    remote = resolve(source, endpoint=endpoint)
    if (remote.sha256, remote.size_bytes) != (job.sha256, job.size_bytes):
        message = (
            f"{_name(source)}: the hub's file has sha256 {remote.sha256} and "
            f"{remote.size_bytes} bytes, not the pinned {job.sha256} and {job.size_bytes}; refused"
        )
        raise StoreError(message)
    partial = _partial(job)
    with job.turns.turn(job.size_bytes):
        _download(remote, partial, job)
    if (digest := sha256_of(partial, go_on=job.go_on)) != job.sha256:
        job.report(-partial.stat().st_size)
        partial.unlink()
        message = f"{_name(source)}: came with sha256 {digest}; it was thrown away"
        raise StoreError(message)
    return partial


def missing_bytes(job_size_bytes: int, scratch: Path) -> int:
    """Return how many bytes are still to come."""
    here = max((part.stat().st_size for part in scratch.glob("*.partial")), default=0)
    return max(0, job_size_bytes - here)


def _library() -> "ModuleType":
    """Import ``huggingface_hub``, which reads its environment when it is first imported."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
    try:
        importlib.import_module("huggingface_hub.utils")
        return importlib.import_module("huggingface_hub")
    except ImportError as exc:
        message = "huggingface_hub is not installed; run: pip install 'metabolic[local]'"
        raise StoreError(message) from exc


@contextmanager
def _translated(what: str) -> Generator[None]:
    """Turn the errors of the hub's client and of the network into ``StoreError``."""
    hub = _library()
    client = importlib.import_module(type(hub.get_session()).__module__.partition(".")[0])
    try:
        yield
    except (client.HTTPError, client.InvalidURL, OSError, ValueError) as exc:
        message = f"{what}: {_first_line(exc)}"
        raise StoreError(message) from exc


def _name(source: HubSource) -> str:
    return f"{source.repo}/{source.file}"


def _first_line(exc: Exception) -> str:
    lines = str(exc).strip().splitlines()
    return lines[0] if lines else type(exc).__name__


def _partial(job: Job) -> Path:
    return job.scratch / f"{job.sha256[:16]}.partial"


def _download(remote: Remote, partial: Path, job: Job) -> None:
    """Read the file to its end; a connection that breaks is taken up where it broke.

    It is given up only when a try brings nothing.
    """
    here = _size(partial)
    if here > job.size_bytes:
        partial.unlink()
        here = 0
    job.report(here)
    while here < job.size_bytes:
        try:
            _read_on(remote, partial, job)
        except StoreError:
            job.go_on()
            if _size(partial) <= here:
                raise
        if _size(partial) <= here:
            message = f"{remote.url}: the hub sent less than the {job.size_bytes} bytes it promised"
            raise StoreError(message)
        here = _size(partial)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _read_on(remote: Remote, partial: Path, job: Job) -> None:
    """Ask for the bytes after those that are here, and append them."""
    hub = _library()
    here = _size(partial)
    headers = {**hub.utils.build_hf_headers(), "Accept-Encoding": "identity"}
    if here:
        headers["Range"] = f"bytes={here}-"
    with (
        _translated(remote.url),
        hub.get_session().stream(
            "GET", remote.url, headers=headers, follow_redirects=True, timeout=_READ_TIMEOUT_S
        ) as response,
    ):
        hub.utils.hf_raise_for_status(response)
        resumed = response.status_code == HTTPStatus.PARTIAL_CONTENT
        if here and not resumed:
            job.report(-here)
        with partial.open("ab" if resumed else "wb") as out:
            # As they come, not gathered into blocks: a gathered rest is lost when the line breaks.
            for block in response.iter_bytes():
                out.write(block)
                job.report(len(block))
                job.go_on()
