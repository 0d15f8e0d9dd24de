"""A keep-alive HTTP/1.1 client for plain ``http://`` deployments, cheap enough for the hot path.

It does what an OpenAI-compatible server on loopback or a trusted network needs, and no more: no
TLS, no proxies, no redirects, no compression, no cookies. Idle connections are reused, last in
first out; one that turns out to be closed before a byte came back is replaced once.
"""

__all__ = ["RawTransport"]

import asyncio
from collections import deque

from metabolic.backends.rawconn import Connection, Exchange
from metabolic.backends.transport import Link, Own, Response
from metabolic.core.errors import TimedOut, Unreachable

_MAX_IDLE_S = 60.0
"""Idle connections older than this are not trusted: NATs and servers forget them silently."""


class RawTransport:
    """A pool of connections to one target; see ``Transport`` for what it offers."""

    def __init__(self, link: Link) -> None:
        """Connect to nothing yet."""
        self._link = link
        lines = [("host", link.target.authority), *link.headers]
        fields = "".join(f"{name}: {value}\r\n" for name, value in lines)
        self._fields = f" HTTP/1.1\r\n{fields}content-length: ".encode("latin-1")
        self._posts: dict[str, bytes] = {}
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._connecting = 0
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._closed = False

    async def fetch(self, method: str, path: str, body: bytes = b"", headers: Own = ()) -> Response:
        """Return the whole response, whatever its status."""
        head = self._head(method, path, len(body))
        if headers:
            head = self._with(head, headers)
        exchange = await self._exchange(head, body, streamed=False)
        parts = exchange.parts
        return Response(
            status=exchange.status,
            headers=exchange.headers,
            body=parts[0] if len(parts) == 1 else b"".join(parts),
        )

    async def open(self, path: str, body: bytes, headers: Own = ()) -> Exchange:
        """Post, and return as soon as the status and the headers are known."""
        head = self._head("POST", path, len(body))
        if headers:
            head = self._with(head, headers)
        return await self._exchange(head, body, streamed=True)

    async def aclose(self) -> None:
        """Close every connection; calls under way end as ``Unreachable``."""
        self._closed = True
        self._idle.clear()
        for connection in tuple(self._all):
            connection.abort()
        self._wake()

    # For the connections.

    def release(self, connection: Connection) -> None:
        """Take back a connection that can be used again."""
        if self._closed:
            connection.abort()
            return
        connection.idle_since_s = connection.loop.time()
        if not (self._waiters and self._wake(connection)):
            self._idle.append(connection)

    def lost(self, connection: Connection) -> None:
        """Forget a connection."""
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if self._waiters:
            self._wake()

    def _head(self, method: str, path: str, length: int) -> bytes:
        start = self._posts.get(path)
        if start is None or method != "POST":
            start = f"{method} {path}".encode("ascii") + self._fields
            if method == "POST":
                self._posts[path] = start
        return b"%b%d\r\n\r\n" % (start, length)

    @staticmethod
    def _with(head: bytes, headers: Own) -> bytes:
        """Return a head with a request's own headers in place of the link's."""
        own = {name for name, _ in headers}
        lines = head.decode("latin-1").split("\r\n")[:-2]
        kept = [line for line in lines if line.partition(":")[0] not in own]
        kept.extend(f"{name}: {value}" for name, value in headers)
        return ("\r\n".join(kept) + "\r\n\r\n").encode("latin-1")

    async def _exchange(self, head: bytes, body: bytes, *, streamed: bool) -> Exchange:
        """Send and wait for the whole response (streamed: for its head); replace a stale one."""
        connection = None if self._waiters else self._take()
        reused = connection is not None
        if connection is None:
            connection, reused = await self._wait_for_one()
        exchange = connection.begin(head, body, streamed=streamed, limit=self._link.max_body_bytes)
        try:
            await exchange.head()
        except Unreachable:
            if not (reused and exchange.stale) or self._closed:
                raise
            connection, _ = await self._wait_for_one(fresh=True)
            exchange = connection.begin(
                head, body, streamed=streamed, limit=self._link.max_body_bytes
            )
            await exchange.head()
        return exchange

    def _take(self) -> Connection | None:
        """Return the idle connection that was used last and can be used again."""
        while self._idle:
            connection = self._idle.pop()
            age_s = connection.loop.time() - connection.idle_since_s
            if connection.usable and age_s < _MAX_IDLE_S:
                return connection
            connection.abort()
        return None

    async def _wait_for_one(self, *, fresh: bool = False) -> tuple[Connection, bool]:
        """Return a connection and whether it was used before; wait while there are too many.

        With ``fresh`` it is a new one, for which an idle one makes room.
        """
        place = self._waiters.append
        while len(self._all) + self._connecting >= self._link.max_connections:
            if fresh and self._idle:
                self._idle.pop(0).abort()
            waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
            place(waiter)
            try:
                given = await waiter
            except asyncio.CancelledError:
                self._pass_on(waiter)
                raise
            if fresh:
                if given is not None:
                    given.abort()
            elif given is not None and given.usable:
                return given, True
            elif (connection := self._take()) is not None:
                return connection, True
            place = self._waiters.appendleft  # it has waited: nobody goes before it
        return await self._connect(), False

    def _pass_on(self, waiter: "asyncio.Future[Connection | None]") -> None:
        """Give what a waiter that was cancelled had been given to the next."""
        if not waiter.done() or waiter.cancelled():
            return
        given = waiter.result()
        if given is None:
            self._wake()
        else:
            self.release(given)

    async def _connect(self) -> Connection:
        if self._closed:
            message = "the deployment is no longer in use"
            raise Unreachable(message)
        loop = asyncio.get_running_loop()
        self._connecting += 1
        try:
            async with asyncio.timeout(self._link.connect_timeout_s):
                _, connection = await loop.create_connection(
                    lambda: Connection(self, loop), self._link.target.host, self._link.target.port
                )
        except TimeoutError as exc:
            message = f"no connection to the deployment within {self._link.connect_timeout_s:g} s"
            raise TimedOut(message) from exc
        except OSError as exc:
            message = f"no connection to the deployment: {exc.strerror or type(exc).__name__}"
            raise Unreachable(message) from exc
        finally:
            self._connecting -= 1
            self._wake()
        self._all.add(connection)
        return connection

    def _wake(self, connection: Connection | None = None) -> bool:
        """Give the first who waits a connection, or leave to make one (all of them once closed).

        Returns false when nobody waits.
        """
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                if not self._closed:
                    return True
        return False
