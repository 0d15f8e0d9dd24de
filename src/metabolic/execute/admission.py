"""Lets calls in to a deployment: as many as it can take, in order, or not at all.

One gate for each deployment that is watched. A call that finds room walks through without
waiting; others stand in a bounded line, ordered by ``decide.admit``. Who is too late, or finds the
line full, is shed at once with the seconds after which asking again is worth it; a newcomer of
higher order takes the place of the last in line.
"""

__all__ = ["Admission", "Conditions", "Gate", "Pass", "Tell", "Waiting", "refused"]

import asyncio
import heapq
from collections.abc import Callable
from typing import NoReturn

from msgspec import Struct

from metabolic.core.attempt import Attempt
from metabolic.core.errors import Overloaded, Shed, TimedOut
from metabolic.core.ports import Clock
from metabolic.core.request import Ask
from metabolic.decide.admit import (
    Flow,
    Rules,
    Ticket,
    fits,
    in_force,
    late,
    learned,
    order,
    wait_s,
)
from metabolic.execute.admission_pace import Paces

_LEAST_RETRY_S = 1.0
_OUTPUT_TOKENS = 512
"""What an answer may write where the client sets no limit."""


class Conditions(Struct, frozen=True, kw_only=True):
    """What holds now for one deployment; ``None`` is unknown and moves nothing.

    ``slots`` are those that memory pressure leaves (``decide.impacts.slots``).
    """

    throttle_risk_ratio: float | None = None
    memory_ratio: float | None = None
    kv_used_ratio: float | None = None
    kv_capacity_tokens: int | None = None
    kv_block: int = 16
    preempting: bool = False
    slots: int | None = None


class Pass(Struct, frozen=True, kw_only=True):
    """Leave to work on one call: given back with ``Gate.leave``."""

    ticket: Ticket
    reached: bool
    waited_s: float


Tell = Callable[["Pass | Shed"], None]
"""Takes what became of one who waited."""


class Waiting:
    """One call in line."""

    __slots__ = ("done", "key", "since_s", "tell", "ticket")

    def __init__(self, ticket: Ticket, tell: Tell, since_s: float) -> None:
        """Stand in line from ``since_s`` on."""
        self.ticket, self.tell, self.since_s = ticket, tell, since_s
        self.key = order(ticket)
        self.done = False

    def __lt__(self, other: "Waiting") -> bool:
        """Say who goes first."""
        return self.key < other.key

    def answer(self, answer: "Pass | Shed") -> None:
        """Tell it, once."""
        self.done = True
        self.tell(answer)


class Gate:
    """The gate of one deployment."""

    def __init__(
        self,
        deployment: str,
        rules: Rules,
        *,
        clock: Clock,
        now: Callable[[], Conditions],
        need: Callable[[int], int] | None = None,
    ) -> None:
        """Open with ``rules.start``; ``now`` says what holds.

        ``need`` is what so many tokens take of the cache, in the unit of its capacity.
        """
        self.need = need or _tokens
        self.deployment, self.rules = deployment, rules
        self.flow = Flow(limit=float(min(rules.start, rules.most)))
        self.inside = self.held = self.shed = self.admitted = 0
        self.waited_s = 0.0
        self._clock, self._now = clock, now
        self._line: list[Waiting] = []
        self._count = 0

    @property
    def waiting(self) -> int:
        """How many stand in line."""
        return len(self._line)

    def limit(self) -> int:
        """Return how many may be inside now."""
        return self._limit(self._now())

    def _limit(self, now: Conditions) -> int:
        """Return the limit under conditions; an engine that preempts takes nobody more."""
        limit = in_force(
            self.flow, throttle_risk_ratio=now.throttle_risk_ratio, memory_ratio=now.memory_ratio
        )
        if now.slots is not None:
            limit = min(limit, now.slots)
        return max(1, min(limit, self.inside)) if now.preempting else limit

    def room(self, tokens: int) -> bool:
        """Say whether a call of so many tokens would walk through."""
        now = self._now()
        return self.inside < self._limit(now) and self._fits(tokens, now)

    def _fits(self, tokens: int, now: Conditions) -> bool:
        """Say whether its cache fits; who is alone always does."""
        return self.inside == 0 or fits(
            tokens,
            held=self.held,
            used_ratio=now.kv_used_ratio,
            capacity=now.kv_capacity_tokens,
            block=now.kv_block,
        )

    def ticket(
        self,
        *,
        priority: int = 0,
        due_s: float | None = None,
        answer_s: float = 0.0,
        tokens: int,
        least: int = 0,
    ) -> Ticket:
        """Return a ticket with the next number."""
        self._count += 1
        return Ticket(
            number=self._count,
            priority=priority,
            due_s=due_s,
            answer_s=answer_s,
            tokens=tokens,
            least=least,
        )

    async def enter(self, ticket: Ticket) -> Pass:
        """Wait until the call may begin.

        Raises:
            Shed: the line is full, or the answer would come too late.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Pass | Shed] = loop.create_future()

        def tell(answer: Pass | Shed) -> None:
            if not future.done():
                future.set_result(answer)
            elif isinstance(answer, Pass):
                self._out(answer.ticket)  # it left in the same moment

        found = self.offer(ticket, tell)
        if isinstance(found, Pass):
            return found
        timer = loop.call_later(self.patience_s(ticket), self.expire, found)
        try:
            answer = await future
        except asyncio.CancelledError:
            self._cancelled(found, future)
            raise
        finally:
            timer.cancel()
        if isinstance(answer, Shed):
            raise answer
        return answer

    def _cancelled(self, waiting: Waiting, future: "asyncio.Future[Pass | Shed]") -> None:
        """Take out one whose client left, even when it was just let in."""
        self._forget(waiting)
        if future.done() and not future.cancelled() and isinstance(future.result(), Pass):
            self._out(waiting.ticket)

    def offer(self, ticket: Ticket, tell: Tell) -> "Pass | Waiting":
        """Let a call in at once, or put it in line: ``tell`` then hears what became of it.

        Raises:
            Shed: the line is full, or the answer would come too late.
        """
        since_s = self._clock.monotonic_s()
        if ticket.least:
            capacity = self._now().kv_capacity_tokens
            if capacity and ticket.least > capacity:
                self._refuse("its prompt is more than the whole cache", ticket, 0)
        if not self._line and self.room(ticket.tokens):
            return self._let_in(ticket, since_s)
        self._check(ticket, since_s)
        waiting = Waiting(ticket, tell, since_s)
        heapq.heappush(self._line, waiting)
        return waiting

    def leave(self, given: Pass, *, token_s: float | None = None, refused: bool = False) -> None:
        """Give the place back, with what was learned, and let the next ones in."""
        self.flow = learned(
            self.flow, self.rules, token_s=token_s, reached=given.reached, refused=refused
        )
        self._out(given.ticket)

    def _out(self, ticket: Ticket) -> None:
        """Count a call out and let others in."""
        self.inside -= 1
        self.held -= ticket.tokens
        self.open()

    def open(self) -> None:
        """Let in who may come now, in order; who has become late is shed."""
        while self._line:
            first = self._line[0]
            if late(first.ticket, now_s=self._clock.monotonic_s(), ahead=-1, limit=1):
                heapq.heappop(self._line)
                self._shed(first, "its deadline cannot be met any more")
                continue
            if not self.room(first.ticket.tokens):
                return
            heapq.heappop(self._line)
            first.answer(self._let_in(first.ticket, first.since_s))

    def _let_in(self, ticket: Ticket, since_s: float) -> Pass:
        """Count a call in."""
        self.inside += 1
        self.held += ticket.tokens
        self.admitted += 1
        waited_s = self._clock.monotonic_s() - since_s
        self.waited_s += waited_s
        return Pass(ticket=ticket, reached=self.inside >= self.limit(), waited_s=waited_s)

    def _check(self, ticket: Ticket, now_s: float) -> None:
        """Raise ``Shed`` for who need not wait; a full line makes room for who goes first."""
        limit, key = self.limit(), order(ticket)
        ahead = sum(one.key < key for one in self._line)
        if late(ticket, now_s=now_s, ahead=ahead, limit=limit):
            self._refuse("its deadline cannot be met", ticket, ahead)
        if len(self._line) < self.rules.queue:
            return
        last = max(self._line, key=lambda one: one.key, default=None)
        if last is None or last.key < key:
            self._refuse("the line is full", ticket, ahead)
        self._forget(last)
        self._shed(last, "somebody of higher priority took its place")

    def _refuse(self, why: str, ticket: Ticket, ahead: int) -> NoReturn:
        """Raise ``Shed`` for a newcomer."""
        self.shed += 1
        raise self._error(why, ticket, ahead)

    def _error(self, why: str, ticket: Ticket, ahead: int) -> Shed:
        """Return the error with the seconds after which to ask again."""
        seconds = max(_LEAST_RETRY_S, wait_s(ahead, self.limit(), ticket.answer_s))
        return Shed(f"{self.deployment} is busy: {why}", retry_after_s=min(60.0, seconds))

    def _shed(self, waiting: Waiting, why: str) -> None:
        """Turn away one who waited."""
        self.shed += 1
        waiting.answer(self._error(why, waiting.ticket, len(self._line)))

    def expire(self, waiting: Waiting) -> None:
        """Turn away who has waited long enough."""
        if not waiting.done:
            self._forget(waiting)
            self._shed(waiting, "it waited too long")

    def _forget(self, waiting: Waiting) -> None:
        """Take one out of the line."""
        if waiting in self._line:
            self._line.remove(waiting)
            heapq.heapify(self._line)

    def patience_s(self, ticket: Ticket) -> float:
        """Return how long a call may stand in line."""
        if ticket.due_s is None:
            return self.rules.wait_s
        left_s = ticket.due_s - ticket.answer_s - self._clock.monotonic_s()
        return min(self.rules.wait_s, max(0.0, left_s))


class Admission:
    """The gates of a fleet, by deployment, and the pace of each."""

    def __init__(self, gates: dict[str, Gate], paces: Paces, *, clock: Clock) -> None:
        """Take the gates; a deployment without one is never held up."""
        self.gates, self.paces, self._clock = gates, paces, clock

    def gate(self, deployment: str) -> Gate | None:
        """Return the gate of a deployment; ``None``: everybody may come."""
        return self.gates.get(deployment)

    def ticket(self, gate: Gate, ask: Ask, *, t0_s: float) -> Ticket:
        """Return the ticket of a call for an ask that began at ``t0_s`` (monotonic)."""
        output = ask.max_output_tokens or _OUTPUT_TOKENS
        answer_s = self.paces.answer_s(
            gate.deployment, prompt=ask.input_tokens, output=output, batch=gate.inside + 1
        )
        deadline_s = ask.limits.deadline_s
        return gate.ticket(
            priority=ask.priority,
            due_s=None if deadline_s is None else t0_s + deadline_s,
            answer_s=answer_s,
            tokens=gate.need(ask.input_tokens + output) + (ask.n - 1) * gate.need(output),
            least=gate.need(ask.input_tokens),
        )

    def saw(self, attempt: Attempt, *, running: int, began_s: float) -> float | None:
        """Learn from an answer; return the seconds each of its tokens took, where known."""
        return self.paces.saw(attempt, batch=running, began_s=began_s)

    def limits(self) -> dict[str, int]:
        """Return how many answers each may work on now."""
        return {name: gate.limit() for name, gate in self.gates.items()}

    def open(self) -> None:
        """Look again at every line: conditions have changed."""
        for gate in self.gates.values():
            gate.open()


def refused(error: Exception) -> bool:
    """Say whether an error means that the deployment was given too much."""
    return isinstance(error, Overloaded | TimedOut) and not isinstance(error, Shed)


def _tokens(tokens: int) -> int:
    """Return tokens as they are: nothing is known of what they take."""
    return tokens
