"""``Idempotency-Key``: a request that is sent again is answered once, and paid for once.

A key belongs to a tenant and to the very bytes of its request. While the first is being answered,
a repeat waits; afterwards it gets the same bytes, for as long as they are kept. Only whole answers
with status 200 are kept: what failed, or was left by its client, is tried anew. Memory is bounded;
the oldest answers go first.

Source: the IETF's draft "The Idempotency-Key HTTP Header Field", section 2.
"""

__all__ = ["BadKey", "KeyReused", "Repeats"]

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from hashlib import blake2b
from typing import Any

from metabolic.core.errors import RequestError
from metabolic.core.request import Request
from metabolic.gateway.body import Watch
from metabolic.gateway.exchange import Exchange
from metabolic.gateway.seam import Send

_MOST_KEY_BYTES = 255
_MOST_ANSWER_BYTES = 4 * 1024 * 1024
_MOST_BYTES = 64 * 1024 * 1024
_OK = 200

_Message = MutableMapping[str, Any]


class KeyReused(RequestError):
    """The key came with another request before."""

    status = 422
    code = "idempotency_key_reused"


class BadKey(RequestError):
    """The key is no key."""

    status = 400
    code = "invalid_idempotency_key"


class _Slot:
    """One key: the request it belongs to, and its answer once there is one."""

    __slots__ = ("at_s", "digest", "done", "messages", "size_bytes")

    def __init__(self, digest: bytes) -> None:
        self.digest = digest
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.messages: list[_Message] | None = None
        self.size_bytes, self.at_s = 0, 0.0


class Repeats:
    """The keys of late, and their answers."""

    def __init__(
        self, kept_s: float, *, clock: Callable[[], float] = time.monotonic, most: int = _MOST_BYTES
    ) -> None:
        """Keep answers for ``kept_s`` seconds and at most ``most`` bytes of them."""
        self._kept_s, self._clock, self._most = kept_s, clock, most
        self._slots: OrderedDict[tuple[str | None, bytes], _Slot] = OrderedDict()
        self._bytes = 0
        self.repeated = 0

    async def serve(
        self,
        exchange: Exchange,
        request: Request,
        tenant: str | None,
        answer: Callable[[], Awaitable[None]],
    ) -> None:
        """Answer by ``answer``, or with what it once gave to the same request.

        Raises:
            BadKey: the header's value is empty or longer than 255 bytes.
            KeyReused: the key belongs to another request.
        """
        key = exchange.headers[b"idempotency-key"]
        if not 0 < len(key) <= _MOST_KEY_BYTES:
            message = f"Idempotency-Key must have 1 to {_MOST_KEY_BYTES} bytes, not {len(key)}."
            raise BadKey(message)
        name, digest = (tenant, key), _digest(exchange, request)
        while (slot := self._find(name, digest)) is not None:
            if slot.messages is None and not await _waited(slot, exchange):
                return  # the client has left
            if slot.messages is not None:
                self.repeated += 1
                await _again(exchange, slot.messages)
                return
        await self._first(exchange, name, _Slot(digest), answer)

    def _find(self, name: tuple[str | None, bytes], digest: bytes) -> _Slot | None:
        """Return the slot of a key, if it is known. Raises ``KeyReused``."""
        self._forget()
        slot = self._slots.get(name)
        if slot is not None and slot.digest != digest:
            message = "This Idempotency-Key was sent with a different request before."
            raise KeyReused(message)
        return slot

    async def _first(
        self,
        exchange: Exchange,
        name: tuple[str | None, bytes],
        slot: _Slot,
        answer: Callable[[], Awaitable[None]],
    ) -> None:
        """Answer, and keep what was sent if it is a whole answer."""
        self._slots[name] = slot
        recorder = _Recorder(exchange.send)
        exchange.send, exchange.wire = recorder.send, None
        try:
            await answer()
        finally:
            if recorder.whole:
                slot.messages, slot.size_bytes = recorder.messages, recorder.size_bytes
                slot.at_s = self._clock()
                self._bytes += slot.size_bytes
                self._slots.move_to_end(name)
            else:
                del self._slots[name]
            slot.done.set_result(None)

    def _forget(self) -> None:
        """Drop answers that are too old, or too many; those under way stay."""
        oldest_s = self._clock() - self._kept_s
        old = [
            (name, slot)
            for name, slot in self._slots.items()
            if slot.messages is not None and slot.at_s <= oldest_s
        ]
        rest = iter([(n, s) for n, s in self._slots.items() if s.messages is not None])
        for name, slot in old:
            self._drop(name, slot)
        for name, slot in rest:
            if self._bytes <= self._most:
                break
            if name in self._slots:
                self._drop(name, slot)

    def _drop(self, name: tuple[str | None, bytes], slot: _Slot) -> None:
        """Forget one answer."""
        del self._slots[name]
        self._bytes -= slot.size_bytes


class _Recorder:
    """Passes messages on and keeps them."""

    __slots__ = ("_send", "_status", "ended", "messages", "size_bytes")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.messages: list[_Message] = []
        self.size_bytes, self._status, self.ended = 0, 0, False

    async def send(self, message: _Message) -> None:
        """Pass one message on."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
        else:
            self.size_bytes += len(message.get("body", b""))
            self.ended = not message.get("more_body", False)
        if self.size_bytes > _MOST_ANSWER_BYTES:
            self.messages = []
        else:
            self.messages.append(message)
        await self._send(message)

    @property
    def whole(self) -> bool:
        """Say whether it is an answer to keep: all of it, and no error at its end."""
        fits = 0 < self.size_bytes <= _MOST_ANSWER_BYTES
        return self._status == _OK and self.ended and fits and not self._broken()

    def _broken(self) -> bool:
        """Say whether a stream told of an error in band."""
        last = b"".join([one.get("body", b"") for one in self.messages[-3:]])
        return b'data: {"error"' in last or b"event: error" in last


def _digest(exchange: Exchange, request: Request) -> bytes:
    """Return what tells one request from another: where it goes, and its bytes."""
    body = request.native.body if request.native is not None else request.body
    return blake2b(exchange.path.encode() + b"\0" + body, digest_size=16).digest()


async def _waited(slot: _Slot, exchange: Exchange) -> bool:
    """Wait for the first request's end; ``False``: the client left before."""
    watch = Watch(exchange.receive, exchange.wire)
    try:
        await asyncio.wait({slot.done, watch.gone}, return_when=asyncio.FIRST_COMPLETED)
        return slot.done.done()
    finally:
        watch.close()


async def _again(exchange: Exchange, messages: list[_Message]) -> None:
    """Send an answer once more; a header says so."""
    exchange.begun = True
    for message in messages:
        told = message
        if message["type"] == "http.response.start":
            headers = [*message["headers"], (b"idempotent-replayed", b"true")]
            told = {**message, "headers": headers}
        await exchange.send(told)
