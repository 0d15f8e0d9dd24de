"""Answers ``/ui`` and what is below it; nothing is made while nobody looks."""

__all__ = ["NoSuchPage", "Page", "Strange"]

import asyncio
import re
import time
from collections.abc import Callable
from importlib.resources import files
from urllib.parse import urlsplit

import msgspec

from metabolic.config.admin import AdminTable
from metabolic.config.check import is_loopback
from metabolic.core.errors import RequestError
from metabolic.core.receipt import Record
from metabolic.gateway.chat import Inference
from metabolic.gateway.exchange import Exchange
from metabolic.gateway.page import view
from metabolic.gateway.reply import Response

_FRESH_S = 0.5
"""However many look, the state is made twice a second at most."""

_IDENTITY = re.compile(r"[A-Za-z0-9_.:-]{1,128}")

_KINDS = {
    "icon.svg": b"image/svg+xml",
    "page.html": b"text/html; charset=utf-8",
    "page.css": b"text/css; charset=utf-8",
    "page.js": b"text/javascript; charset=utf-8",
    "charts.js": b"text/javascript; charset=utf-8",
    "uplot.min.css": b"text/css; charset=utf-8",
    "uplot.min.js": b"text/javascript; charset=utf-8",
}
"""The files there are; no other name is ever looked up."""

_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    b"img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing inline, nothing from elsewhere, in nobody's frame. Source: W3C, CSP Level 3."""

_COMMON = (
    (b"content-security-policy", _POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)


class Strange(RequestError):
    """The page's data was asked for under a name that is not this machine's, or by another site."""

    status = 403
    code = "foreign_origin"


class NoSuchPage(RequestError):
    """Nothing is at this path of the page, or it is kept no more."""

    status = 404
    code = "not_found"


class Page:
    """The page, its files and its data."""

    def __init__(self, inference: Inference, *, draining: Callable[[], bool]) -> None:
        """Keep whom to ask; ``draining`` says whether the gateway is about to stop."""
        self._inference = inference
        self._draining = draining
        self._files: dict[str, bytes] = {}
        self._made: tuple[float, bytes] = (-_FRESH_S, b"")

    @property
    def table(self) -> AdminTable:
        """Return the configuration's ``[admin]``."""
        return self._inference.runtime.config.admin

    def shares_listener(self) -> bool:
        """Say whether the page is on the gateway's own listener."""
        config = self._inference.runtime.config
        alone = is_loopback(config.server.host) and not config.keys
        return self.table.page and self.table.port is None and alone

    async def __call__(self, exchange: Exchange) -> Response:
        """Answer one path.

        Raises:
            NoSuchPage: nothing is there.
            Unauthorized: a key is needed for data.
            Strange: a web page from elsewhere asks.
        """
        name = exchange.path.removeprefix("/ui").removeprefix("/")
        if not self.table.page:
            message = "The page is switched off: [admin] page."
            raise NoSuchPage(message)
        if exchange.path == "/ui/":
            return Response(status=308, headers=((b"location", b"/ui"), *_COMMON))
        if not name or name in _KINDS:
            return await self._file(name or "page.html")
        self._admit(exchange)
        if name == "state":
            return await self._state()
        if name.startswith("requests/"):
            return await self._request(name.removeprefix("requests/"))
        message = f"Nothing is served at {exchange.path[:128]}."
        raise NoSuchPage(message)

    async def _file(self, name: str) -> Response:
        """Return one of the page's files; they hold no data and need no key."""
        if name not in self._files:
            found = files("metabolic.gateway.page").joinpath("static", name)
            self._files[name] = await asyncio.to_thread(found.read_bytes)
        headers = (*_COMMON, (b"cache-control", b"no-cache"))
        return Response(
            status=200, body=self._files[name], content_type=_KINDS[name], headers=headers
        )

    def _admit(self, exchange: Exchange) -> None:
        """Let in who has a key; where there is none, only this machine's own page.

        A page from elsewhere that renames itself to loopback still says its name in ``Host``.
        """
        headers = exchange.headers
        self._inference.admit(headers)
        if headers.get(b"sec-fetch-site", b"none") not in {b"none", b"same-origin"}:
            message = "The page's data is for the page alone."
            raise Strange(message)
        if not self._inference.keys and not _is_here(headers.get(b"host", b"")):
            message = "Open the page as 127.0.0.1 or localhost, or configure a [[key]]."
            raise Strange(message)

    async def _state(self) -> Response:
        """Return the state; one that was made a moment ago will do."""
        if time.monotonic() - self._made[0] >= _FRESH_S:
            now, kept = self._now(), tuple(self._inference.recent)
            body = await asyncio.to_thread(_encoded, now, kept)
            self._made = time.monotonic(), body
        return _data(self._made[1])

    def _now(self) -> view.Now:
        """Return what the gateway knows."""
        runtime = self._inference.runtime
        return view.Now(
            at_s=time.time(),
            ready=runtime.ready(),
            draining=self._draining(),
            in_flight=self._inference.in_flight,
            hardware=runtime.hardware(),
            metabolic=runtime.metabolic(),
            fleet=runtime.deployments(),
            loads=runtime.loads(),
        )

    async def _request(self, identity: str) -> Response:
        """Return one of the last requests. Raises ``NoSuchPage``, ``LedgerError``."""
        kept = reversed(tuple(self._inference.recent))
        record = next((one for one in kept if one.ask.id == identity), None)
        if record is None or not _IDENTITY.fullmatch(identity):
            message = "That request is not among the last ones any more; the ledger may have it."
            raise NoSuchPage(message)
        receipt = await asyncio.to_thread(self._inference.runtime.receipt, identity)
        return _data(msgspec.json.encode(view.detail(record, receipt)))


def _encoded(now: view.Now, kept: tuple[Record, ...]) -> bytes:
    """Return the state as JSON; runs in a thread."""
    return msgspec.json.encode(view.state(now, kept))


def _data(body: bytes) -> Response:
    """Return data that nobody may keep."""
    return Response(status=200, body=body, headers=(*_COMMON, (b"cache-control", b"no-store")))


def _is_here(host: bytes) -> bool:
    """Say whether a ``Host`` header names this machine."""
    try:
        name = urlsplit(f"//{host.decode('latin-1')}").hostname
    except ValueError:
        return False
    return name is not None and is_loopback(name)
