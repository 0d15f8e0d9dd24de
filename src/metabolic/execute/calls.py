"""Making one call: wake the engine, open the backend, count it, time it, translate its failure."""

__all__ = ["CallMeter", "Calls", "Engines", "Made", "failure_of"]

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from metabolic.core.attempt import Attempt, Call, Choice, Failure, FailureKind, Reply, ReplyChoice
from metabolic.core.errors import (
    BackendError,
    BadReply,
    EngineError,
    MetabolicError,
    Overloaded,
    Refused,
    Shed,
    TimedOut,
    Unreachable,
)
from metabolic.core.fleet import Endpoint
from metabolic.core.ports import Backend, Clock
from metabolic.core.request import Ask, Request, Usage
from metabolic.decide.advance import EARLY_ABORT, OURS_TO_MEND
from metabolic.decide.evidence import summary_of
from metabolic.edge.whole import whole
from metabolic.execute.admission import Admission, Gate, Pass, refused
from metabolic.execute.checkpoints import GivenUp, Reached, Watcher
from metabolic.execute.delivery import Relay
from metabolic.execute.health import Health
from metabolic.execute.snapshot import Snapshot
from metabolic.execute.stall import Watch
from metabolic.execute.stopping import Stop

_T = TypeVar("_T")

_KINDS: tuple[tuple[type[MetabolicError], FailureKind], ...] = (
    (Overloaded, "overloaded"),
    (TimedOut, "timed_out"),
    (Refused, "refused"),
    (BadReply, "bad_reply"),
    (Unreachable, "unreachable"),
    (EngineError, "not_ready"),
    (BackendError, "bad_reply"),
)


_OTHER: FailureKind = "bad_reply"

_BYTES_PER_TOKEN = 4
_SERVER_FAULT = 500


class Engines(Protocol):
    """What calls need of the keeper of local engines."""

    async def ensure(self, deployment: str) -> Endpoint:
        """Return where it listens, waking it if need be. Raises ``EngineError``."""
        ...

    def using(self, deployment: str) -> AbstractContextManager[None]:
        """Hold it awake."""
        ...


class CallMeter(Protocol):
    """What calls tell the energy meter; ids are ``<request id>/<call id>``."""

    def began(self, call_id: str, pid: int | None, deployment: str, prompt_tokens: float) -> object:
        """Note a call in flight; ``prompt_tokens`` is a guess until the engine reports."""
        ...

    def ended(self, call_id: str, usage: Usage | None, first_s: float | None) -> object:
        """Note its end, what it reported, and when (by the clock) the first token came."""
        ...


class Made(Struct, frozen=True, kw_only=True):
    """A call that is over: the attempt, the answer if there is one, the error if not.

    ``token_s`` is what each token took, where that is known.
    """

    attempt: Attempt
    reply: Reply | None = None
    error: MetabolicError | None = None
    token_s: float | None = None


class _Way(Struct, frozen=True, kw_only=True):
    """When a call began, and who takes what comes of it."""

    began_s: float
    t0_s: float
    relay: Relay | None
    first: Callable[[], None]
    watcher: Watcher | None
    stop: Stop | None


def failure_of(error: MetabolicError) -> Failure:
    """Return an error as the value the core knows."""
    kind = _OTHER
    for one, known in _KINDS:
        if isinstance(error, one):
            kind = known
            break
    return Failure(
        kind=kind,
        message=str(error),
        status=_status(error),
        retry_after_s=error.retry_after_s if isinstance(error, Overloaded) else None,
        code=_code(error),
    )


def _code(error: MetabolicError) -> str | None:
    """Return the upstream's word for it if it is one we act on; any other is not for records."""
    word = error.said if isinstance(error, Refused) else None
    return word if word in OURS_TO_MEND else None


def _status(error: MetabolicError) -> int | None:
    """Return the HTTP status the upstream gave, if it gave one."""
    if isinstance(error, Refused):
        return error.status
    return error.said if isinstance(error, BadReply) else None


class Calls:
    """Makes calls on the fleet; keeps one backend per endpoint."""

    def __init__(  # noqa: PLR0913 - the shell is where everything meets
        self,
        *,
        connect: Callable[[Endpoint], Backend],
        endpoints: Mapping[str, Endpoint],
        engines: Engines,
        meter: CallMeter,
        snapshot: Snapshot,
        health: Health,
        clock: Clock,
        first_token_timeout_s: float,
        stall_timeout_s: float,
        metered: frozenset[str] = frozenset(),
        admission: Admission | None = None,
        kept: frozenset[str] = frozenset(),
    ) -> None:
        """``endpoints`` are those that need no engine; every other deployment is woken.

        ``kept`` are those of ``endpoints`` that may sleep: they are woken too.
        ``metered`` are those that draw from a meter here without a process of ours.
        """
        self._metered, self._kept = metered, kept
        self._admission = admission
        self._connect = connect
        self._endpoints = dict(endpoints)
        self._engines = engines
        self._meter = meter
        self._snapshot = snapshot
        self._health = health
        self._clock = clock
        self._first_token_timeout_s = first_token_timeout_s
        self._stall_timeout_s = stall_timeout_s
        self._backends: dict[str, tuple[Endpoint, Backend]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def make(  # noqa: PLR0913 - what a call needs, and who is told of it
        self,
        request: Request,
        call: Call,
        *,
        t0_s: float,
        relay: Relay | None,
        first: Callable[[], None],
        ask: Ask | None = None,
        reached: Reached | None = None,
        stop: Stop | None = None,
    ) -> Made:
        """Make a call and return how it ended; raises only when cancelled.

        ``t0_s`` is the monotonic time the run began. ``relay`` takes the events of a stream;
        ``first`` is told of its first bytes, ``reached`` of the call's checkpoints; ``stop`` keeps
        count of what has come.
        """
        watcher = Watcher(call.checkpoints, reached) if call.checkpoints and reached else None
        began_s = self._clock.monotonic_s() - t0_s
        way = _Way(began_s=began_s, t0_s=t0_s, relay=relay, first=first, watcher=watcher, stop=stop)
        name = call.deployment
        local = name not in self._endpoints or name in self._kept
        self._snapshot.began(name)
        try:
            with self._engines.using(name) if local else nullcontext():
                gate = None if self._admission is None else self._admission.gate(name)
                if self._admission is None or gate is None or ask is None:
                    return await self._made(request, call, way)
                given = await gate.enter(self._admission.ticket(gate, ask, t0_s=t0_s))
                return await _inside(gate, given, self._made(request, call, way))
        except MetabolicError as error:
            self._note(name, error)
            attempt = Attempt(
                call=call,
                began_s=began_s,
                ended_s=self._clock.monotonic_s() - t0_s,
                failure=failure_of(error),
            )
            # The frames it came through hold the run, and the run holds it: no cycle is left.
            return Made(attempt=attempt, error=error.with_traceback(None))
        finally:
            self._snapshot.ended(name)

    async def _made(self, request: Request, call: Call, way: _Way) -> Made:
        """Reach the backend, let the meter know, and collect the answer."""
        backend, pid = await self._reach(call.deployment)
        asked_s = self._clock.monotonic_s() - way.t0_s
        running = self._snapshot.running(call.deployment)
        first_token_s: float | None = None

        def noted() -> None:
            nonlocal first_token_s
            first_token_s = self._clock.monotonic_s() - way.t0_s
            if way.stop is not None:
                way.stop.first_s = first_token_s
            way.first()

        call_id = f"{request.id}/{call.id}"
        usage: Usage | None = None
        metered = pid is not None or call.deployment in self._metered
        if metered:
            prompt_tokens = len(request.body) / _BYTES_PER_TOKEN
            self._meter.began(call_id, pid, call.deployment, prompt_tokens)
        try:
            if way.relay is None and way.watcher is None:
                reply = await backend.complete(request, call)
            else:
                reply = await self._stream(backend, request, call, way, noted)
            usage = reply.usage
        except GivenUp as end:
            reply, usage = None, Usage(output_tokens=end.tokens)
        finally:
            if metered:
                first_s = None if first_token_s is None else way.t0_s + first_token_s
                self._meter.ended(call_id, usage, first_s)
        self._health.answered(call.deployment)
        attempt = self._over(call, way, usage, reply, first_token_s)
        if reply is None:
            return Made(attempt=attempt)
        token_s = None
        if self._admission is not None:
            running = max(running, self._snapshot.running(call.deployment))
            token_s = self._admission.saw(attempt, running=running, began_s=asked_s)
        return Made(attempt=attempt, reply=reply, token_s=token_s)

    def _over(
        self, call: Call, way: _Way, usage: Usage | None, reply: Reply | None, first_s: float | None
    ) -> Attempt:
        """Return a call that is over; without a reply it was given up, and is billed so far."""
        return Attempt(
            call=call,
            began_s=way.began_s,
            ended_s=self._clock.monotonic_s() - way.t0_s,
            first_token_s=first_s,
            usage=usage or Usage(),
            drafts=None if reply is None else reply.drafts,
            choices=() if reply is None else tuple(_choice(one) for one in reply.choices),
            failure=Failure(kind="cancelled", code=EARLY_ABORT) if reply is None else None,
        )

    async def _stream(
        self,
        backend: Backend,
        request: Request,
        call: Call,
        way: _Way,
        first: Callable[[], None],
    ) -> Reply:
        """Take a stream's events; in relayed streams wait for release after the first.

        Without a relay they are put together: a stream only for the sake of a watcher.
        """
        relay, watcher, stop = way.relay, way.watcher, way.stop
        # Tool calls are learned from the whole answer, also where it is relayed as it comes.
        wanted = replace(call, keep=True) if request.tools and not call.keep else call
        stream = await self._in_time(backend.stream(request, wanted))
        try:
            begun = False
            async with Watch(self._stall_timeout_s) as watch:
                async for events in stream:
                    watch.pause()  # a client that reads slowly is no stalled upstream
                    if stop is not None:
                        stop.pieces += 1
                    if not begun:
                        begun = True
                        first()
                        if relay is not None and not call.keep:
                            await relay.opened()
                    if watcher is not None:
                        watcher.look(stream)
                    if relay is not None:
                        await relay.write(events)
                    watch.go_on()
            reply = stream.reply()
            return reply if relay is not None else self._put_together(request, call, reply)
        finally:
            await stream.aclose()

    def _put_together(self, request: Request, call: Call, reply: Reply) -> Reply:
        """Return a streamed answer as the client asked for it: in one piece."""
        created = int(self._clock.now_s())
        body = whole(reply, identity=request.id, model=call.deployment, created=created)
        return replace(reply, body=body)

    async def _in_time(self, waiting: Awaitable[_T]) -> _T:
        """Wait for the upstream to begin. Raises ``TimedOut``."""
        try:
            async with asyncio.timeout(self._first_token_timeout_s):
                return await waiting
        except TimeoutError as exc:
            message = f"no first token within {self._first_token_timeout_s:g} s"
            raise TimedOut(message) from exc

    async def _reach(self, name: str) -> tuple[Backend, int | None]:
        """Return the backend of a deployment and the pid of its engine, waking it if need be."""
        endpoint = self._endpoints.get(name)
        if endpoint is None or name in self._kept:
            endpoint = await self._engines.ensure(name)
        kept = self._backends.get(name)
        if kept is not None and kept[0] is endpoint:
            return kept[1], endpoint.pid
        backend = self._connect(endpoint)
        self._backends[name] = (endpoint, backend)
        if kept is not None:
            task = asyncio.create_task(kept[1].aclose())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        return backend, endpoint.pid

    def _note(self, name: str, error: MetabolicError) -> None:
        """Remember who is better left alone for a while."""
        if isinstance(error, Shed):
            return  # our own gate
        if isinstance(error, Overloaded):
            self._health.busy(name, retry_after_s=error.retry_after_s)
        elif name not in self._endpoints:
            return  # a local engine: its supervisor knows better
        elif isinstance(error, Unreachable | TimedOut):
            self._health.failed(name)
        elif isinstance(error, BadReply) and (error.said or 0) >= _SERVER_FAULT:
            self._health.faulty(name)

    async def aclose(self) -> None:
        """Close every backend."""
        kept, self._backends = self._backends, {}
        await asyncio.gather(*(backend.aclose() for _, backend in kept.values()))
        await asyncio.gather(*self._closing)


async def _inside(gate: Gate, given: Pass, making: Awaitable[Made]) -> Made:
    """Make a call that was let in, and give its place back with what was learned."""
    token_s, too_much = None, False
    try:
        made = await making
        token_s = made.token_s
    except MetabolicError as error:
        too_much = refused(error)
        raise
    else:
        return made
    finally:
        gate.leave(given, token_s=token_s, refused=too_much)


def _choice(one: ReplyChoice) -> Choice:
    """Return a choice without its text."""
    return Choice(
        finish_reason=one.finish_reason,
        tool_calls=len(one.tool_calls),
        output_chars=len(one.text),
        logprobs=summary_of(one.logprobs) if one.logprobs else None,
    )
