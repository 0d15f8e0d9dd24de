"""Who asks: API keys, kept only as hashes."""

__all__ = ["ForeignOrigin", "Keys", "refuse_foreign_origin"]

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from metabolic.config import KeyTable
from metabolic.core.errors import RequestError, Unauthorized

_TENANT_DIGITS = 16
"""64 bits of the hash: enough to tell tenants apart, too few to be the credential."""

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Keys:
    """The keys that are let in; without any, everyone is (loopback only, by configuration)."""

    __slots__ = ("_digests",)

    def __init__(self, tables: Iterable[KeyTable] = ()) -> None:
        """Keep the SHA-256 digests of the keys."""
        self._digests = tuple(bytes.fromhex(table.sha256) for table in tables)

    def __bool__(self) -> bool:
        """Say whether a key is required."""
        return bool(self._digests)

    def tenant(self, headers: Mapping[bytes, bytes]) -> str | None:
        """Return the tenant of the presented key: 16 hex digits of its hash.

        ``None`` when no key is required. Compares in constant time against every key.

        Raises:
            Unauthorized: no key, not a bearer key, or not one of ours. The key is not repeated.
        """
        if not self._digests:
            return None
        scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer" or not key:
            key = headers.get(b"x-api-key", b"")  # as Anthropic's clients send it
        if not key.strip():
            message = "An API key is required: send it as 'Authorization: Bearer KEY'."
            raise Unauthorized(message)
        digest = hashlib.sha256(key.strip()).digest()
        found = False
        for known in self._digests:
            found |= hmac.compare_digest(digest, known)
        if not found:
            message = "The API key is not known here."
            raise Unauthorized(message)
        return digest.hex()[:_TENANT_DIGITS]


def refuse_foreign_origin(headers: Mapping[bytes, bytes]) -> None:
    """Refuse a web page's request where no key protects the gateway.

    A browser sends ``Origin`` with every cross-site POST, also after DNS rebinding; a page from
    elsewhere must not spend this machine's joules.

    Raises:
        RequestError: with status 403, when ``Origin`` is not this machine.
    """
    origin = headers.get(b"origin")
    if origin is None:
        return
    try:
        host = urlsplit(origin.decode("latin-1")).hostname
    except ValueError:
        host = None
    if host not in _LOOPBACK:
        raise ForeignOrigin


class ForeignOrigin(RequestError):
    """A web page from elsewhere asked, and no key is configured."""

    status = 403
    code = "foreign_origin"

    def __init__(self) -> None:
        """Say what would let the page in."""
        super().__init__("Requests from web pages need an API key: configure a [[key]].")
