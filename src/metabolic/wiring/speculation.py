"""Speculation at run time: what is known of drafting reaches decisions, what came of it is learned.

Nothing is done for a fleet in which nobody drafts.
"""

__all__ = ["Speculating"]

import logging
from collections.abc import Iterable
from contextlib import suppress

from msgspec.structs import replace

from metabolic.core.attempt import Attempt
from metabolic.core.decision import Decision
from metabolic.core.errors import EngineError
from metabolic.core.fleet import Situation
from metabolic.core.ports import Clock
from metabolic.core.request import Ask, Request
from metabolic.core.signals import Signals
from metabolic.core.speculation import Drafts
from metabolic.decide.drafting import is_twin
from metabolic.decide.twins import Wish, due, saved
from metabolic.execute.keeper import Keeper
from metabolic.execute.scrape_read import Observed
from metabolic.execute.snapshot import Snapshot
from metabolic.execute.speculation import Drafted, counted

_NONE = Drafts(drafted_tokens=0, accepted_tokens=0)
_PERIOD_S = 5.0
_LOG = logging.getLogger("metabolic.wiring")


class Speculating:
    """Evidence of drafting, and the local twins that it makes worth their memory."""

    def __init__(
        self,
        snapshot: Snapshot,
        keeper: Keeper,
        *,
        clock: Clock,
        reserve_bytes: int,
    ) -> None:
        """Take what is known of the fleet; ``keeper`` starts local twins."""
        fleet = snapshot.fleet.deployments
        self.drafted = Drafted(fleet)
        self._by_name = {one.name: one for one in fleet}
        self._reporting = frozenset(
            one.name for one in fleet if one.drafting is not None and one.drafting.reports
        )
        self._local = tuple(one for one in fleet if one.kind == "local" and is_twin(one))
        self._snapshot, self._keeper, self._clock = snapshot, keeper, clock
        self._reserve_bytes = reserve_bytes
        self._counters: dict[str, Observed] = {}
        self._saved: dict[str, tuple[float, float]] = {}

    def see(self, situation: Situation, request: Request, ask: Ask, signals: Signals) -> Situation:
        """Return the situation with what is known of drafting for answers like this one."""
        if not self.drafted:
            return situation
        loads = self.drafted.informed(
            situation.load,
            task=signals.task,
            temperature=request.sampling.temperature,
            input_tokens=ask.input_tokens,
        )
        return replace(situation, load=loads)

    def saw(
        self,
        attempts: Iterable[Attempt],
        decision: Decision,
        request: Request,
        ask: Ask,
        signals: Signals,
    ) -> None:
        """Learn from what engines reported of a request's calls, and what was wanted for it."""
        if not self.drafted:
            return
        tokens = 0
        for attempt in attempts:
            name, output = attempt.call.deployment, attempt.usage.output_tokens
            tokens += output or 0
            drafts = attempt.drafts
            if drafts is None and name in self._reporting:
                drafts = _NONE
            if drafts is None or attempt.failure is not None or not output:
                continue
            self.drafted.saw(
                name,
                drafts,
                output_tokens=output,
                task=signals.task,
                temperature=request.sampling.temperature,
                input_tokens=ask.input_tokens,
            )
        if self._local:
            self._wished(decision, tokens)

    def _wished(self, decision: Decision, tokens: int) -> None:
        """Note the work that a wanted twin saves, or would have saved."""
        found = decision.speculation
        if found is None or not found.wanted or found.deployment is None:
            return
        one = self._by_name[found.deployment]
        if not one.decode_tokens_per_s or not found.gain_ratio:
            return
        now_s, (ratio, at_s) = self._clock.monotonic_s(), self._saved.get(one.name, (0.0, 0.0))
        seconds = tokens / one.decode_tokens_per_s * (1.0 - 1.0 / found.gain_ratio)
        self._saved[one.name] = saved(ratio, seconds=seconds, since_s=now_s - at_s), now_s

    async def run(self) -> None:
        """Listen to engines, and start local twins that are worth their memory, for ever."""
        while self.drafted:
            await self._clock.sleep(_PERIOD_S)
            self.listen()
            with suppress(EngineError):  # it did not start: its supervisor says why
                await self.turn()

    def listen(self) -> None:
        """Learn from the counters of engines whose answers do not say what was drafted."""
        for name, one in self._by_name.items():
            if one.drafting is None or name in self._reporting:
                continue
            seen = self._snapshot.seen(name)
            if seen is None:
                continue
            now, before = seen.observed, self._counters.get(name)
            self._counters[name] = now
            steps, drafts = counted(now, before, one.drafting.num_speculative_tokens)
            if drafts is not None:
                self.drafted.saw_all(name, steps=steps, drafts=drafts)

    async def turn(self) -> str | None:
        """Start the twin that is due; return its name. Raises ``EngineError``: it did not start."""
        situation, now_s = self._snapshot.situation(), self._clock.monotonic_s()
        states = dict(self._keeper.states())
        wishes: list[Wish] = []
        for one in self._local:
            ratio, at_s = self._saved.get(one.name, (0.0, now_s))
            left = saved(ratio, seconds=0.0, since_s=now_s - at_s)
            state = states.get(one.name, "absent")
            wishes.append(Wish(deployment=one, state=state, saved_ratio=left))
        name = due(
            wishes,
            situation.metabolic,
            free_bytes=situation.metabolic.memory_available_bytes,
            reserve_bytes=self._reserve_bytes,
        )
        if name is not None:
            _LOG.info("a twin pays for its memory", extra={"deployment": name})
            await self._keeper.ensure(name)
        return name
