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
from msgspec.structs import replace

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
    FailureKind,
    Finish,
    Open,
    Progress,
    Reached,
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
from metabolic.decide.advance import EARLY_ABORT, advance, begin
from metabolic.decide.agreement import agree
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
    """One run under way.

    ``advance`` opens one call at a time, so one task does it all: it awaits the open call, or the
    validators, and between these awaits steps through ``advance``. A timer or a client that
    leaves steps at once, from its callback, and what ``advance`` then cancels ends this task's
    await and nothing else.
    """

    __slots__ = (
        "_ask",
        "_call",
        "_check",
        "_driver",
        "_effects",
        "_errors",
        "_events",
        "_gone",
        "_idle",
        "_relays",
        "_replies",
        "_request",
        "_run",
        "_sink",
        "_t0_s",
        "_task",
        "_timer",
        "_why",
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
        self._task: asyncio.Task[object] | None = None
        self._why: str | None = None
        self._timer: asyncio.TimerHandle | None = None
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
                if self._call is not None:
                    call, self._call = self._call, None
                    made = await self._make(call)
                    self._step(Ended(attempt=made.attempt, at_s=made.attempt.ended_s))
                elif self._check is not None:
                    checked, self._check = self._check, None
                    verdict = await self._verdict(checked)
                    self._step(Checked(call=checked.call, verdict=verdict, at_s=self._at_s()))
                else:
                    self._idle = asyncio.get_running_loop().create_future()
                    await self._idle  # until a timer, or a client that leaves, has stepped
            return await self._outcome()
        finally:
            self._gone.remove_done_callback(self._leave)
            if self._timer is not None:
                self._timer.cancel()

    def _step(self, event: Event) -> None:
        """Let ``advance`` say what follows from an event, and do it."""
        self._events.append(event)
        self._run, effects = advance(self._run, event)
        self._effects.extend(effects)
        for effect in effects:
            match effect:
                case Open():
                    self._call = effect.call
                case Check():
                    self._check = effect
                case Release():
                    if effect.call in self._relays:
                        self._relays[effect.call].release()
                case Wake():
                    self._wake(effect.at_s)
                case Cancel():
                    self._cancel(effect.why)
                case Finish():
                    pass  # the run says so itself
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

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

    def _cancel(self, why: str) -> None:
        """End the await of the open call, or keep it from being made."""
        if self._why is None:
            self._why = why
            # A draft that is given up at a checkpoint ends itself: it looks at the reason.
            if self._task is not None and why != EARLY_ABORT:
                self._task.cancel()

    async def _make(self, call: Call) -> Made:
        """Make a call and return how it ended, also when it was cancelled."""
        if self._sink is not None:
            self._relays[call.id] = Relay(self._sink)
        began_s = self._at_s()
        if self._why is None:
            self._task = asyncio.current_task()
            try:
                made = await self._driver.calls.make(
                    self._request,
                    call,
                    t0_s=self._t0_s,
                    relay=self._relays.get(call.id),
                    first=lambda: self._first(call),
                    ask=self._ask,
                    reached=lambda tokens, mean: self._reached(call, tokens, mean),
                )
            except asyncio.CancelledError:
                if self._why is None or self._task is None:
                    raise  # somebody else's: the whole run is to end
                self._task.uncancel()
                made = self._cancelled(call, began_s)
            except Exception as exc:  # noqa: BLE001 - a fault of ours must not hang the client
                error = BadReply(f"{call.deployment}: {type(exc).__name__}")
                made = _ended(call, began_s, self._at_s(), "bad_reply", error=error)
            finally:
                self._task = None
        else:
            made = self._cancelled(call, began_s)
        self._why = None
        if made.reply is not None:
            self._replies[call.id] = made.reply
        if made.error is not None:
            self._errors.append(made.error)
        return made

    def _first(self, call: Call) -> None:
        """A relayed stream has its first bytes."""
        if not call.keep:
            self._step(Progress(call=call.id, at_s=self._at_s()))

    def _reached(self, call: Call, tokens: int, logprob: float) -> bool:
        """A draft is at a checkpoint; say whether it is given up."""
        self._step(Reached(call=call.id, tokens=tokens, logprob=logprob, at_s=self._at_s()))
        return self._why == EARLY_ABORT

    def _cancelled(self, call: Call, began_s: float) -> Made:
        """Return the end of a call we cancelled ourselves."""
        if self._why == "timeout":
            error = TimedOut(f"{call.deployment} took longer than it may")
            return _ended(call, began_s, self._at_s(), "timed_out", error=error)
        return _ended(call, began_s, self._at_s(), "cancelled", why=self._why or "")

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
        return replace(verdict, agrees=_agrees(self._replies.get(asked.against), reply))

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


def _ended(
    call: Call,
    began_s: float,
    ended_s: float,
    kind: FailureKind,
    *,
    error: BackendError | None = None,
    why: str = "",
) -> Made:
    """Return the end of a call that gave no answer."""
    attempt = Attempt(
        call=call,
        began_s=began_s,
        ended_s=ended_s,
        failure=Failure(kind=kind, message=why if error is None else str(error)),
    )
    return Made(attempt=attempt, error=error)


def _agrees(before: Reply | None, reply: Reply) -> bool | None:
    """Say whether two answers end in the same; ``None``: several choices, calls, or no answer."""
    if before is None or len(before.choices) != 1 or len(reply.choices) != 1:
        return None
    one, other = before.choices[0], reply.choices[0]
    if one.tool_calls or other.tool_calls:
        return None
    return agree(one.text, other.text)


def _error(run: Run, errors: Sequence[MetabolicError]) -> MetabolicError:
    """Return what the client is told when there is no answer."""
    if errors:
        return errors[-1]
    reasons = [reason for _, verdict in run.verdicts for reason in verdict.reasons]
    return BadReply("no deployment gave a well-formed answer: " + "; ".join(reasons or ["none"]))
