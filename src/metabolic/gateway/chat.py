"""The request path: bytes in, route, bytes out, in every dialect that is served."""

__all__ = ["Busy", "Dialect", "Inference", "NoAnswer"]

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial

import msgspec
from msgspec.structs import replace

from metabolic.core.errors import MetabolicError, RequestError
from metabolic.core.fleet import Deployment
from metabolic.core.receipt import Receipt, Record
from metabolic.core.request import Ask, Request
from metabolic.edge import Dialect, parse
from metabolic.execute.clock import RealClock
from metabolic.gateway import foreign
from metabolic.gateway.ask import Names, make_ask, session
from metabolic.gateway.auth import Keys, refuse_foreign_origin
from metabolic.gateway.body import ClientLeft, Watch, read_body
from metabolic.gateway.exchange import Exchange
from metabolic.gateway.log import record_request
from metabolic.gateway.metrics import Metrics
from metabolic.gateway.redact import Redactor
from metabolic.gateway.repeats import Repeats
from metabolic.gateway.reply import (
    error_event,
    error_response,
    summary,
    summary_head,
    summary_headers,
)
from metabolic.gateway.seam import Outcome, Serving
from metabolic.gateway.stream import EventStream
from metabolic.gateway.switch import names_of
from metabolic.gateway.tasks import TaskDoor

_log = logging.getLogger("metabolic.gateway")
_encode = msgspec.json.Encoder().encode

_CLIENT_LEFT = 499
"""The status that is counted, and sent to nobody, when the client has left. Source: nginx."""

_RECENT = 500
"""Records kept for the page: some megabytes at most."""

_SSE = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


class Busy(MetabolicError):
    """As many requests are being answered as the configuration allows."""

    status = 503
    code = "gateway_busy"
    retry_after_s = 1.0


class NoAnswer(MetabolicError):
    """The runtime gave neither an answer nor a reason."""

    status = 502
    code = "no_answer"


class Inference:
    """Answers the inference endpoints; holds what a request needs of the configuration."""

    def __init__(self, runtime: Serving) -> None:
        """Read the runtime's configuration."""
        self.runtime = runtime
        self.in_flight = 0
        self.metrics = Metrics(runtime, lambda: self.in_flight)
        self.redact = Redactor()
        self.recent: deque[Record] = deque(maxlen=_RECENT if runtime.config.admin.page else 0)
        self.line: Callable[[Receipt, int, float], None] = record_request
        self.tasks = TaskDoor(runtime.config.tasks, RealClock())
        self._fleet: tuple[Deployment, ...] | None = None
        self.configure(self.redact)

    def configure(self, redact: Redactor) -> None:
        """Take over the runtime's configuration, at start and after a reload."""
        server = self.runtime.config.server
        self.redact = redact
        self.keys = Keys(self.runtime.config.keys)
        self.limit_bytes = server.body_limit_bytes
        self._keep_alive_s = server.keep_alive_s
        self.repeats = Repeats(server.idempotency_s) if server.idempotency_s else None
        self._most = server.max_in_flight
        self.tasks.configure(self.runtime.config.tasks)
        self._fleet = None

    @property
    def names(self) -> Names:
        """The model names clients may use; made again when the fleet has changed."""
        fleet = self.runtime.deployments()
        if fleet is not self._fleet:
            self._fleet = fleet
            self._names = names_of(self.runtime.config, fleet)
        return self._names

    def admit(self, headers: Mapping[bytes, bytes]) -> str | None:
        """Return the tenant. Raises ``Unauthorized``, or ``ForeignOrigin`` where no key is set."""
        if self.keys:
            return self.keys.tenant(headers)
        refuse_foreign_origin(headers)
        return None

    async def serve(self, exchange: Exchange, dialect: Dialect) -> None:
        """Answer one request, or refuse it without having called anyone."""
        try:
            request, ask = await self._read(exchange, dialect)
        except ClientLeft:
            return
        except MetabolicError as error:
            self.metrics.refuse(error.code or "invalid_request")
            response = error_response(error, self.redact)
            await exchange.respond(foreign.error_of(response, dialect, exchange.id))
            return
        if self.repeats is None or b"idempotency-key" not in exchange.headers:
            await self._answer(exchange, request, ask)
            return
        try:
            once = partial(self._answer, exchange, request, ask)
            await self.repeats.serve(exchange, request, ask.tenant, once)
        except RequestError as error:
            self.metrics.refuse(error.code or "invalid_request")
            response = error_response(error, self.redact)
            await exchange.respond(foreign.error_of(response, dialect, exchange.id))

    async def _answer(self, exchange: Exchange, request: Request, ask: Ask) -> None:
        """Answer a request that was let in."""
        watch = Watch(exchange.receive, exchange.wire)
        self.in_flight += 1
        self.tasks.began(ask)
        receipt: Receipt | None = None
        try:
            answer = self._stream if request.stream else self._whole
            outcome, status = await answer(exchange, request, ask, watch)
            receipt = outcome.record.receipt
        finally:
            self.in_flight -= 1
            self.tasks.ended(ask, receipt)
            watch.close()
        self._note(exchange, request, outcome, status)

    async def _read(self, exchange: Exchange, dialect: Dialect) -> tuple[Request, Ask]:
        """Check who asks, read, parse. Raises ``MetabolicError`` or ``ClientLeft``."""
        headers = exchange.headers
        tenant = self.admit(headers)
        if self.in_flight >= self._most:
            message = f"{self._most} requests are being answered already; try again soon."
            raise Busy(message)
        body = exchange.wire.take() if exchange.wire is not None else None
        if body is None or len(body) > self.limit_bytes or b"content-encoding" in headers:
            body = await read_body(exchange.receive, headers, limit=self.limit_bytes)
        request = parse(dialect, body, request_id=exchange.id, headers=headers)
        task = None
        if self.tasks.concerns(headers):
            headers, task = self.tasks.enter(request, headers, tenant)
        extras = self.runtime.ask_extras(request, session(headers), tenant)
        ask = make_ask(
            request, headers, names=self.names, at_s=time.time(), tenant=tenant, extras=extras
        )
        return request, ask if task is None else replace(ask, agent_task=task)

    async def _whole(
        self, exchange: Exchange, request: Request, ask: Ask, watch: Watch
    ) -> tuple[Outcome, int]:
        """Answer in one piece."""
        outcome = await self.runtime.answer(request, ask, sink=None, gone=watch.gone)
        if watch.gone.done():
            return outcome, _CLIENT_LEFT
        if outcome.error is not None or outcome.reply is None:
            return outcome, await self._fail(exchange, request, outcome)
        body = outcome.reply.body
        if request.native is not None:
            body = foreign.body_of(request, request.native, body)
        send, wire, exchange.begun = exchange.send, exchange.wire, True
        if wire is not None and wire.respond(summary_head(outcome.record), body):
            return outcome, 200
        headers = summary_headers(outcome.record)
        headers.append((b"content-type", b"application/json"))
        headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})
        return outcome, 200

    async def _stream(
        self, exchange: Exchange, request: Request, ask: Ask, watch: Watch
    ) -> tuple[Outcome, int]:
        """Answer by events; an early error is still a real HTTP status."""
        identity = exchange.id.encode("ascii")
        head = [*_SSE, (b"x-request-id", identity), (b"metabolic-decision", identity)]
        native = request.native
        make = EventStream if native is None else foreign.stream_for(request, native)
        stream = make(
            exchange.send,
            head=head,
            keep_alive_s=self._keep_alive_s,
            gone=watch.gone,
            wire=exchange.wire,
        )
        exchange.stream = stream
        try:
            outcome = await self.runtime.answer(request, ask, sink=stream, gone=watch.gone)
            if watch.gone.done():
                return outcome, _CLIENT_LEFT
            if outcome.error is None and outcome.streamed:
                await stream.finish(_encode(summary(outcome.record)))
                if stream.first_s is not None:
                    self.metrics.began(request.dialect, stream.first_s - exchange.began_s)
                return outcome, 200
            if not stream.begun:
                return outcome, await self._fail(exchange, request, outcome)
            error = outcome.error or NoAnswer("No deployment gave an answer.")
            await stream.fail(error_event(error, self.redact))
            return outcome, error.status
        finally:
            stream.close()

    async def _fail(self, exchange: Exchange, request: Request, outcome: Outcome) -> int:
        """Answer with an error and what is known of the attempt; return its status."""
        error = outcome.error or NoAnswer("No deployment gave an answer.")
        response = error_response(error, self.redact)
        if request.native is not None:
            response = foreign.error_of(response, request.native.dialect, exchange.id)
        headers = (*response.headers, *summary_headers(outcome.record))
        await exchange.respond(msgspec.structs.replace(response, headers=headers))
        return response.status

    def _note(self, exchange: Exchange, request: Request, outcome: Outcome, status: int) -> None:
        """Count the request and write its line."""
        seconds = exchange.seconds()
        self.metrics.done(
            outcome, dialect=request.dialect, model=request.model, status=status, seconds=seconds
        )
        self.recent.append(outcome.record)
        if _log.isEnabledFor(logging.INFO):
            self.line(outcome.record.receipt, status, seconds)
