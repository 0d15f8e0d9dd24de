"""The client's bytes: read up to a limit, and watched to the end."""

__all__ = ["ClientLeft", "Encoded", "SlowBody", "Watch", "discard", "read_body"]

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

from metabolic.core.errors import RequestError, TooLarge
from metabolic.gateway.seam import Receive, Wire

_BODY_TIMEOUT_S = 30.0
"""A body that takes longer than this to arrive is a stalled or hostile client."""

_DISCARD_BYTES = 64 * 1024 * 1024
_DISCARD_S = 2.0
"""How much of a refused body is read away, so that the client gets to see the refusal."""


class ClientLeft(Exception):
    """The client closed the connection before its request was whole."""


class SlowBody(RequestError):
    """The body did not arrive in time."""

    status = 408
    code = "request_timeout"


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], *, limit: int) -> bytes:
    """Return the whole body, of at most ``limit`` bytes.

    Raises:
        TooLarge: announced or sent more; nothing is parsed.
        RequestError: encoded (compressed) bodies are not accepted (415).
        SlowBody: it did not arrive within 30 s.
        ClientLeft: the connection closed.
    """
    _refuse_announced(headers, limit)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientLeft
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        if len(body) > limit:
            raise _too_large(limit)
        return body
    try:
        async with asyncio.timeout(_BODY_TIMEOUT_S):
            return await _read_on(receive, body, limit)
    except TimeoutError as exc:
        text = f"The body did not arrive within {_BODY_TIMEOUT_S:g} s."
        raise SlowBody(text) from exc


async def _read_on(receive: Receive, body: bytes, limit: int) -> bytes:
    """Read the rest of a body that comes in pieces."""
    pieces, size, more = [body], len(body), True
    while more:
        if size > limit:
            raise _too_large(limit)
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        more = message.get("more_body", False)
    if size > limit:
        raise _too_large(limit)
    return b"".join(pieces)


async def discard(receive: Receive) -> None:
    """Read a refused body away for a moment; stops when it ends or the client leaves."""
    size = 0
    try:
        async with asyncio.timeout(_DISCARD_S):
            while size < _DISCARD_BYTES:
                message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
                size += len(message.get("body", b""))
    except TimeoutError:
        return


class Watch:
    """Notices that the client has left, from the end of its request to the end of the answer.

    Servers drop what is sent to a client that is gone without a word, so only ``receive`` says
    so, or the wire where there is one. ``gone`` is resolved at once when it does.
    """

    __slots__ = ("_waiting", "_wire", "gone")

    def __init__(self, receive: Receive, wire: Wire | None = None) -> None:
        """Begin to watch."""
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._wire = wire
        if wire is not None:
            self._waiting = None
            wire.watch(self.gone)
            return
        self._waiting: Coroutine[Any, None, None] | None = _wait(receive, self.gone)
        self._step()

    def close(self) -> None:
        """Stop watching; the answer is over."""
        if self._wire is not None:
            self._wire.watch(None)
        if self._waiting is not None:
            self._waiting.close()
            self._waiting = None

    def _step(self, _: object = None) -> None:
        """Run the coroutine up to the next future it waits for, and come back after that.

        What ``asyncio.Task`` does, without one: a task for each request, begun and cancelled,
        costs three times as much.
        """
        if self._waiting is None:
            return
        try:
            awaited = self._waiting.send(None)
        except StopIteration:
            self._waiting = None
            return
        if awaited is None:  # a bare yield: only a turn of the loop
            asyncio.get_running_loop().call_soon(self._step)
            return
        awaited._asyncio_future_blocking = False  # noqa: SLF001 - as a task does, to say it has it
        awaited.add_done_callback(self._step)


async def _wait(receive: Receive, gone: asyncio.Future[None]) -> None:
    """Resolve ``gone`` when the client disconnects."""
    while (await receive())["type"] != "http.disconnect":
        pass
    if not gone.done():
        gone.set_result(None)


def _refuse_announced(headers: Mapping[bytes, bytes], limit: int) -> None:
    """Refuse by headers alone."""
    length = headers.get(b"content-length")
    if length is not None and int(length) > limit:  # digits only: the HTTP parser saw to it
        raise _too_large(limit)
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise Encoded


class Encoded(RequestError):
    """The body is compressed, which is not accepted."""

    status = 415
    code = "unsupported_content_encoding"

    def __init__(self) -> None:
        """Say what is accepted."""
        super().__init__("Compressed request bodies are not accepted: send the JSON as it is.")


def _too_large(limit: int) -> TooLarge:
    """Return the refusal."""
    return TooLarge(f"The request body is larger than {limit} bytes, the limit of this gateway.")
