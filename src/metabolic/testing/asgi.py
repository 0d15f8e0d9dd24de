"""Speaks ASGI to an application as a server would: for tests of the gateway without a socket."""

__all__ = ["ASGI", "Answered", "Client"]

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

Message = MutableMapping[str, Any]
ASGI = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]
"""An ASGI application. Source: ASGI specification 3.0, "Applications"."""


@dataclass
class Answered:
    """What the application sent: ``pieces`` as they came, ``whole`` when the answer ended."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict[str, str])
    pieces: list[bytes] = field(default_factory=list[bytes])
    whole: bool = False

    @property
    def body(self) -> bytes:
        """Return all pieces as one."""
        return b"".join(self.pieces)

    @property
    def json(self) -> Any:  # noqa: ANN401 - JSON is anything
        """Return the body, decoded."""
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """Return OpenAI's error object."""
        return self.json["error"]


@dataclass
class Client:
    """One client of an ASGI application; ``sent`` is set when anything has been sent to it."""

    app: ASGI
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    sent: asyncio.Event = field(default_factory=asyncio.Event)
    answered: Answered = field(default_factory=Answered)
    _pieces: list[bytes] = field(default_factory=list[bytes])

    def leave(self) -> None:
        """Close the connection."""
        self.leaving.set()

    async def get(self, path: str, **headers: str) -> Answered:
        """Read a path."""
        return await self.request("GET", path, headers=headers)

    async def chat(self, headers: Mapping[str, str] | None = None, **body: object) -> Answered:
        """Ask for a chat completion; ``body`` is laid over the smallest valid one."""
        whole = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}]} | body
        raw = json.dumps(whole).encode()
        return await self.request("POST", "/v1/chat/completions", raw, headers=headers or {})

    async def request(
        self,
        method: str,
        path: str,
        *body: bytes,
        headers: Mapping[str, str] | None = None,
    ) -> Answered:
        """Send a request, its body in the given pieces; a header ``a_b`` is sent as ``a-b``."""
        fields = {
            name.replace("_", "-").lower().encode(): value.encode("latin-1")
            for name, value in (headers or {}).items()
        }
        if len(body) == 1:
            fields.setdefault(b"content-length", str(len(body[0])).encode())
        scope = {"type": "http", "method": method, "path": path, "headers": list(fields.items())}
        self._pieces = list(body) or [b""]
        await self.app(scope, self._receive, self._send)
        return self.answered

    async def _receive(self) -> dict[str, Any]:
        """Give the body piece by piece, and then wait until the client leaves."""
        if self._pieces:
            piece = self._pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(self._pieces)}
        await self.leaving.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        """Keep what the application says."""
        if message["type"] == "http.response.start":
            self.answered.status = message["status"]
            self.answered.headers = {k.decode(): v.decode() for k, v in message["headers"]}
        else:
            self.answered.pieces.append(message["body"])
            self.answered.whole = not message.get("more_body", False)
        self.sent.set()
