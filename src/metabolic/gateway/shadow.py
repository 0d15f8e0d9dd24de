"""Shadow mode on the request path: every request goes on as it is, and its answer back as it comes.

Nothing is parsed before the answer has left. Bytes and headers are passed on but for what belongs
to a single hop (RFC 9110, 7.6.1), what is addressed to Metabolic (``metabolic-…``), and the key
where one is configured. Status, headers and body of the upstream come back the same; a body that
breaks off there breaks off here. A client that leaves closes the upstream's connection.
"""

__all__ = ["ShadowRelay", "back", "onward", "plain", "shadow_of"]

import asyncio
import hashlib
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from metabolic.core.errors import BackendError, MetabolicError
from metabolic.core.relay import Passage, Relay
from metabolic.edge import Dialect
from metabolic.execute.shadow import Heard
from metabolic.gateway.auth import refuse_foreign_origin
from metabolic.gateway.body import ClientLeft, Watch, read_body
from metabolic.gateway.chat import Inference
from metabolic.gateway.exchange import Exchange
from metabolic.gateway.redact import Redactor
from metabolic.gateway.reply import error_response
from metabolic.gateway.seam import Observing, Scope, Serving

_HOP = frozenset(
    {
        b"connection",
        b"content-length",
        b"expect",
        b"host",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_OURS = b"metabolic-"
_BACK = frozenset(_HOP - {b"content-length", b"host"}) | {b"date"}
"""What does not come back; the server writes its own date."""

_DIALECTS: dict[str, Dialect] = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completions",
    "/v1/messages": "messages",
    "/v1/responses": "responses",
}
_KEPT_HERE = ("/v1/feedback", "/v1/receipts/")
_HEARD_BYTES = 4 * 1024 * 1024
"""Of a longer answer nothing is kept."""

_OK = 200
_TENANT_DIGITS = 16
_SESSION_CHARS = 128

Admit = Callable[[Mapping[bytes, bytes]], str | None]


def shadow_of(runtime: Serving, inference: Inference) -> "ShadowRelay | None":
    """Return what passes requests on; ``None`` where they are answered here."""
    relay = runtime.relay() if isinstance(runtime, Observing) else None
    if relay is None or not isinstance(runtime, Observing):
        return None
    table = runtime.config.shadow
    made = ShadowRelay(
        relay,
        offer=runtime.offer,
        admit=inference.admit if inference.keys and table.api_key is not None else None,
        redact=inference.redact,
        limit_bytes=table.body_limit_bytes,
    )
    runtime.relayed(made.counters)
    return made


class ShadowRelay:
    """Passes requests on to one upstream, and tells ``offer`` of those that were answered."""

    def __init__(
        self,
        relay: Relay,
        *,
        offer: Callable[[Heard], None],
        admit: Admit | None,
        redact: Redactor,
        limit_bytes: int,
    ) -> None:
        """``admit`` lets keys in where the upstream's key is ours; else the upstream does that."""
        self._relay, self._offer, self._admit = relay, offer, admit
        self._redact, self._limit = redact, limit_bytes
        self.in_flight = 0
        self.passed = self.broken = self.left = self.unreachable = 0

    def takes(self, path: str) -> bool:
        """Say whether a path is the upstream's to answer."""
        return path.startswith("/v1/") and not path.startswith(_KEPT_HERE)

    def counters(self) -> tuple[tuple[str, float], ...]:
        """Return counts so far, by dotted names."""
        return (
            ("relayed", float(self.passed)),
            ("relay_broken", float(self.broken)),
            ("relay_client_left", float(self.left)),
            ("relay_unreachable", float(self.unreachable)),
        )

    async def serve(self, exchange: Exchange, scope: Scope) -> None:
        """Pass one request on and its answer back."""
        try:
            tenant = self._let_in(exchange)
            body = await self._body(exchange)
        except ClientLeft:
            return
        except MetabolicError as error:
            await exchange.respond(error_response(error, self._redact))
            return
        watch = Watch(exchange.receive, exchange.wire)
        run = _Passing(self, exchange, scope, body, tenant)
        self.in_flight += 1
        watch.gone.add_done_callback(run.leave)
        try:
            await run.go()
        finally:
            run.over = True
            self.in_flight -= 1
            watch.close()

    def _let_in(self, exchange: Exchange) -> str | None:
        """Return the tenant. Raises ``MetabolicError`` for keys we guard, or a foreign page."""
        if self._admit is not None:
            return self._admit(exchange.headers)
        if b"authorization" not in exchange.headers and b"x-api-key" not in exchange.headers:
            refuse_foreign_origin(exchange.headers)
        return None

    async def _body(self, exchange: Exchange) -> bytes:
        """Return the body as it is, encoded or not. Raises ``TooLarge`` or ``ClientLeft``."""
        wire = exchange.wire
        body = wire.take() if wire is not None else None
        if body is not None and len(body) <= self._limit:
            return body
        plain = {k: v for k, v in exchange.headers.items() if k != b"content-encoding"}
        return await read_body(exchange.receive, plain, limit=self._limit)

    async def send(
        self, exchange: Exchange, scope: Scope, headers: tuple[tuple[str, str], ...], body: bytes
    ) -> Passage:
        """Ask the upstream. Raises ``BackendError``."""
        raw: bytes = scope.get("raw_path") or exchange.path.encode()
        path = raw.partition(b"?")[0].decode("latin-1")
        query: bytes = scope.get("query_string", b"")
        if query:
            path = f"{path}?{query.decode('latin-1')}"
        method = "GET" if exchange.method == "HEAD" else exchange.method
        return await self._relay.send(method, path, headers, body)

    def heard(self, one: "_Passing", parts: list[bytes], headers: Mapping[bytes, bytes]) -> None:
        """Offer what was answered to the shadow."""
        exchange, dialect = one.exchange, _DIALECTS.get(one.exchange.path)
        if dialect is None or exchange.method != "POST":
            return
        encoding = headers.get(b"content-encoding", b"identity")
        self._offer(
            Heard(
                id=exchange.id,
                at_s=time.time() - exchange.seconds(),
                dialect=dialect,
                headers=exchange.headers,
                body=one.body,
                answer=lambda: plain(b"".join(parts), encoding),
                seconds=exchange.seconds(),
                tenant=one.tenant or _tenant(exchange.headers),
                session=_session(exchange.headers),
                in_flight=self.in_flight,
            )
        )

    async def refuse(self, exchange: Exchange, error: BackendError) -> None:
        """Say that the upstream gave no answer."""
        self.unreachable += 1
        await exchange.respond(error_response(error, self._redact))


class _Passing:
    """One request on its way."""

    def __init__(
        self, relay: ShadowRelay, exchange: Exchange, scope: Scope, body: bytes, tenant: str | None
    ) -> None:
        self._relay, self._scope = relay, scope
        self.exchange, self.body, self.tenant = exchange, body, tenant
        self._task: asyncio.Task[Any] | None = asyncio.current_task()
        self._left = False
        self.over = False

    def leave(self, _: object) -> None:
        """The client has left: end the await of the upstream, which closes its connection."""
        if not self.over and self._task is not None:
            self._left = True
            self._task.cancel()

    async def go(self) -> None:
        """Ask, and pass back."""
        passage: Passage | None = None
        try:
            headers = onward(self._scope["headers"])
            passage = await self._relay.send(self.exchange, self._scope, headers, self.body)
            await self._back(passage)
        except asyncio.CancelledError:
            if not self._left or self._task is None:
                raise
            self._task.uncancel()
            self._relay.left += 1
        except BackendError as error:
            if self.exchange.begun:
                self._relay.broken += 1
                return  # unfinished: the server closes the connection, and the client sees it
            await self._relay.refuse(self.exchange, error)
        finally:
            if passage is not None:
                passage.close()

    async def _back(self, passage: Passage) -> None:
        """Pass status, headers and body back, and keep the body for the shadow."""
        exchange, wire = self.exchange, self.exchange.wire
        lines = back(passage.headers)
        lines.append((b"metabolic-decision", exchange.id.encode("ascii")))
        exchange.begun = True
        await exchange.send(
            {"type": "http.response.start", "status": passage.status, "headers": lines}
        )
        parts: list[bytes] = []
        size, told, whole = 0, False, _length(passage, exchange)
        while data := await passage.read():
            if size <= _HEARD_BYTES:
                parts.append(data)
            size += len(data)
            if exchange.method == "HEAD":
                continue
            if size == whole:  # the last piece: end with it
                self.over = True
                await exchange.send({"type": "http.response.body", "body": data})
                break
            if not (told and wire is not None and wire.write(data)):
                message = {"type": "http.response.body", "body": data, "more_body": True}
                await exchange.send(message)
                told = True
        if not self.over:
            self.over = True
            await exchange.send({"type": "http.response.body", "body": b"", "more_body": False})
        self._relay.passed += 1
        if passage.status == _OK and size <= _HEARD_BYTES:
            self._relay.heard(self, parts, dict(passage.headers))


def _length(passage: Passage, exchange: Exchange) -> int:
    """Return how long the body is said to be; -1 where it is not said, or none comes."""
    if exchange.method == "HEAD":
        return -1
    said = next((value for name, value in passage.headers if name == b"content-length"), b"")
    return int(said) if said.isdigit() else -1


def onward(headers: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    """Return the headers that go on, each name once: lists are joined as RFC 9110, 5.3 says.

    >>> onward([(b"host", b"a"), (b"accept", b"x"), (b"accept", b"y"), (b"metabolic-task", b"t")])
    (('accept', 'x, y'),)
    """
    found: dict[bytes, bytes] = {}
    dropped: set[bytes] = set()
    for name, value in headers:
        if name == b"connection":
            dropped.update(part.strip().lower() for part in value.split(b","))
        if name in _HOP or name.startswith(_OURS):
            continue
        if name in found:
            found[name] += (b"; " if name == b"cookie" else b", ") + value
        else:
            found[name] = value
    return tuple(
        [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in found.items()
            if name not in dropped
        ]
    )


def back(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers that come back."""
    return [(name, value) for name, value in headers if name not in _BACK]


def plain(body: bytes, encoding: bytes) -> bytes | None:
    """Return a body decoded; ``None`` where that cannot be done here."""
    match encoding.strip().lower():
        case b"" | b"identity":
            return body
        case b"gzip" | b"x-gzip" | b"deflate":
            try:
                return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(body, 16 * _HEARD_BYTES)
            except zlib.error:
                return None
        case _:
            return None


def _tenant(headers: Mapping[bytes, bytes]) -> str | None:
    """Return who asks, as digits of the key's hash; ``None`` without a key."""
    key = headers.get(b"authorization", b"").partition(b" ")[2] or headers.get(b"x-api-key", b"")
    return hashlib.sha256(key.strip()).hexdigest()[:_TENANT_DIGITS] if key.strip() else None


def _session(headers: Mapping[bytes, bytes]) -> str | None:
    """Return the client's name for its conversation, if it is a proper one."""
    text = headers.get(b"metabolic-session", b"").decode("latin-1")
    good = 0 < len(text) <= _SESSION_CHARS and text.isascii() and text.isprintable()
    return text if good else None
