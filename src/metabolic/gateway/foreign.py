"""Answers and errors to clients of other dialects than OpenAI's chat: Messages and Responses."""

__all__ = ["body_of", "error_of", "stream_for"]

import time
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Protocol

import msgspec

from metabolic.core.request import Native, Request
from metabolic.edge import Dialect
from metabolic.edge.messages_answer import error_json, message_of
from metabolic.edge.messages_stream import PING, MessageEvents
from metabolic.edge.responses_answer import response_of
from metabolic.edge.responses_stream import ResponseEvents
from metabolic.gateway.reply import Response
from metabolic.gateway.seam import Send
from metabolic.gateway.stream import EventStream


class _Events(Protocol):
    """What turns the upstream's events into those of a dialect."""

    def feed(self, events: bytes) -> bytes:
        """Return the events that follow."""
        ...

    def finish(self, meta: bytes) -> bytes:
        """End a whole answer."""
        ...

    def fail(self, event: bytes) -> bytes:
        """End an answer that broke off."""
        ...


class _Stream(EventStream):
    """A streamed answer in another dialect."""

    __slots__ = ("_events",)

    def __init__(self, send: Send, *, events: _Events, **rest: Any) -> None:  # noqa: ANN401
        """``events`` says it in the dialect; the rest is ``EventStream``'s."""
        super().__init__(send, **rest)
        self._events = events

    async def write(self, events: bytes) -> None:
        """Pass on what follows from whole events."""
        passed = self._events.feed(events)
        if passed:
            await self._pass(passed)

    async def finish(self, summary: bytes) -> None:
        """End a whole answer, with ``summary`` in its last words."""
        await self._end(self._events.finish(summary))

    async def fail(self, event: bytes) -> None:
        """End an answer that broke off as its dialect does."""
        await self._end(self._events.fail(event))


class _Messages(_Stream):
    """Anthropic's: kept alive by pings."""

    __slots__ = ()
    keep_alive: ClassVar[bytes] = PING


def stream_for(request: Request, native: Native) -> Callable[..., EventStream]:
    """Return what makes the stream of a request; its arguments are those of ``EventStream``."""
    events: _Events
    kind: type[_Stream]
    if native.dialect == "messages":
        kind, events = _Messages, MessageEvents(identity=request.id, model=request.model)
    else:
        created_s = int(time.time())
        kind = _Stream
        events = ResponseEvents(native.body, identity=request.id, created_s=created_s)
    return partial(kind, events=events)


def body_of(request: Request, native: Native, body: bytes) -> bytes:
    """Return a whole answer in the client's dialect."""
    if native.dialect == "messages":
        return message_of(body, identity=request.id)
    return response_of(body, asked=native.body, identity=request.id, created_s=int(time.time()))


def error_of(response: Response, dialect: Dialect, identity: str) -> Response:
    """Return an error as the dialect says it; Responses says it as chat does."""
    if dialect != "messages":
        return response
    body = error_json(response.status, response.body, identity=identity)
    return msgspec.structs.replace(response, body=body)
