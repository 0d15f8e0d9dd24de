"""A gateway in its own process, asked over a real connection, and what came back."""

__all__ = ["KNOWN_TEXT", "MODES", "Answer", "Gateway", "Gone", "Traces", "asked", "verdict"]

import asyncio
import re
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec
from msgspec import Struct

from metabolic.bench.processes import Child

MODES = ("whole", "held", "stream")
"""An answer in one piece, a stream that is checked before it leaves, and one passed on."""

KNOWN_TEXT = " ".join(f"word{number:02d}" for number in range(1, 61))
"""What the fake upstream answers when it is healthy."""

_STATE = re.compile(
    r'^metabolic_deployment_state{deployment="([^"]+)",state="([^"]+)"} 1\.0$', re.MULTILINE
)
_LIMIT_S = 90.0
_START_S = 60.0
_OK = 200


class Answer(Struct, frozen=True, kw_only=True):
    """What the client saw. ``ended``: properly; ``error``: told so; ``None`` status: cut off."""

    status: int | None
    text: str = ""
    finish: str | None = None
    ended: bool = False
    error: bool = False
    seconds: float = 0.0
    id: str = ""


class Gone(Struct, frozen=True):
    """A client the upstream saw leave too early; ``at_s`` is monotonic time."""

    at_s: float
    model: str


class Traces(Struct, frozen=True):
    """What the fake upstream saw."""

    asked: dict[str, int] = {}
    gone: tuple[Gone, ...] = ()


def verdict(answer: Answer, *, text: str = KNOWN_TEXT) -> str:
    """Return ``pass``, ``safe`` or ``fail``; ``text`` is what a whole answer says.

    >>> verdict(Answer(status=200, text="word01", finish="stop", ended=True))
    'fail'
    """
    told = answer.error or (answer.status is not None and answer.status != _OK)
    if told:
        return "fail" if answer.ended and answer.status == _OK else "safe"
    if answer.status != _OK or not answer.ended or answer.text != text:
        return "fail"
    return "safe" if answer.finish == "content_filter" else "pass"


class Gateway:
    """``metabolic serve`` on a configuration; use it as an async context manager."""

    def __init__(self, folder: Path, config: str) -> None:
        """Write the configuration down; ``[server] port`` must be in it."""
        self._path = folder / "metabolic.toml"
        self._path.write_text(config, encoding="utf-8")
        port = next(line for line in config.splitlines() if line.startswith("port = "))
        self._url = f"http://127.0.0.1:{port.removeprefix('port = ')}"
        self._log = folder / "gateway.log"

    async def __aenter__(self) -> Self:
        """Start it and wait until it is ready."""
        self.child = Child(
            "metabolic", "serve", "--config", str(self._path), core=None, log=self._log
        )
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        end_s = time.monotonic() + _START_S
        while not await self._ready():
            if time.monotonic() > end_s or not self.child.alive():
                message = f"the gateway did not become ready: {self.child.last_words()}"
                await self.__aexit__(None, None, None)
                raise RuntimeError(message)
            await asyncio.sleep(0.02)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it."""
        await self._session.close()
        self.child.stop()

    async def _ready(self) -> bool:
        """Say whether it can answer."""
        try:
            async with self._session.get(f"{self._url}/ready") as reply:
                return reply.status == _OK
        except aiohttp.ClientError:
            return False

    async def states(self) -> dict[str, str]:
        """Return where each deployment stands, as the metrics say."""
        async with self._session.get(f"{self._url}/metrics") as reply:
            return dict(_STATE.findall(await reply.text()))

    async def ask(self, model: str, *, mode: str, max_tokens: int = 64) -> Answer:
        """Ask once, and return what the client saw; never raises."""
        began_s = time.monotonic()
        try:
            async with asyncio.timeout(_LIMIT_S), self._post(model, mode, max_tokens) as reply:
                identity = reply.headers.get("metabolic-decision", "")
                stream = reply.headers.get("content-type", "").startswith("text/event-stream")
                read = _events(await reply.read()) if stream else _body(await reply.read())
                answer = msgspec.structs.replace(read, status=reply.status, id=identity)
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError):
            answer = Answer(status=None)
        return msgspec.structs.replace(answer, seconds=time.monotonic() - began_s)

    async def leave(self, model: str, *, stream: bool) -> float:
        """Ask, leave in the middle of the answer, and return when (monotonic seconds)."""
        if stream:
            async with self._post(model, "stream", 64) as reply:
                await reply.content.readany()
                at_s = time.monotonic()
                reply.close()
            return at_s
        task = asyncio.create_task(self.ask(model, mode="whole"))
        await asyncio.sleep(0.1)
        at_s = time.monotonic()
        task.cancel()
        await asyncio.wait({task})
        return at_s

    async def billed(self, identity: str) -> int | None:
        """Return how many attempts are on the receipt; ``None`` without one."""
        if not identity:
            return None
        async with self._session.get(f"{self._url}/v1/receipts/{identity}") as reply:
            told: dict[str, Any] = await reply.json() if reply.status == _OK else {}
        return len(told["attempts"]) if "attempts" in told else None

    def _post(self, model: str, mode: str, max_tokens: int) -> Any:  # noqa: ANN401 - aiohttp's own
        """Return the request."""
        body = {
            "model": model,
            "messages": [{"role": "user", "content": "Count to sixty, please."}],
            "max_tokens": max_tokens,
            "temperature": 0,
            "seed": 1,
            "stream": mode != "whole",
        }
        headers = {"metabolic-delivery": "stream" if mode == "stream" else "hold"}
        return self._session.post(f"{self._url}/v1/chat/completions", json=body, headers=headers)


async def asked(base_url: str) -> Traces:
    """Return what the fake upstream saw so far."""
    url = base_url.removesuffix("/v1") + "/seen"
    async with aiohttp.ClientSession() as session, session.get(url) as reply:
        return msgspec.json.decode(await reply.read(), type=Traces)


class _Said(Struct, frozen=True):
    content: str | None = None


class _Choice(Struct, frozen=True):
    message: _Said = _Said()
    delta: _Said = _Said()
    finish_reason: str | None = None


class _Told(Struct, frozen=True):
    choices: tuple[_Choice, ...] = ()
    error: object = None


def _body(body: bytes) -> Answer:
    """Read a whole answer."""
    told = msgspec.json.decode(body, type=_Told)
    if not told.choices:
        return Answer(status=None, error=told.error is not None)
    choice = told.choices[0]
    text = choice.message.content or ""
    return Answer(status=None, text=text, finish=choice.finish_reason, ended=True)


def _events(body: bytes) -> Answer:
    """Read a streamed answer."""
    text, finish = "", None
    error = ended = False
    for line in body.split(b"\n"):
        data = line.removeprefix(b"data:").strip()
        if not line.startswith(b"data:") or not data:
            continue
        if data == b"[DONE]":
            ended = True
            continue
        event = msgspec.json.decode(data, type=_Told)
        error = error or event.error is not None
        for choice in event.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
    return Answer(status=None, text=text, finish=finish, ended=ended, error=error)
