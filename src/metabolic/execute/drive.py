"""The loop: event → ``advance`` → do the effects → record. The only place a request waits.

    while not finished:
        run, effects = advance(run, event)
        do the effects
        event = await next

Everything that is decided is decided by ``advance``; what happens here is opening and cancelling
calls, asking validators, and letting answers out.
"""

__all__ = ["Drive", "Driver", "Outcome"]

import asyncio
from collections.abc import Coroutine

from msgspec import Struct
from msgspec.structs import replace

from metabolic.core.attempt import (
    Began,
    Call,
    Cancel,
    Check,
    Checked,
    ClientGone,
    Effect,
    Ended,
    Event,
    Finish,
    Open,
    Progress,
    Reached,
    Release,
    Reply,
    Retract,
    Run,
    Tick,
    Verdict,
    Wake,
)
from metabolic.core.decision import Decision
from metabolic.core.errors import BadReply, MetabolicError, TimedOut
from metabolic.core.ports import Clock, Sink, Validator
from metabolic.core.request import Ask, Request
from metabolic.decide.advance import EARLY_ABORT, LOST, advance, begin
from metabolic.decide.evidence import merge
from metabolic.execute.calls import Calls, Made
from metabolic.execute.continuing import Continuation, Rest, over
from metabolic.execute.delivery import Relay
from metabolic.execute.ending import agrees, ended, told
from metabolic.execute.stopping import Stop


class Outcome(Struct, frozen=True, kw_only=True):
    """How a run ended: the run, its events and effects, and what the client may have."""

    run: Run
    events: tuple[Event, ...]
    effects: tuple[Effect, ...]
    seconds: float
    reply: Reply | None = None
    error: MetabolicError | None = None
    streamed: bool = False


class Driver(Struct, frozen=True, kw_only=True):
    """What every run is driven with."""

    calls: Calls
    validators: tuple[Validator, ...]
    clock: Clock
    continuation: Continuation | None = None

    async def run(
        self,
        request: Request,
        ask: Ask,
        decision: Decision,
        *,
        sink: Sink | None,
        gone: "asyncio.Future[None]",
    ) -> Outcome:
        """Drive a decision to its end; the answer is in the outcome, or went to ``sink``."""
        return await Drive(self, request, ask, decision, sink=sink, gone=gone).go()


class Drive:
    """One run under way.

    ``advance`` opens one call at a time, so one task does it all: it awaits the open call, or the
    validators, and between these awaits steps through ``advance``. A timer or a client that
    leaves steps at once, from its callback, and what ``advance`` then cancels ends this task's
    await and nothing else. Only a hedge has a task of its own, and from then on the validators
    have, since one answer must not wait for another; each steps through ``advance`` when it ends.
    """

    __slots__ = (
        "_ask",
        "_beside",
        "_call",
        "_check",
        "_driver",
        "_effects",
        "_errors",
        "_events",
        "_fault",
        "_gone",
        "_idle",
        "_relays",
        "_replies",
        "_request",
        "_rest",
        "_run",
        "_sink",
        "_stop",
        "_t0_s",
        "_taken_back",
        "_tasks",
        "_timer",
    )

    def __init__(
        self,
        driver: Driver,
        request: Request,
        ask: Ask,
        decision: Decision,
        *,
        sink: Sink | None,
        gone: "asyncio.Future[None]",
    ) -> None:
        """Prepare to drive ``decision``."""
        self._driver = driver
        self._request = request
        self._ask = ask
        self._run = begin(decision, deadline_s=ask.limits.deadline_s)
        self._sink = sink
        self._gone = gone
        self._t0_s = driver.clock.monotonic_s()
        self._call: Call | None = None
        self._check: Check | None = None
        self._idle: asyncio.Future[None] | None = None
        self._stop = Stop()
        self._fault: BaseException | None = None
        self._beside: dict[str, Stop] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._taken_back = b""
        self._timer: asyncio.TimerHandle | None = None
        self._rest: Rest | None = None
        self._relays: dict[str, Relay] = {}
        self._replies: dict[str, Reply] = {}
        self._errors: list[MetabolicError] = []
        self._events: list[Event] = []
        self._effects: list[Effect] = []

    async def go(self) -> Outcome:
        """Run the loop."""
        self._gone.add_done_callback(self._leave)
        try:
            self._step(Began(at_s=0.0))
            while not self._run.finished:
                if self._fault is not None:
                    raise self._fault
                if self._call is not None:
                    call, self._call = self._call, None
                    made = await self._make(call, self._stop)
                    self._end(made)
                elif self._check is not None:
                    checked, self._check = self._check, None
                    await self._examine(checked)
                else:
                    self._idle = asyncio.get_running_loop().create_future()
                    await self._idle  # until a timer, or a client that leaves, has stepped
            return await self._outcome()
        finally:
            self._gone.remove_done_callback(self._leave)
            if self._timer is not None:
                self._timer.cancel()
            for task in self._tasks:
                task.cancel()

    def _step(self, event: Event) -> None:
        """Let ``advance`` say what follows from an event, and do it."""
        self._events.append(event)
        self._run, effects = advance(self._run, event)
        self._effects.extend(effects)
        for effect in effects:
            match effect:
                case Open():
                    self._open(effect.call)
                case Check():
                    self._have_checked(effect)
                case Release():
                    self._release(effect.call)
                case Retract():
                    self._retract(effect.call)
                case Wake():
                    self._wake(effect.at_s)
                case Cancel():
                    self._cancel(self._beside.get(effect.call, self._stop), effect.why)
                case Finish():
                    pass  # the run says so itself
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def _open(self, call: Call) -> None:
        """Make a call next, or at once beside the one that is being made."""
        if call.role == "hedge":
            self._beside[call.id] = Stop()
            self._spawn(self._race(call))
        else:
            self._call = call

    def _have_checked(self, check: Check) -> None:
        """Have an answer judged next, or at once where another may not wait for it."""
        if self._beside:
            self._spawn(self._examine(check))
        else:
            self._check = check

    def _at_s(self) -> float:
        """Return seconds since the run began."""
        return self._driver.clock.monotonic_s() - self._t0_s

    def _leave(self, _: object) -> None:
        """The client has left."""
        self._step(ClientGone(at_s=self._at_s()))

    def _wake(self, at_s: float) -> None:
        """Set the one timer of the run."""
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(0.0, at_s - self._at_s()), self._tick, at_s)

    def _tick(self, at_s: float) -> None:
        """A time has come."""
        self._step(Tick(at_s=max(at_s, self._at_s())))

    def _release(self, call: str) -> None:
        """Let a call's events out, in place of those that were taken back."""
        relay = self._relays.get(call)
        if relay is not None:
            relay.release(instead=self._taken_back)
        self._taken_back = b""

    def _retract(self, call: str) -> None:
        """Take back a call's events; the next one that is released says so to the client."""
        if call in self._relays:
            self._taken_back = self._relays[call].withdraw()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        """Do some work beside the rest; a fault in it ends the run."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: "asyncio.Task[None]") -> None:
        """Work beside the rest is done."""
        self._tasks.discard(task)
        fault = None if task.cancelled() else task.exception()
        if fault is not None:
            self._fault = fault
            self._cancel(self._stop, "fault")
            if self._idle is not None and not self._idle.done():
                self._idle.set_result(None)

    async def _race(self, call: Call) -> None:
        """Make a call beside another."""
        self._end(await self._make(call, self._beside[call.id]))

    def _end(self, made: Made) -> None:
        """A call is over; when it died, its answer may be gone on with."""
        if made.attempt.failure is None:
            self._step(Ended(attempt=made.attempt, at_s=made.attempt.ended_s))
            return
        relay, how = self._relays.get(made.attempt.call.id), self._driver.continuation
        event, rest = over(made.attempt, self._run, self._request, relay, how)
        if rest is not None:
            self._rest, self._request = rest, rest.request
        self._step(event)

    async def _examine(self, asked: Check) -> None:
        """Have an answer judged."""
        verdict = await self._verdict(asked)
        self._step(Checked(call=asked.call, verdict=verdict, at_s=self._at_s()))

    def _cancel(self, stop: Stop, why: str) -> None:
        """End the await of a call, or keep it from being made."""
        if stop.why is None:
            stop.why = why
            # A draft that is given up at a checkpoint ends itself: it looks at the reason.
            if stop.task is not None and why != EARLY_ABORT:
                stop.task.cancel()

    async def _make(self, call: Call, stop: Stop) -> Made:
        """Make a call and return how it ended, also when it was cancelled."""
        if self._sink is not None:
            self._relays[call.id] = self._relay(self._sink, call)
        began_s = self._at_s()
        if stop.why is None:
            made = await self._asked(call, stop, began_s)
        else:
            made = self._cancelled(call, stop, began_s)
        stop.why = None
        goes_on = self._rest if call.role == "continued" else None
        if made.reply is not None:
            self._replies[call.id] = made.reply if goes_on is None else goes_on.whole(made.reply)
        if made.error is not None and goes_on is None:
            self._errors.append(made.error)  # else the client is told what it broke off with
        return made

    def _relay(self, sink: Sink, call: Call) -> Relay:
        """Return what takes a call's events."""
        if call.role == "continued" and self._rest is not None:
            return self._rest.relay()
        mode, how = self._run.decision.delivery, self._driver.continuation
        keep = how is not None and how.keeps(self._request, call.deployment, mode)
        return Relay(sink, again=mode == "replace", keep=keep)

    async def _asked(self, call: Call, stop: Stop, began_s: float) -> Made:
        """Make a call that nothing has stopped yet."""
        stop.task, stop.pieces, stop.first_s = asyncio.current_task(), 0, None
        try:
            return await self._driver.calls.make(
                self._request,
                call,
                t0_s=self._t0_s,
                relay=self._relays.get(call.id),
                first=lambda: self._first(call),
                ask=self._ask,
                reached=lambda tokens, mean: self._reached(call, stop, tokens, mean),
                stop=stop,
            )
        except asyncio.CancelledError:
            if stop.why is None or stop.task is None:
                raise  # somebody else's: the whole run is to end
            stop.task.uncancel()
            return self._cancelled(call, stop, began_s)
        except Exception as exc:  # noqa: BLE001 - a fault of ours must not hang the client
            error = BadReply(f"{call.deployment}: {type(exc).__name__}")
            return ended(call, began_s, self._at_s(), "bad_reply", error=error)
        finally:
            stop.task = None

    def _first(self, call: Call) -> None:
        """A stream that may leave as it comes has its first bytes."""
        if not call.keep or call.live:
            self._step(Progress(call=call.id, at_s=self._at_s()))

    def _reached(self, call: Call, stop: Stop, tokens: int, logprob: float) -> bool:
        """A draft is at a checkpoint; say whether it is given up."""
        self._step(Reached(call=call.id, tokens=tokens, logprob=logprob, at_s=self._at_s()))
        return stop.why == EARLY_ABORT

    def _cancelled(self, call: Call, stop: Stop, began_s: float) -> Made:
        """Return the end of a call we cancelled ourselves."""
        if stop.why == "timeout":
            error = TimedOut(f"{call.deployment} took longer than it may")
            return ended(call, began_s, self._at_s(), "timed_out", error=error)
        made = ended(call, began_s, self._at_s(), "cancelled", why=stop.why or "")
        if stop.why != LOST:
            return made
        attempt = replace(made.attempt, usage=stop.usage(), first_token_s=stop.first_s)
        return Made(attempt=attempt)

    async def _verdict(self, asked: Check) -> Verdict:
        """Ask the validators about an answer; compare it where that is asked for."""
        attempt = next(one for one in self._run.attempts if one.call.id == asked.call)
        reply = self._replies[asked.call]
        verdicts = [
            await validator.check(self._request, attempt, reply)
            for validator in self._driver.validators
        ]
        verdict = merge(verdicts) if verdicts else Verdict(well_formed=True)
        if asked.against is None:
            return verdict
        return replace(verdict, agrees=agrees(self._replies.get(asked.against), reply))

    async def _outcome(self) -> Outcome:
        """Let out what is held, and say how it ended."""
        run = self._run
        reply, streamed = None, False
        if run.answer is not None:
            reply = self._replies.get(run.answer.call)
            relay = self._relays.get(run.answer.call)
            if relay is not None and not run.gone:
                await relay.flush()
        if self._relays:
            streamed = any(relay.wrote for relay in self._relays.values())
        return Outcome(
            run=run,
            events=tuple(self._events),
            effects=tuple(self._effects),
            seconds=self._at_s(),
            reply=reply,
            error=None if run.answer is not None else told(run, self._errors),
            streamed=streamed,
        )
