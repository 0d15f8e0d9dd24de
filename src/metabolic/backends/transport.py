"""The one small protocol both HTTP transports speak, and the address they speak to."""

__all__ = [
    "Download",
    "Headers",
    "Link",
    "Own",
    "Response",
    "Target",
    "Transport",
    "header",
    "target",
]

from typing import Protocol
from urllib.parse import urlsplit

from msgspec import Struct

from metabolic.core.errors import ConfigError

Headers = tuple[tuple[bytes, bytes], ...]
"""Header names in lower case, and values, in order."""

Own = tuple[tuple[str, str], ...]
"""One request's own headers: names in lower case, printable ASCII values."""


class Response(Struct, frozen=True, kw_only=True, gc=False):
    """A whole response."""

    status: int
    headers: Headers
    body: bytes


class Download(Protocol):
    """A response whose status and headers are known and whose body is coming."""

    status: int
    headers: Headers

    async def read(self) -> bytes:
        """Return the next bytes of the body, ``b""`` at its proper end.

        Raises:
            Unreachable: the connection broke before the end.
            BadReply: the bytes are not HTTP.
        """
        ...

    async def drain(self, seconds: float) -> None:
        """Wait a little for the proper end, so that the connection can be used again."""
        ...

    def close(self) -> None:
        """Close the connection at once, unless the response is whole."""
        ...


class Transport(Protocol):
    """Sends requests to one target. Raises ``BackendError`` only; cancelling closes the socket.

    ``headers`` are this request's own, in place of the link's of that name.
    """

    async def fetch(self, method: str, path: str, body: bytes = b"", headers: Own = ()) -> Response:
        """Return the whole response, whatever its status."""
        ...

    async def open(self, path: str, body: bytes, headers: Own = ()) -> Download:
        """Post, and return as soon as the status and the headers are known."""
        ...

    async def aclose(self) -> None:
        """Close every connection; calls under way end as ``Unreachable``."""
        ...


class Target(Struct, frozen=True, kw_only=True):
    """A base URL taken apart.

    ``prefix`` goes before ``/chat/completions``: OpenAI's base URLs hold it (``…/v1``); one
    without a path means ``/v1``.
    """

    scheme: str
    host: str
    port: int
    authority: str
    prefix: str

    @property
    def origin(self) -> str:
        """Return scheme and authority, without path or key."""
        return f"{self.scheme}://{self.authority}"


class Link(Struct, frozen=True, kw_only=True):
    """Whom a transport speaks to, with which headers on every request, and within which limits.

    ``headers`` are clean: no line breaks, nothing that belongs to a single hop.
    """

    target: Target
    headers: tuple[tuple[str, str], ...] = ()
    connect_timeout_s: float = 5.0
    max_connections: int = 256
    max_body_bytes: int = 64 * 1024 * 1024

    def __repr__(self) -> str:
        """Show the address alone: headers hold the key."""
        return f"Link({self.target.origin!r})"


def target(base_url: str) -> Target:
    """Return the parts of ``base_url``.

    Raises:
        ConfigError: it is no http or https URL, or holds what does not belong into one.
    """
    try:
        parts = urlsplit(base_url)
        port = parts.port
    except ValueError as exc:
        raise _no_target(str(exc)) from exc
    clean = base_url.isascii() and base_url.isprintable() and " " not in base_url
    if parts.scheme not in {"http", "https"} or not parts.hostname or not clean:
        why = "http://host[:port][/path] or https://… is expected"
        raise _no_target(why)
    if parts.username or parts.password or parts.query or parts.fragment:
        why = "no user, query or fragment may be in it; keys go into api_key"
        raise _no_target(why)
    return Target(
        scheme=parts.scheme,
        host=parts.hostname,
        port=port or (443 if parts.scheme == "https" else 80),
        authority=parts.netloc,
        prefix=parts.path.rstrip("/") or "/v1",
    )


def _no_target(why: str) -> ConfigError:
    """Say why, without the URL: it may hold a key."""
    return ConfigError(f"base_url: {why}")


def header(headers: Headers, name: bytes) -> bytes | None:
    """Return the first value of a header; ``None`` when it is absent."""
    for key, value in headers:
        if key == name:
            return value
    return None
