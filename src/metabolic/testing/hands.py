"""What every hand must do, as a suite that its author runs; and fakes of what hands talk to.

``await check_hand(lambda: create(options, endpoint=endpoint))`` on an engine that is awake.
"""

__all__ = ["FakeControl", "check_hand"]

import asyncio
import json
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import parse_qs, urlsplit

from metabolic.core.fleet import Endpoint, State


class _Engine(Protocol):
    """An engine with a hand."""

    deployment: str
    load_s: float | None
    reason: str | None

    @property
    def state(self) -> State: ...
    @property
    def endpoint(self) -> Endpoint | None: ...
    async def look(self) -> State: ...
    async def start(self) -> Endpoint: ...
    async def sleep(self) -> None: ...
    async def stop(self) -> None: ...


async def check_hand(make: Callable[[], _Engine]) -> None:
    """Lead an engine that is awake through sleep and waking; ``make`` returns a new hand on it.

    Raises:
        AssertionError: it does not keep the contract; the message says which part.
    """
    engine = make()
    _require(engine.state == "stopped", "before it was looked at it must be stopped")
    _require(engine.endpoint is None, "and have no endpoint")
    _require(await engine.look() == "warm", "a look must find it awake")
    endpoint = await engine.start()
    _require(engine.load_s is None, "a start that found it awake must not be timed as waking")
    await engine.sleep()
    _require(engine.state == "asleep", "after sleep it must be asleep")
    _require(engine.endpoint is None, "and have no endpoint")
    await engine.sleep()
    other = make()
    _require(await other.look() == "asleep", "another hand must see it asleep")
    first, second = await asyncio.gather(engine.start(), engine.start())
    _require(first == second == endpoint, "concurrent starts must share one, to the same endpoint")
    _require(engine.state == "warm", "after waking it must be warm")
    _require(engine.load_s is not None, "waking must be timed")
    _require(await other.look() == "warm", "another hand must see that it woke")
    await other.sleep()
    _require(await engine.look() == "asleep", "what others put to sleep must be seen")
    await engine.start()
    await engine.stop()
    _require(engine.state == "stopped", "after stop it must be stopped")
    _require(await other.look() == "warm", "stop only lets go: the engine goes on")


class FakeControl:
    """The control planes of a vLLM, a llama-swap and an Ollama at one loopback address.

    ``awake`` is shared by all three; ``asked`` are the requests so far. ``sleepless`` answers
    vLLM's with 404 and ``old`` llama-swap's by name; ``broken`` answers everything with 500.
    """

    def __init__(self, *, model: str = "m") -> None:
        """Begin awake, with no other model loaded."""
        self.model, self.awake, self.others = model, True, list[str]()
        self.asked: list[str] = []
        self.sleepless = self.old = self.broken = False
        self._server: asyncio.Server | None = None
        self.base_url = ""

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.base_url = f"http://127.0.0.1:{port}/v1"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.split("\r\n")[0].split(" ")
        lines = (line.partition(":") for line in head.lower().split("\r\n"))
        length = next((int(value) for name, _, value in lines if name == "content-length"), 0)
        content = await reader.readexactly(length)
        body: dict[str, object] = json.loads(content) if content else {}
        self.asked.append(f"{method} {target}")
        status, answer = self._answer(method, target, body)
        content = json.dumps(answer).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(content)}\r\nConnection: close"
        writer.write(f"{head}\r\n\r\n".encode() + content)
        await writer.drain()
        writer.close()

    def _answer(self, method: str, target: str, body: dict[str, object]) -> tuple[int, object]:
        """Return status and body."""
        parts = urlsplit(target)
        if self.broken:
            return 500, {}
        if parts.path in {"/sleep", "/wake_up", "/is_sleeping"}:
            return self._vllm(parts.path, method, parse_qs(parts.query))
        if parts.path == "/running":
            up = [*self.others, *([self.model] if self.awake else [])]
            return 200, {"running": [{"model": one, "state": "ready"} for one in up]}
        if parts.path == f"/upstream/{self.model}/health":
            self.awake = True
            return 200, {"status": "ok"}
        if parts.path == f"/api/models/unload/{self.model}" and not self.old and method == "POST":
            self.awake = False
            return 200, {}
        if parts.path == "/unload":
            self.awake = False
            return 200, {}
        return self._ollama(parts.path, body)

    def _vllm(self, path: str, method: str, query: dict[str, list[str]]) -> tuple[int, object]:
        """Answer as a vLLM in development mode does."""
        if self.sleepless:
            return 404, {"detail": "Not Found"}
        if path == "/is_sleeping":
            return 200, {"is_sleeping": not self.awake}
        if method != "POST" or (path == "/sleep" and query.get("level") not in (["1"], ["2"])):
            return 405, {}
        self.awake = path == "/wake_up"
        return 200, None

    def _ollama(self, path: str, body: dict[str, object]) -> tuple[int, object]:
        """Answer as an Ollama does."""
        if path == "/api/ps":
            return 200, {"models": [{"name": f"{self.model}:latest"}] if self.awake else []}
        if path == "/api/generate" and body.get("model") == self.model:
            self.awake = body.get("keep_alive") != 0
            return 200, {"done": True}
        return 404, {}


def _require(claim: object, message: str) -> None:
    """Raise ``AssertionError`` with ``message`` unless ``claim`` holds."""
    if not claim:
        raise AssertionError(message)
