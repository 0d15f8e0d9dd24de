"""The aiohttp transport: TLS, proxies, HTTP as it is in the wild.

aiohttp is imported by this module alone, which is loaded only when a deployment needs it: the
import takes a fifth of a second.
"""

__all__ = ["AioDownload", "AioTransport"]

import asyncio
import ssl
from types import SimpleNamespace

import aiohttp

from metabolic.backends.transport import Headers, Link, Own, Response
from metabolic.core.errors import BackendError, BadReply, TimedOut, Unreachable

_MAX_HEAD_BYTES = 65_536


class AioTransport:
    """An aiohttp session for one target; see ``Transport`` for what it offers."""

    def __init__(
        self,
        link: Link,
        *,
        tls: ssl.SSLContext | None = None,
        proxy: str | None = None,
    ) -> None:
        """``tls`` replaces the default context, which verifies; ``proxy`` may hold a password."""
        self._link = link
        self._tls: ssl.SSLContext | bool = tls or True
        self._proxy = proxy
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def fetch(self, method: str, path: str, body: bytes = b"", headers: Own = ()) -> Response:
        """Return the whole response, whatever its status."""
        response = await self._request(method, path, body, headers)
        try:
            whole = await self._whole(response)
        except BaseException:
            response.close()
            raise
        return Response(status=response.status, headers=_headers(response), body=whole)

    async def open(self, path: str, body: bytes, headers: Own = ()) -> "AioDownload":
        """Post, and return as soon as the status and the headers are known."""
        return AioDownload(await self._request("POST", path, body, headers))

    async def aclose(self) -> None:
        """Close every connection; calls under way end as ``Unreachable``."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def _whole(self, response: aiohttp.ClientResponse) -> bytes:
        parts: list[bytes] = []
        size = 0
        try:
            async for part in response.content.iter_any():
                parts.append(part)
                size += len(part)
                if size > self._link.max_body_bytes:
                    message = f"the deployment's answer exceeds {self._link.max_body_bytes} bytes"
                    raise BadReply(message)
        except (aiohttp.ClientError, OSError) as exc:
            raise _translated(exc, begun=True) from exc
        return b"".join(parts)

    async def _request(
        self, method: str, path: str, body: bytes, headers: Own
    ) -> aiohttp.ClientResponse:
        """Send and wait for the head; replace a stale connection once."""
        trace = SimpleNamespace(reused=False)
        try:
            return await self._send(method, path, body, headers, trace)
        except aiohttp.ServerDisconnectedError as exc:
            if not trace.reused or self._closed:
                raise _translated(exc, begun=False) from exc
        except aiohttp.ClientOSError as exc:
            if not trace.reused or self._closed or isinstance(exc, aiohttp.ClientConnectorError):
                raise _translated(exc, begun=False) from exc
        except (aiohttp.ClientError, OSError) as exc:
            raise _translated(exc, begun=False) from exc
        try:
            return await self._send(method, path, body, headers, SimpleNamespace(reused=False))
        except (aiohttp.ClientError, OSError) as exc:
            raise _translated(exc, begun=False) from exc

    async def _send(
        self, method: str, path: str, body: bytes, headers: Own, trace: SimpleNamespace
    ) -> aiohttp.ClientResponse:
        return await self._open_session().request(
            method,
            self._link.target.origin + path,
            data=body or None,
            headers=dict(headers) or None,
            allow_redirects=False,
            ssl=self._tls,
            proxy=self._proxy,
            trace_request_ctx=trace,
        )

    def _open_session(self) -> aiohttp.ClientSession:
        if self._closed:
            message = "the deployment is no longer in use"
            raise Unreachable(message)
        if self._session is None:
            tracing = aiohttp.TraceConfig()
            tracing.on_connection_reuseconn.append(_note_reuse)
            self._session = aiohttp.ClientSession(
                headers={**dict(self._link.headers), "accept-encoding": "identity"},
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=self._link.connect_timeout_s
                ),
                connector=aiohttp.TCPConnector(limit=self._link.max_connections),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                max_line_size=_MAX_HEAD_BYTES,
                max_field_size=_MAX_HEAD_BYTES,
                trace_configs=[tracing],
            )
        return self._session


class AioDownload:
    """A response under way; see ``Download``."""

    __slots__ = ("_response", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        """Take over the response."""
        self._response = response
        self.status = response.status
        self.headers = _headers(response)

    async def read(self) -> bytes:
        """Return the next bytes of the body, ``b""`` at its proper end."""
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError) as exc:
            self._response.close()
            raise _translated(exc, begun=True) from exc
        except asyncio.CancelledError:
            self._response.close()
            raise

    async def drain(self, seconds: float) -> None:
        """Wait a little for the end of the body; then close if it has not come."""
        if self._response.content.at_eof():
            return
        try:
            async with asyncio.timeout(seconds):
                while await self.read():
                    pass
        except (TimeoutError, BackendError):
            self._response.close()

    def close(self) -> None:
        """Close the connection unless the response is whole."""
        self._response.close()


async def _note_reuse(
    session: aiohttp.ClientSession,  # noqa: ARG001 - aiohttp's signature
    context: SimpleNamespace,
    params: aiohttp.TraceConnectionReuseconnParams,  # noqa: ARG001
) -> None:
    context.trace_request_ctx.reused = True


def _headers(response: aiohttp.ClientResponse) -> Headers:
    return tuple((name.lower(), value) for name, value in response.raw_headers)


def _translated(exc: Exception, *, begun: bool) -> BackendError:
    """Return aiohttp's error as ours, without its text: it may hold a proxy's password."""
    if isinstance(exc, TimeoutError):
        return TimedOut("no connection to the deployment in time")
    if isinstance(exc, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return Unreachable("no connection to the deployment: its certificate or TLS is not valid")
    if isinstance(exc, aiohttp.ClientConnectorError):
        return Unreachable(f"no connection to the deployment: {exc.os_error.strerror or 'failed'}")
    if isinstance(exc, aiohttp.ServerDisconnectedError) and not begun:
        return Unreachable("the deployment closed the connection without an answer")
    if isinstance(exc, aiohttp.ClientPayloadError):
        return Unreachable("the deployment broke off in the middle of its answer")
    if isinstance(exc, aiohttp.ClientResponseError | aiohttp.InvalidURL):
        return BadReply("the deployment did not answer in HTTP")
    return Unreachable("the connection to the deployment broke")
