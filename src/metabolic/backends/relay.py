"""Passes requests on to one upstream as they are, by the transports of the OpenAI backend."""

__all__ = ["PassThrough", "create"]

import ssl
from urllib.request import getproxies, proxy_bypass

from metabolic.backends.rawhttp import RawTransport
from metabolic.backends.traits import find
from metabolic.backends.transport import Headers, Link, Own, Response, Target, Transport, target
from metabolic.core.fleet import Endpoint
from metabolic.core.relay import Passage

_MAX_CONNECTIONS = 4096
"""A relay holds nobody back; the upstream does that itself."""

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def create(endpoint: Endpoint) -> "PassThrough":
    """Return a relay to ``endpoint``, whose key, if there is one, replaces the client's.

    Raises:
        ConfigError: the base URL is malformed, or the engine unknown.
    """
    where = target(endpoint.base_url)
    key = endpoint.api_key
    auth = find(endpoint.engine).auth
    own: Own = () if key is None else ((auth, f"Bearer {key}" if auth == "authorization" else key),)
    return PassThrough(where, _transport(where), own)


class PassThrough:
    """A relay; see ``metabolic.core.relay``."""

    def __init__(self, where: Target, transport: Transport, own: Own) -> None:
        """``own`` are the headers that replace the client's."""
        self._prefix, self._transport, self._own = where.prefix, transport, own

    async def send(self, method: str, path: str, headers: Own, body: bytes) -> Passage:
        """Send, and return when the head of the response is known."""
        if self._own:
            credentials = {"authorization", "x-api-key", "api-key"}
            headers = (*(one for one in headers if one[0] not in credentials), *self._own)
        to = self._prefix + path.removeprefix("/v1")
        if method == "POST":
            return await self._transport.open(to, body, headers)
        return _Whole(await self._transport.fetch(method, to, body, headers))

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()


class _Whole:
    """A response that came in one piece."""

    __slots__ = ("_body", "headers", "status")

    def __init__(self, response: Response) -> None:
        self.status: int = response.status
        self.headers: Headers = response.headers
        self._body = response.body

    async def read(self) -> bytes:
        """Return the body, once."""
        body, self._body = self._body, b""
        return body

    def close(self) -> None:
        """Do nothing: it is whole."""


def _transport(where: Target) -> Transport:
    """Return the plain client for plain http, aiohttp for TLS and proxies."""
    link = Link(target=where, max_connections=_MAX_CONNECTIONS)
    inside = where.host in _LOOPBACK or proxy_bypass(where.host)
    proxy = None if inside else getproxies().get(where.scheme)
    if where.scheme == "http" and proxy is None:
        return RawTransport(link)
    from metabolic.backends.aio import AioTransport  # noqa: PLC0415 - it imports aiohttp

    tls = ssl.create_default_context() if where.scheme == "https" else None
    return AioTransport(link, tls=tls, proxy=proxy)
