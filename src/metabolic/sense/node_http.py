"""One GET over HTTP or HTTPS, for sensors: blocking, bounded, its failures told as obstacles."""

__all__ = ["Connection", "get"]

import base64
import ssl
import urllib.error
import urllib.request
from email.message import Message

from msgspec import Struct

from metabolic.core.errors import SensorError
from metabolic.core.obstacle import Obstacle

_LARGEST_BYTES = 16 * 1024 * 1024
_REFUSED = (401, 403)


class Connection(Struct, frozen=True, kw_only=True):
    """How to connect: credentials, trust and patience.

    ``ca_file`` is a bundle that the server's certificate is checked with; ``verify_tls`` false
    checks nothing, so that anybody in between can read the password.
    """

    username: str | None = None
    password: str | None = None
    token: str | None = None
    ca_file: str | None = None
    verify_tls: bool = True
    timeout_s: float = 5.0

    def headers(self) -> dict[str, str]:
        """Return the header that authorises, if any."""
        if self.token is not None:
            return {"Authorization": f"Bearer {self.token}"}
        if self.username is None:
            return {}
        pair = f"{self.username}:{self.password or ''}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode('ascii')}"}

    def tls(self) -> ssl.SSLContext:
        """Return the TLS context. Raises ``SensorError`` when ``ca_file`` cannot be read."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError) as exc:
            what = f"{self.ca_file} is no readable file of certificates"
            raise SensorError(what, Obstacle(kind="configuration", what=what)) from exc
        if not self.verify_tls:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: credentials go to the configured host and nowhere else."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: object,
        code: int,
        msg: str,
        headers: Message,
        newurl: str,
    ) -> None:
        """Return nothing: the redirect becomes an error."""


def get(url: str, connection: Connection) -> bytes:
    """Return the body of a 200.

    Raises:
        SensorError: with the obstacle: unreachable, refused, or a certificate that is not trusted.
    """
    request = urllib.request.Request(url, headers=connection.headers())  # noqa: S310 - configured
    handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
    if url.startswith("https:"):
        handlers.append(urllib.request.HTTPSHandler(context=connection.tls()))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), *handlers)
    try:
        with opener.open(request, timeout=connection.timeout_s) as answer:
            body: bytes = answer.read(_LARGEST_BYTES + 1)
    except (OSError, ValueError) as exc:
        found = _obstacle(url, exc)
        raise SensorError(found.what, found) from exc
    if len(body) > _LARGEST_BYTES:
        what = f"{url} answers more than {_LARGEST_BYTES} bytes"
        raise SensorError(what, Obstacle(kind="configuration", what=what))
    return body


def _obstacle(url: str, exc: Exception) -> Obstacle:
    """Return what a failure means."""
    if isinstance(exc, urllib.error.HTTPError):
        exc.close()
        if exc.code in _REFUSED:
            remedy = 'give credentials of a user that may read: username, password = "env:NAME"'
            return Obstacle(kind="permission", what=f"{url} answers {exc.code}", remedy=remedy)
        return Obstacle(kind="configuration", what=f"{url} answers {exc.code}")
    reason = exc.reason if isinstance(exc, urllib.error.URLError) else exc
    if isinstance(reason, ssl.SSLCertVerificationError):
        what = f"{url}: its certificate is not trusted ({reason.verify_message})"
        return Obstacle(kind="permission", what=what, remedy="name its authority in ca_file")
    return Obstacle(kind="unreachable", what=f"{url} cannot be reached: {reason}")
