"""The shadow of live traffic: what the policy would have done, tried out behind the answer.

``offer`` is all that the request path calls: it appends to nothing that can be full and waits for
nothing. What follows runs in tasks of its own, so whatever breaks here (a classifier, an engine,
the disk) breaks a task, is counted, and no request knows.

For a sampled request the decision is made as it would be after the switch and driven through the
same driver, with the upstream's answer standing in for a call to it. A decision that asks nobody
cheaper saves nothing and costs nothing; then a candidate is drawn, for its label alone.
"""

__all__ = ["Heard", "Shadows"]

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from hashlib import blake2b

from msgspec import Struct
from msgspec.structs import replace

from metabolic.core.ports import Clock
from metabolic.core.request import Ask, Request
from metabolic.decide.shadow import lot_of, thinning
from metabolic.edge import Dialect, measure, parse
from metabolic.edge.heard import heard as read_answer
from metabolic.execute.chains import Chains
from metabolic.execute.sessions import Sessions
from metabolic.execute.shadow_look import Look, look
from metabolic.execute.shadow_rules import Line, ShadowRules

_log = logging.getLogger("metabolic.shadow")

_LOWEST = -9
"""Of all priorities: whoever waits at a gate goes first."""

_DAY_S = 86_400.0
_DIGEST_BYTES = 8
_SHOWN_CHARS = 200


class Heard(Struct, frozen=True, kw_only=True, gc=False):
    """A request that was passed on and answered with 200: bytes as they went, nothing parsed.

    ``session`` is the client's name for its conversation; ``in_flight`` how many requests were
    being passed on when this one ended.
    """

    id: str
    at_s: float
    dialect: Dialect
    headers: Mapping[bytes, bytes]
    body: bytes
    answer: Callable[[], bytes | None]
    seconds: float
    tenant: str | None = None
    session: str | None = None
    in_flight: int = 0


class Shadows:
    """Looks at what was passed on, within bounds."""

    def __init__(self, rules: ShadowRules, line: Line, *, clock: Clock, salt: bytes) -> None:
        """``salt`` keeps names of sessions and contents from being guessed by their hashes."""
        self._rules, self._line, self._clock, self._salt = rules, line, clock, salt
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(rules.concurrency)
        self._sessions, self._chains = Sessions(), Chains(salt)
        self._counts: Counter[str] = Counter()
        self._day, self._usd, self._energy_j = 0, 0.0, 0.0

    def offer(self, one: Heard) -> None:
        """Take a request that was answered; never fails and never waits."""
        self._counts["offered"] += 1
        if self._rules.sample_ratio <= 0 or len(self._tasks) >= self._rules.queue:
            self._counts["skipped.queue"] += 1
            return
        task = asyncio.get_running_loop().create_task(self._consider(one))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def counters(self) -> tuple[tuple[str, float], ...]:
        """Return counts so far, by dotted names."""
        named = ("offered", "sampled", "kept", "failed", "skipped.queue")
        counts = {**dict.fromkeys(named, 0), **self._counts}
        spent = (("usd_today", self._usd), ("energy_j_today", self._energy_j))
        return (*((name, float(counts[name])) for name in sorted(counts)), *spent)

    async def idle(self) -> None:
        """Wait until nothing is under way."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))

    async def aclose(self) -> None:
        """Give up what is under way."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _done(self, task: "asyncio.Task[None]") -> None:
        """Count how a look ended; whatever broke is named, not raised."""
        self._tasks.discard(task)
        if task.cancelled():
            return
        broke = task.exception()
        if broke is not None:
            self._counts["failed"] += 1
            _log.warning("shadow failed", extra={"reason": _where(broke)})

    async def _consider(self, one: Heard) -> None:
        """Look at a request if its lot falls on it and there is something to spend."""
        rules = self._rules
        request = parse(one.dialect, one.body, request_id=one.id, headers=one.headers)
        session = self._session_of(one, request)
        lot = lot_of(rules.seed, session)
        if request.dialect == "embeddings" or lot >= rules.sample_ratio:
            return
        level = self._line.situation().metabolic.level
        share = thinning(level, in_flight=one.in_flight, busy=rules.busy_in_flight)
        propensity = rules.sample_ratio * share
        if lot >= propensity:
            self._counts["skipped.hot_or_busy"] += 1
            return
        self._counts["sampled"] += 1
        reply = read_answer(one.dialect, one.answer() or b"")
        if reply is None:
            self._counts["skipped.unreadable"] += 1
        elif self._spent():
            self._counts["skipped.budget"] += 1
        else:
            ask = self._ask(one, request)
            async with self._slots:
                await self._look(
                    Look(
                        request=replace(request, stream=False),
                        ask=ask,
                        reply=reply,
                        session=session,
                        propensity=propensity,
                        seconds=one.seconds,
                        lot=lot_of(rules.seed + 1, one.id),
                    )
                )

    async def _look(self, one: Look) -> None:
        """Try a request out, and keep what was learned."""
        found = await look(one, self._rules, self._line, self._sessions)
        self._usd += found.row.spent_usd
        self._energy_j += found.row.spent_energy_j
        self._counts["kept"] += 1
        await self._line.keep(found if self._rules.keep_texts else replace(found, texts=()))

    def _spent(self) -> bool:
        """Say whether the day's budget is used up."""
        day = int(self._clock.now_s() // _DAY_S)
        if day != self._day:
            self._day, self._usd, self._energy_j = day, 0.0, 0.0
        rules = self._rules
        usd, joules = rules.max_usd_per_day, rules.max_energy_j_per_day
        return (usd is not None and self._usd >= usd) or (
            joules is not None and self._energy_j >= joules
        )

    def _session_of(self, one: Heard, request: Request) -> str:
        """Return a hash of the session: of its name, else of the request that it began with."""
        if one.session is not None:
            said = f"{one.tenant or ''}\0{one.session}".encode()
            return blake2b(said, key=self._salt, digest_size=_DIGEST_BYTES).hexdigest()
        return self._chains.of(one.tenant, request)

    def _ask(self, one: Heard, request: Request) -> Ask:
        """Return what a decision would see of the request after the switch."""
        wanted, tokens = measure(request)
        reference = self._rules.references.get(request.model, self._rules.reference)
        return Ask(
            id=one.id,
            at_s=one.at_s,
            dialect=request.dialect,
            tenant=one.tenant,
            session=one.session,
            allowed=tuple(sorted({*self._rules.candidates, reference})),
            n=request.n,
            stream=request.stream,
            needs=wanted,
            priority=_LOWEST,
            input_tokens=tokens,
            max_output_tokens=request.sampling.max_output_tokens,
        )


def _where(broke: BaseException) -> str:
    """Return what broke and where, without its text: that may hold a prompt."""
    at = broke.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    place = "" if at is None else f" at {at.tb_frame.f_code.co_name}:{at.tb_lineno}"
    return f"{type(broke).__name__}{place}"
