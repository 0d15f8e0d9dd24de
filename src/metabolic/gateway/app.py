"""The ASGI application: an exact-path router, the lifespan, and the outermost handler."""

__all__ = ["App", "Crash", "NoSuchPath", "WrongMethod"]

import logging
from collections.abc import Awaitable, Callable

from metabolic.core.errors import MetabolicError, RequestError
from metabolic.edge import Dialect
from metabolic.gateway import counting
from metabolic.gateway.admin import Admin
from metabolic.gateway.chat import Inference
from metabolic.gateway.exchange import Exchange, Identities
from metabolic.gateway.feedback import feedback
from metabolic.gateway.models import Models
from metabolic.gateway.page.service import Page
from metabolic.gateway.redact import Redactor, secrets_of
from metabolic.gateway.reply import Response, error_event, error_response
from metabolic.gateway.seam import Receive, Scope, Send, Serving
from metabolic.gateway.shadow import shadow_of
from metabolic.gateway.side import Side

_log = logging.getLogger("metabolic.gateway")

_DIALECTS: dict[str, Dialect] = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completions",
    "/v1/embeddings": "embeddings",
    "/v1/messages": "messages",
    "/v1/responses": "responses",
}

_COUNT = "/v1/messages/count_tokens"

_FEEDBACK = "/v1/feedback"

Handler = Callable[[Exchange], Awaitable[Response]]


class NoSuchPath(RequestError):
    """Nothing is served at this path."""

    status = 404
    code = "not_found"


class WrongMethod(RequestError):
    """The path exists, the method does not."""

    status = 405
    code = "method_not_allowed"


class Crash(MetabolicError):
    """Something broke that should not have; the log has the traceback."""


class App:
    """The gateway as an ASGI application."""

    def __init__(self, runtime: Serving) -> None:
        """Wire the handlers to a runtime that is not started yet."""
        self.runtime = runtime
        self.inference = Inference(runtime)
        self._identities = Identities()
        self.admin = Admin(self.inference)
        self.page = Page(self.inference, draining=lambda: self.admin.draining)
        self.side = Side(self._beside)
        models = Models(self.inference)
        self._reads: dict[str, Handler] = {
            "/health": self.admin.health,
            "/ready": self.admin.ready,
            "/metrics": self.admin.metrics,
            "/v1/models": models.listing,
            "/ui": self._page,
        }
        self._below: tuple[tuple[str, Handler], ...] = (
            ("/v1/models/", models.one),
            ("/v1/receipts/", self.admin.receipt),
            ("/ui/", self._page),
        )
        self.configure()

    def configure(self) -> None:
        """Take over the runtime's configuration, at start and after a reload."""
        self.inference.configure(Redactor(secrets_of(self.runtime.config)))
        self.shadow = shadow_of(self.runtime, self.inference)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "http":
            exchange = Exchange(scope, receive, send, identity=self._identities())
            shadow = self.shadow
            if shadow is not None and shadow.takes(exchange.path):
                await shadow.serve(exchange, scope)
            else:
                await self._http(exchange)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1003})

    async def _http(self, exchange: Exchange) -> None:
        """Route one request; whatever escapes a handler becomes a 500."""
        try:
            dialect = _DIALECTS.get(exchange.path)
            if dialect is not None and exchange.method == "POST":
                await self.inference.serve(exchange, dialect)
            elif exchange.path == _COUNT and exchange.method == "POST":
                await exchange.respond(await counting.count(self.inference, exchange))
            else:
                await exchange.respond(await self._other(exchange))
        except Exception:  # noqa: BLE001 - the outermost handler: nothing may pass it
            _log.exception("request failed", extra={"id": exchange.id, "path": exchange.path})
            await self._crashed(exchange)

    async def _beside(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request of the admin listener: the page, and what else operators read."""
        exchange = Exchange(scope, receive, send, identity=self._identities())
        try:
            await exchange.respond(await self._operator(exchange))
        except Exception:  # noqa: BLE001 - as above
            _log.exception("request failed", extra={"id": exchange.id, "path": exchange.path})
            await self._crashed(exchange)

    async def _operator(self, exchange: Exchange) -> Response:
        """Answer one request of the admin listener."""
        path = exchange.path
        try:
            if exchange.method not in {"GET", "HEAD"}:
                message = f"{exchange.method[:16]} is not allowed here."
                raise WrongMethod(message)
            if path == "/":
                return Response(status=308, headers=((b"location", b"/ui"),))
            if path == "/ui" or path.startswith("/ui/"):
                return await self.page(exchange)
            if path in {"/health", "/ready", "/metrics"} or path.startswith("/v1/receipts/"):
                return await (self._reads.get(path) or self.admin.receipt)(exchange)
            message = f"Nothing is served at {path[:128]} on the admin listener."
            raise NoSuchPath(message)
        except MetabolicError as error:
            return error_response(error, self.inference.redact)

    async def _page(self, exchange: Exchange) -> Response:
        """Answer for the page, where it is on this listener. Raises ``NoSuchPath``."""
        if not self.page.shares_listener():
            message = "The page is not on this listener: see [admin] in the configuration."
            raise NoSuchPath(message)
        return await self.page(exchange)

    async def _other(self, exchange: Exchange) -> Response:
        """Answer everything but inference."""
        try:
            if exchange.path == _FEEDBACK and exchange.method == "POST":
                return await feedback(self.inference, exchange)
            handler, allowed = self._find(exchange.path)
            if exchange.method == "OPTIONS":
                return Response(status=204, headers=((b"allow", allowed),))
            if handler is None or exchange.method not in {"GET", "HEAD"}:
                message = f"{exchange.method[:16]} is not allowed here."
                error = error_response(WrongMethod(message), self.inference.redact)
                return Response(status=405, body=error.body, headers=((b"allow", allowed),))
            return await handler(exchange)
        except MetabolicError as error:
            return error_response(error, self.inference.redact)

    def _find(self, path: str) -> tuple[Handler | None, bytes]:
        """Return the reading handler of a path, and what ``Allow`` says.

        Raises:
            NoSuchPath: nothing is served there.
        """
        if path in _DIALECTS or path in {_COUNT, _FEEDBACK}:
            return None, b"POST, OPTIONS"
        handler = self._reads.get(path)
        for prefix, below in self._below:
            if handler is None and path.startswith(prefix) and len(path) > len(prefix):
                handler = below
        if handler is None:
            message = f"Nothing is served at {path[:128]}."
            raise NoSuchPath(message)
        return handler, b"GET, HEAD, OPTIONS"

    async def _crashed(self, exchange: Exchange) -> None:
        """Say that it broke, as far as the answer has not been sent."""
        error = Crash("The gateway failed to answer; its log says why.")
        stream = exchange.stream
        if stream is not None and stream.begun:
            await stream.fail(error_event(error, self.inference.redact))
        elif not exchange.begun:
            await exchange.respond(error_response(error, self.inference.redact))

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        """Start the runtime with the server and close it with it."""
        await receive()
        try:
            await self.runtime.start()
        except MetabolicError as error:
            await send(
                {"type": "lifespan.startup.failed", "message": self.inference.redact(str(error))}
            )
            return
        self.configure()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.admin.draining = True
        await self.runtime.aclose(drain_s=self.runtime.config.server.drain_s)
        await send({"type": "lifespan.shutdown.complete"})
