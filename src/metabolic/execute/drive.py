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
from collections.abc import Sequence

from msgspec import Struct

from metabolic.core.attempt import (
    Attempt,
    Began,
    Call,
    Cancel,
    Check,
    Checked,
    ClientGone,
    Effect,
    Ended,
    Event,
    Failure,
    Finish,
    Open,
    Progress,
    Release,
    Reply,
    Run,
    Tick,
    Verdict,
    Wake,
)
from metabolic.core.decision import Decision
from metabolic.core.errors import BackendError, BadReply, MetabolicError, TimedOut
from metabolic.core.ports import Clock, Sink, Validator
from metabolic.core.request import Ask, Request
from metabolic.decide.advance import advance, begin
from metabolic.decide.evidence import merge
from metabolic.execute.calls import Calls, Made
from metabolic.execute.delivery import Relay


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
    """One run under way."""

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
        self._run = begin(decision, deadline_s=ask.limits.deadline_s)
        self._sink = sink
        self._gone = gone
        self._t0_s = driver.clock.monotonic_s()
        self._queue: asyncio.Queue[Event] = asyncio.Queue()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._relays: dict[str, Relay] = {}
        self._replies: dict[str, Reply] = {}
        self._errors: list[MetabolicError] = []
        self._why: dict[str, str] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._events: list[Event] = []
        self._effects: list[Effect] = []

    async def go(self) -> Outcome:
        """Run the loop."""
        self._gone.add_done_callback(self._leave)
        event: Event = Began(at_s=0.0)
        try:
            while True:
                self._events.append(event)
                self._run, effects = advance(self._run, event)
                self._effects.extend(effects)
                for effect in effects:
                    await self._do(effect)
                if self._run.finished:
                    return await self._outcome()
                event = await self._queue.get()
        finally:
            self._gone.remove_done_callback(self._leave)
            if self._timer is not None:
                self._timer.cancel()
            for task in self._tasks.values():
                task.cancel()

    async def _do(self, effect: Effect) -> None:
        """Do what ``advance`` said."""
        match effect:
            case Open():
                self._open(effect.call)
            case Check():
                await self._check(effect.call)
            case Release():
                if effect.call in self._relays:
                    self._relays[effect.call].release()
            case Wake():
                self._wake(effect.at_s)
            case Cancel():
                self._why[effect.call] = effect.why
                self._tasks[effect.call].cancel()
            case Finish():
                pass  # the run says so itself

    def _at_s(self) -> float:
        """Return seconds since the run began."""
        return self._driver.clock.monotonic_s() - self._t0_s

    def _leave(self, _: object) -> None:
        """Tell the run that the client has left."""
        self._queue.put_nowait(ClientGone(at_s=self._at_s()))

    def _wake(self, at_s: float) -> None:
        """Set the one timer of the run."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(
            max(0.0, at_s - self._at_s()), self._tick, at_s
        )

    def _tick(self, at_s: float) -> None:
        """Tell the run that a time has come."""
        self._queue.put_nowait(Tick(at_s=max(at_s, self._at_s())))

    def _open(self, call: Call) -> None:
        """Make a call in a task of its own."""
        if self._sink is not None:
            self._relays[call.id] = Relay(self._sink)
        self._tasks[call.id] = asyncio.create_task(self._make(call))

    async def _make(self, call: Call) -> None:
        """Make a call and tell the run how it ended."""
        began_s = self._at_s()

        def first() -> None:
            if not call.keep:
                self._queue.put_nowait(Progress(call=call.id, at_s=self._at_s()))

        try:
            made = await self._driver.calls.make(
                self._request,
                call,
                t0_s=self._t0_s,
                relay=self._relays.get(call.id),
                first=first,
            )
        except asyncio.CancelledError:
            made = self._cancelled(call, began_s)
        except Exception as exc:  # noqa: BLE001 - a fault of ours in a backend must not hang the client
            error = BadReply(f"{call.deployment}: {type(exc).__name__}")
            made = _broken(call, began_s, self._at_s(), error)
        if made.reply is not None:
            self._replies[call.id] = made.reply
        if made.error is not None:
            self._errors.append(made.error)
        self._queue.put_nowait(Ended(attempt=made.attempt, at_s=made.attempt.ended_s))

    def _cancelled(self, call: Call, began_s: float) -> Made:
        """Return the end of a call we cancelled ourselves."""
        why = self._why.get(call.id, "cancelled")
        ended_s = self._at_s()
        if why == "timeout":
            error = TimedOut(f"{call.deployment} took longer than it may")
            attempt = Attempt(
                call=call,
                began_s=began_s,
                ended_s=ended_s,
                failure=Failure(kind="timed_out", message=str(error)),
            )
            return Made(attempt=attempt, error=error)
        attempt = Attempt(
            call=call,
            began_s=began_s,
            ended_s=ended_s,
            failure=Failure(kind="cancelled", message=why),
        )
        return Made(attempt=attempt)

    async def _check(self, call_id: str) -> None:
        """Ask the validators about an answer, and tell the run what they say."""
        attempt = next(one for one in self._run.attempts if one.call.id == call_id)
        reply = self._replies[call_id]
        verdicts = [
            await validator.check(self._request, attempt, reply)
            for validator in self._driver.validators
        ]
        verdict = merge(verdicts) if verdicts else Verdict(well_formed=True)
        self._queue.put_nowait(Checked(call=call_id, verdict=verdict, at_s=self._at_s()))

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
            error=None if run.answer is not None else _error(run, self._errors),
            streamed=streamed,
        )


def _broken(call: Call, began_s: float, ended_s: float, error: BackendError) -> Made:
    """Return the end of a call that failed by a fault of ours."""
    attempt = Attempt(
        call=call,
        began_s=began_s,
        ended_s=ended_s,
        failure=Failure(kind="bad_reply", message=str(error)),
    )
    return Made(attempt=attempt, error=error)


def _error(run: Run, errors: Sequence[MetabolicError]) -> MetabolicError:
    """Return what the client is told when there is no answer."""
    if errors:
        return errors[-1]
    reasons = [reason for _, verdict in run.verdicts for reason in verdict.reasons]
    return BadReply("no deployment gave a well-formed answer: " + "; ".join(reasons or ["none"]))
