"""A fake OpenAI-compatible server on loopback, for fault tests, end-to-end tests and benches.

It speaks chat and text completions (whole and streamed, with tools, log-probabilities, JSON
schemas, reasoning and usage), embeddings, ``/v1/models`` and ``/health``; it counts requests and
notices at once when a client leaves. The model's name says what it does:

    fault:<name>[-once]   commits a fault, see ``metabolic.testing.faultnames``
    say:<text>            answers ``text``
    doubt:<anything>      answers with the log-probability -3 per token (else -0.05)
    slow:<ms>[#…]         waits so many milliseconds before each token
    reason…               thinks before it answers
    anything else         answers ``TEXT``, or what ``answers`` has for it

``python -m metabolic.testing.fakeserver --port 9000`` runs it alone; ``GET /seen`` then tells how
often each model was asked, and who left. With ``--well`` it commits no faults: a healthy replica.
"""

__all__ = ["FakeServer", "Gone", "Seen", "main", "serve_in_thread"]

import argparse
import asyncio
import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import Any, Self, cast

import httptools
import msgspec
from msgspec import Struct

from metabolic.testing import fakeanswers, faultnames, faults
from metabolic.testing.fakedialect import Dialect, Seen


class Gone(Struct, frozen=True, kw_only=True):
    """A client that left before its answer was whole; ``at_s`` is monotonic time."""

    at_s: float
    model: str


class FakeServer(Dialect):
    """The server; use it as ``async with FakeServer() as server`` and read ``server.base_url``.

    ``seen`` are all requests, ``gone`` all clients that left too early, ``accepted`` counts
    connections and ``sent_bytes`` what was written.
    """

    def __init__(
        self,
        *,
        answers: Mapping[str, str] | None = None,
        api_key: str | None = None,
        models: tuple[str, ...] = ("fake",),
        tls: ssl.SSLContext | None = None,
        well: bool = False,
    ) -> None:
        """Prepare; with ``api_key`` a request without it is answered 401; ``well``: no faults."""
        super().__init__(answers=answers, api_key=api_key, models=models)
        self.seen: list[Seen] = []
        self.gone: list[Gone] = []
        self.accepted = 0
        self.sent_bytes = 0
        self.port = 0
        self.well = well
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._lines: set[_Line] = set()
        self._leaving = asyncio.Event()
        self._coming = asyncio.Event()

    @property
    def base_url(self) -> str:
        """Return the address clients take as OpenAI's ``base_url``."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/v1"

    @property
    def open_connections(self) -> int:
        """Return how many connections are open now."""
        return len(self._lines)

    def count(self, model: str) -> int:
        """Return how many requests named this model."""
        return sum(1 for seen in self.seen if seen.model == model)

    async def start(self, *, port: int = 0) -> None:
        """Listen on loopback; port 0 takes a free one."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Line(self, self._lines), "127.0.0.1", port, ssl=self._tls, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        if self._server is not None:
            self._server.close()
        for line in tuple(self._lines):
            line.close()

    def traces(self) -> bytes:
        """Return as JSON how often each model was asked, and every client that left too early."""
        counts: dict[str, int] = {}
        for one in self.seen:
            counts[one.model] = counts.get(one.model, 0) + 1
        return msgspec.json.encode({"asked": counts, "gone": self.gone})

    async def came(self, number: int = 1) -> Seen:
        """Wait until the ``number``-th request is in, and return it."""
        while len(self.seen) < number:
            self._coming.clear()
            await self._coming.wait()
        return self.seen[number - 1]

    def note(self, what: Seen | Gone) -> None:
        """Keep a trace; connections call this."""
        if isinstance(what, Seen):
            self.seen.append(what)
            self._coming.set()
        else:
            self.gone.append(what)
            self._leaving.set()

    async def __aenter__(self) -> Self:
        """Start on a free port."""
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close."""
        await self.close()

    async def left(self, number: int = 1) -> Gone:
        """Wait until the ``number``-th client has left too early, and return its trace."""
        while len(self.gone) < number:
            self._leaving.clear()
            await self._leaving.wait()
        return self.gone[number - 1]


class _Line(asyncio.Protocol):
    """One connection: parses requests, answers one after another."""

    def __init__(self, server: FakeServer, lines: "set[_Line]") -> None:
        self._server = server
        self._lines = lines
        self._parser = httptools.HttpRequestParser(self)
        self._path = b""
        self._headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []
        self._task: asyncio.Task[None] | None = None
        self._model = ""
        self._room = asyncio.Event()
        self._room.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._server.accepted += 1
        self._lines.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._lines.discard(self)
        if self._task is not None and not self._task.done():
            self._task.cancel()
            self._server.note(Gone(at_s=time.monotonic(), model=self._model))

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    # What the parser calls.

    def on_message_begin(self) -> None:
        self._path, self._headers, self._body = b"", [], []

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode().lower(), value.decode()))

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        method = self._parser.get_method().decode()
        seen = Seen(
            at_s=time.monotonic(),
            method=method,
            path=self._path.decode(),
            headers=tuple(self._headers),
            body=b"".join(self._body),
        )
        if method == "GET":
            self._server.note(seen)
            self._get(seen.path)
            return
        self._post(seen)

    # What a fault may do.

    def send(self, data: bytes) -> None:
        self._server.sent_bytes += len(data)
        self._transport.write(data)

    async def drained(self) -> None:
        await self._room.wait()

    def reset(self) -> None:
        linger = struct.pack("ii", 1, 0)
        self._transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, linger
        )
        self._transport.abort()

    def close(self) -> None:
        self._transport.close()

    # Answers.

    def _json(self, status: int, body: bytes) -> None:
        self.send(faults.head(status, length=len(body)) + body)

    def _error(self, status: int, message: str) -> None:
        self._json(status, self._server.error_body(status, message))

    def _get(self, path: str) -> None:
        found = (200, self._server.traces()) if path == "/seen" else self._server.page(path)
        status, body = found or (404, b"")
        if body:
            self._json(status, body)
        else:
            self._error(404, "no such path")

    def _post(self, seen: Seen) -> None:
        try:
            ask = msgspec.json.decode(seen.body, type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self._server.note(seen)
            self._error(400, "not a JSON object")
            return
        server = self._server
        self._model = server.model_of(ask, seen)
        server.note(msgspec.structs.replace(seen, model=self._model))
        kind = server.kind_of(seen.path)
        if not server.admits(seen):
            self._error(401, f"Incorrect API key provided: {seen.header('authorization')}")
        elif kind is None:
            self._error(404, "no such path")
        else:
            self._answer(ask, kind)

    def _answer(self, ask: dict[str, Any], kind: str) -> None:
        fault = self._fault()
        wait_s = self._wait_s()
        scene = self._server.scene(ask, kind, model=self._model)
        turn = self._server.turn(ask, scene)
        if fault is not None:
            self._run(fault(self, scene))
        elif turn is not None:
            self._run(turn(self))
        elif not scene.streamed and not wait_s:
            self._json(200, scene.body)
        else:
            self._run(self._healthy(scene, wait_s))

    def _run(self, work: Awaitable[None]) -> None:
        self._task = asyncio.ensure_future(work)

    def _fault(self) -> faults.Fault | None:
        name = self._model.removeprefix("fault:").partition("#")[0]
        if self._server.well or not self._model.startswith("fault:"):
            return None
        name, times = faultnames.times(name)
        if times is not None and self._server.count(self._model) > times:
            return None
        return faultnames.find(name)

    def _wait_s(self) -> float:
        word, _, number = self._model.partition("#")[0].partition(":")
        return float(number) / 1000 if word == "slow" else 0.0

    async def _healthy(self, scene: faults.Scene, wait_s: float) -> None:
        if not scene.streamed:
            await asyncio.sleep(wait_s * len(fakeanswers.TEXT.split()))
            self._json(200, scene.body)
            return
        if not wait_s:
            await faults.streamed(scene.events)(self, scene)
            return
        await faults.paced(wait_s)(self, scene)


@contextlib.contextmanager
def serve_in_thread(
    make: Callable[[], FakeServer] = FakeServer,
) -> Generator[FakeServer, None, None]:
    """Run a server in its own thread and loop, for tests that are not async."""
    ready = threading.Event()
    box: list[tuple[FakeServer, asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def run() -> None:
        stop = asyncio.Event()
        async with make() as server:
            box.append((server, asyncio.get_running_loop(), stop))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    ready.wait()
    server, loop, stop = box[0]
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


def main() -> None:
    """Run the server until interrupted; print its address when it listens."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--well", action="store_true", help="commit no faults")
    given = parser.parse_args()
    port, well = cast("int", given.port), cast("bool", given.well)

    async def run() -> None:
        server = FakeServer(well=well)
        await server.start(port=port)
        print(server.base_url, flush=True)  # noqa: T201
        await asyncio.Event().wait()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run())


if __name__ == "__main__":
    main()
