"""A backend for whatever speaks OpenAI's dialect: llama.cpp, vLLM, SGLang, Ollama, hosted APIs.

What differs between them is in ``metabolic.backends.traits``, by the endpoint's ``engine``.

Plain ``http://`` deployments are reached by Metabolic's own client, ``https://`` and proxied ones
by aiohttp, which is imported only then. Waiting is bounded here while connecting only; all other
time limits belong to whoever calls, and work by cancellation, which closes the socket at once.
"""

__all__ = [
    "OpenAIBackend",
    "OpenAIStream",
    "Options",
    "Reads",
    "connect",
    "create",
    "read_refusal",
]

import asyncio
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Protocol
from urllib.parse import quote
from urllib.request import getproxies, proxy_bypass

from msgspec import Meta, Struct
from msgspec.structs import replace

from metabolic.backends.drafting import field_of
from metabolic.backends.rawhttp import RawTransport
from metabolic.backends.reader import Reader
from metabolic.backends.status import failure
from metabolic.backends.traits import find
from metabolic.backends.transport import Download, Headers, Link, Target, Transport, target
from metabolic.backends.variants import spoken
from metabolic.backends.wire import NEVER_FORWARDED, reply_of, upstream_body
from metabolic.core.attempt import Call, Reply
from metabolic.core.engine import EngineTraits
from metabolic.core.errors import BackendError, ConfigError
from metabolic.core.fleet import Endpoint, Variant
from metabolic.core.request import Request

_PATHS = {
    "chat": "/chat/completions",
    "completions": "/completions",
    "embeddings": "/embeddings",
    "models": "/models",
}
_OK = 200
_GONE_PATHS = frozenset({401, 403, 404, 405, 501})
_DRAIN_S = 0.1
"""The end of a chunked body follows ``[DONE]`` at once; a server that lets it wait loses the
connection, not the client's time."""

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_OUR_HEADERS = frozenset(
    {
        "accept-encoding",
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers that are ours to set, or belong to a single hop (RFC 9110, 7.6.1)."""


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to reach a deployment.

    ``transport``: ``auto`` takes ``raw`` for plain http without a proxy, else ``aiohttp``.
    ``proxy``: ``None`` takes the environment's (``HTTPS_PROXY``, ``NO_PROXY``), ``""`` none.
    ``ca_file``: certificates to trust instead of the system's. ``headers`` go out with every
    request. ``variants`` are those a call may name. ``max_event_bytes`` bounds one event of a
    stream, ``max_reply_bytes`` a whole answer. ``api_version`` is Azure's (``None``: the engine's
    own; without effect elsewhere). ``draft_model`` is what LM Studio is to draft with.
    ``top_logprobs`` likeliest tokens at each position are asked for with log-probabilities.
    """

    transport: Literal["auto", "raw", "aiohttp"] = "auto"
    connect_timeout_s: float = 5.0
    health_timeout_s: float = 5.0
    max_connections: int = 256
    max_reply_bytes: int = 64 * 1024 * 1024
    max_event_bytes: int = 4 * 1024 * 1024
    verify_tls: bool = True
    ca_file: str | None = None
    proxy: str | None = None
    headers: dict[str, str] = {}
    variants: tuple[Variant, ...] = ()
    api_version: str | None = None
    draft_model: str | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] = 0

    def __repr__(self) -> str:
        """Show no header's value and no proxy: they may hold keys."""
        return f"Options(transport={self.transport!r}, headers={sorted(self.headers)})"


def create(options: Options, *, endpoint: Endpoint) -> "OpenAIBackend":
    """Return a backend for ``endpoint``; nothing is connected yet.

    Raises:
        ConfigError: the base URL, the key or a header is malformed, or the engine unknown.
    """
    traits = find(endpoint.engine)
    where, transport = connect(options, endpoint, traits)
    return OpenAIBackend(
        options=options,
        endpoint=endpoint,
        traits=traits,
        paths=_paths(where, endpoint.model, traits, options.api_version),
        transport=transport,
    )


def connect(options: Options, endpoint: Endpoint, traits: EngineTraits) -> tuple[Target, Transport]:
    """Return the address and a transport to it that is not connected yet.

    Raises:
        ConfigError: the base URL, the key or a header is malformed.
    """
    where = target(endpoint.base_url)
    link = Link(
        target=where,
        headers=_headers(options, endpoint.api_key, traits),
        connect_timeout_s=options.connect_timeout_s,
        max_connections=options.max_connections,
        max_body_bytes=options.max_reply_bytes,
    )
    return where, _transport(options, link)


class OpenAIBackend:
    """Talks to one deployment; see ``Backend`` for what it offers."""

    def __init__(
        self,
        *,
        options: Options,
        endpoint: Endpoint,
        traits: EngineTraits,
        paths: Mapping[str, str],
        transport: Transport,
    ) -> None:
        """Take over the transport; ``paths`` are whole, by what is asked for."""
        self._options = options
        self._model = endpoint.model
        self._secret = endpoint.api_key
        self._traits = traits
        self._dropped = NEVER_FORWARDED.union(traits.drops)
        self._drafting = field_of(traits.speculation, options.draft_model)
        self._gives_logprobs = traits.logprobs
        self._paths = paths
        self._transport = transport
        self._variants = {one.name: spoken(one, traits) for one in options.variants}

    async def complete(self, request: Request, call: Call) -> Reply:
        """Return the whole answer; cancelling the task closes the upstream connection."""
        call = self._asked(call)
        body = self._body(request, call, streamed=False)
        response = await self._transport.fetch("POST", self._paths[request.dialect], body)
        if response.status != _OK:
            raise self._failure(response.status, response.headers, response.body)
        return reply_of(response.body, request, call, secret=self._secret)

    def _asked(self, call: Call) -> Call:
        """Return the call as this upstream can be asked it."""
        if not call.logprobs:
            return call
        most = self._options.top_logprobs
        if self._gives_logprobs and not most:
            return call
        return replace(call, logprobs=self._gives_logprobs, alternatives=most)

    async def stream(self, request: Request, call: Call) -> "OpenAIStream":
        """Begin a streamed answer; returns when the upstream's status is known to be 200."""
        call = self._asked(call)
        body = self._body(request, call, streamed=True)
        download = await self._transport.open(self._paths[request.dialect], body)
        if download.status != _OK:
            raise await self._refused(download)
        reader = Reader(
            request, call, max_event_bytes=self._options.max_event_bytes, secret=self._secret
        )
        return OpenAIStream(download, reader)

    async def healthy(self) -> bool:
        """Say whether the deployment answers its health check; never raises.

        The engine's health path decides where it exists; elsewhere the list of models must come.
        """
        try:
            async with asyncio.timeout(self._options.health_timeout_s):
                if self._traits.health is not None:
                    health = await self._transport.fetch("GET", self._traits.health)
                    if health.status not in _GONE_PATHS:
                        return health.status == _OK
                models = await self._transport.fetch("GET", self._paths["models"])
        except (TimeoutError, BackendError):
            return False
        return models.status == _OK

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()

    def _body(self, request: Request, call: Call, *, streamed: bool) -> bytes:
        variant = self._variants.get(call.variant) if call.variant is not None else None
        return upstream_body(
            request,
            call,
            model=self._model,
            streamed=streamed,
            variant=variant,
            dropped=self._dropped,
            output_limit=self._traits.output_limit,
            drafting=self._drafting,
            continues=self._traits.continues,
        )

    async def _refused(self, download: Download) -> BackendError:
        """Read what a response other than 200 says, within bounds, and return it as an error."""
        said = await read_refusal(download, self._options)
        return self._failure(download.status, download.headers, said)

    def _failure(self, status: int, headers: Headers, body: bytes) -> BackendError:
        return failure(status, headers, body, secret=self._secret, now_s=time.time())


async def read_refusal(download: Download, options: Options) -> bytes:
    """Return what a response other than 200 says, within bounds, and close it."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(options.connect_timeout_s):
            while size <= options.max_event_bytes and (part := await download.read()):
                parts.append(part)
                size += len(part)
    except (TimeoutError, BackendError):
        parts = []
    finally:
        download.close()
    return b"".join(parts)


class Reads(Protocol):
    """What a stream needs of the reader of a dialect; ``Reader`` is OpenAI's."""

    done: bool
    error: BackendError | None

    def feed(self, data: bytes) -> bytes:
        """Return the events that ``data`` completes and the client may have."""
        ...

    def finish(self) -> bytes:
        """Take the proper end of the body, and return what is left for the client."""
        ...

    def reply(self) -> Reply:
        """Return what was answered so far."""
        ...

    def logprobs(self) -> Sequence[float]:
        """Return the token log-probabilities of the first choice so far."""
        ...


class OpenAIStream:
    """A streamed answer, event by event; see ``Stream`` for what it offers."""

    __slots__ = ("_download", "_ended", "_reader")

    def __init__(self, download: Download, reader: Reads) -> None:
        """Take over the response."""
        self._download = download
        self._reader = reader
        self._ended = False

    def __aiter__(self) -> "OpenAIStream":
        """Return itself."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next event or events."""
        reader = self._reader
        while True:
            if reader.error is not None:
                self._download.close()
                raise reader.error
            if reader.done or self._ended:
                raise StopAsyncIteration
            data = await self._download.read()
            if data:
                events = reader.feed(data)
            else:
                self._ended = True
                events = reader.finish()
            if events:
                return events

    def reply(self) -> Reply:
        """Return what was answered so far, parsed; its ``body`` is empty."""
        return self._reader.reply()

    def logprobs(self) -> Sequence[float]:
        """Return the token log-probabilities of the first choice so far."""
        return self._reader.logprobs()

    async def aclose(self) -> None:
        """Stop: the connection is kept only if the answer was whole."""
        if self._reader.done:
            await self._download.drain(_DRAIN_S)
        else:
            self._download.close()


def _transport(options: Options, link: Link) -> Transport:
    proxy = _proxy(options, link.target)
    secure = link.target.scheme == "https"
    kind = options.transport
    if kind == "raw" and secure:
        message = 'transport = "raw" speaks plain http only; the base_url is https'
        raise ConfigError(message)
    if kind == "raw" or (kind == "auto" and not secure and not proxy):
        return RawTransport(link)
    from metabolic.backends.aio import AioTransport  # noqa: PLC0415 - it imports aiohttp

    return AioTransport(link, tls=_tls(options) if secure else None, proxy=proxy)


def _proxy(options: Options, where: Target) -> str | None:
    """Return the proxy to use: the one configured, else the environment's."""
    if options.proxy is not None:
        return options.proxy or None
    if where.host in _LOOPBACK or proxy_bypass(where.host):
        return None
    return getproxies().get(where.scheme)


def _tls(options: Options) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
    except OSError as exc:
        message = f"ca_file: {options.ca_file!r} cannot be read as certificates"
        raise ConfigError(message) from exc
    if not options.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _paths(where: Target, model: str, traits: EngineTraits, version: str | None) -> dict[str, str]:
    """Return the whole path of everything that is asked for."""
    prefix, given = where.prefix, dict(traits.paths)
    if traits.origin_paths and not prefix.endswith("/openai/v1"):
        query = f"?api-version={version or traits.api_version}"
        name = quote(model, safe="")
        return {what: path.replace("{model}", name) + query for what, path in given.items()}
    if traits.origin_paths:
        given = {}
    return {what: prefix + given.get(what, path) for what, path in _PATHS.items()}


def _headers(
    options: Options, api_key: str | None, traits: EngineTraits
) -> tuple[tuple[str, str], ...]:
    """Return the headers of every request, checked: no value can begin another header."""
    headers = [("content-type", "application/json"), ("user-agent", "metabolic")]
    if api_key:
        bearer = traits.auth == "authorization"
        headers.append((traits.auth, f"Bearer {api_key}" if bearer else api_key))
    own = {name.lower() for name in options.headers}
    headers.extend((name, value) for name, value in traits.headers if name not in own)
    for name, value in options.headers.items():
        if name.lower() in _OUR_HEADERS:
            message = f"headers: {name!r} is not yours to set"
            raise ConfigError(message)
        headers.append((name.lower(), value))
    for name, value in headers:
        if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
            message = f"headers: {name!r} is not a header's name"
            raise ConfigError(message)
        if not value.isascii() or not value.isprintable():
            message = f"{'api_key' if name == traits.auth else f'headers: {name!r}'}: \
the value holds what no header may hold"
            raise ConfigError(message)
    return tuple(headers)
