"""A backend for Anthropic's Messages API, over the same transports as OpenAI's."""

__all__ = ["AnthropicBackend", "Options", "create"]

import asyncio
import time

from metabolic.backends.claude import messages_body
from metabolic.backends.claude_answer import reply_of
from metabolic.backends.claude_reader import ClaudeReader
from metabolic.backends.continuing import prefilled
from metabolic.backends.openai import OpenAIStream, Options, connect, read_refusal
from metabolic.backends.status import failure
from metabolic.backends.traits import find
from metabolic.backends.transport import Headers, Transport
from metabolic.core.attempt import Call, Reply
from metabolic.core.errors import BackendError, Refused
from metabolic.core.fleet import Endpoint
from metabolic.core.request import Request

_OK = 200
_FORWARDED = frozenset({"anthropic-beta", "anthropic-version"})


def create(options: Options, *, endpoint: Endpoint) -> "AnthropicBackend":
    """Return a backend for ``endpoint``; nothing is connected yet.

    Raises:
        ConfigError: the base URL, the key or a header is malformed.
    """
    where, transport = connect(options, endpoint, find("anthropic"))
    return AnthropicBackend(
        options=options, endpoint=endpoint, prefix=where.prefix, transport=transport
    )


class AnthropicBackend:
    """Talks to one deployment that speaks Messages; see ``Backend`` for what it offers."""

    def __init__(
        self, *, options: Options, endpoint: Endpoint, prefix: str, transport: Transport
    ) -> None:
        """Take over the transport."""
        self._options = options
        self._model = endpoint.model
        self._secret = endpoint.api_key
        self._path = f"{prefix}/messages"
        self._models = f"{prefix}/models"
        self._transport = transport
        self._variants = {variant.name: variant for variant in options.variants}

    async def complete(self, request: Request, call: Call) -> Reply:
        """Return the whole answer; cancelling the task closes the upstream connection."""
        body = self._body(request, call, streamed=False)
        response = await self._transport.fetch("POST", self._path, body, _own(request))
        if response.status != _OK:
            raise self._failure(response.status, response.headers, response.body)
        return reply_of(response.body, request, at_s=time.time(), secret=self._secret)

    async def stream(self, request: Request, call: Call) -> OpenAIStream:
        """Begin a streamed answer; returns when the upstream's status is known to be 200."""
        body = self._body(request, call, streamed=True)
        download = await self._transport.open(self._path, body, _own(request))
        if download.status != _OK:
            said = await read_refusal(download, self._options)
            raise self._failure(download.status, download.headers, said)
        reader = ClaudeReader(
            request,
            at_s=time.time(),
            max_event_bytes=self._options.max_event_bytes,
            secret=self._secret,
        )
        return OpenAIStream(download, reader)

    async def healthy(self) -> bool:
        """Say whether the list of models comes; never raises."""
        try:
            async with asyncio.timeout(self._options.health_timeout_s):
                models = await self._transport.fetch("GET", self._models)
        except (TimeoutError, BackendError):
            return False
        return models.status == _OK

    async def aclose(self) -> None:
        """Close all connections."""
        await self._transport.aclose()

    def _body(self, request: Request, call: Call, *, streamed: bool) -> bytes:
        if request.dialect != "chat":
            message = f"the deployment has no {request.dialect}"
            raise Refused(message, status=400, body=b"")
        variant = self._variants.get(call.variant) if call.variant is not None else None
        body = messages_body(request, model=self._model, streamed=streamed, variant=variant)
        return body if request.given is None else prefilled(body, request.given)

    def _failure(self, status: int, headers: Headers, body: bytes) -> BackendError:
        return failure(status, headers, body, secret=self._secret, now_s=time.time())


def _own(request: Request) -> tuple[tuple[str, str], ...]:
    """Return the client's own headers of this dialect, which the upstream must see."""
    if request.native is None:
        return ()
    return tuple(pair for pair in request.native.headers if pair[0] in _FORWARDED)
