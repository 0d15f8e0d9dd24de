"""A simple model of an engine that batches: slots, KV cache, rates, prefix hits, drafts.

A request waits for a slot and for room for its prompt, is prefilled, and then gives a token each
step. A step takes longer the more sequences share it. When the cache is full the youngest sequence
gives its room back and begins anew (a preemption). Time is the clock's; without rates everything
is instant, and only the order counts.
"""

__all__ = ["EngineSim"]

import asyncio
from collections.abc import AsyncGenerator
from typing import Protocol

_BLOCK = 16


class _Sleeps(Protocol):
    async def sleep(self, seconds: float) -> None: ...


class _Sequence:
    __slots__ = ("held", "preempted")

    def __init__(self) -> None:
        self.held = 0
        self.preempted = False


class EngineSim:
    """The load of one fake engine; what it counts is public.

    ``kv_tokens`` is the room of the cache. Rates are tokens per second of one sequence alone,
    ``None`` is instant. A step of ``n`` sequences takes ``1 + slowdown × (n - 1)`` times as long.
    ``draft_tokens`` a step are drafted, of which ``acceptance`` (in [0, 1]) are kept.
    """

    def __init__(  # noqa: PLR0913 - what it is made of
        self,
        *,
        slots: int = 8,
        kv_tokens: int = 65_536,
        prefill_tokens_per_s: float | None = None,
        decode_tokens_per_s: float | None = None,
        slowdown: float = 0.05,
        draft_tokens: int = 0,
        acceptance: float = 0.0,
        clock: _Sleeps | None = None,
    ) -> None:
        """Begin idle and cold."""
        self.slots, self.kv_tokens = slots, kv_tokens
        self._prefill, self._decode, self._slowdown = (
            prefill_tokens_per_s,
            decode_tokens_per_s,
            slowdown,
        )
        self._k, self._acceptance, self._clock = draft_tokens, acceptance, clock
        self._running: list[_Sequence] = []
        self._known: set[int] = set()
        self._room = asyncio.Condition()
        self._credit = 0.0
        self.waiting = self.kv_used = self.preemptions = self.requests = self.steps = 0
        self.prompt_tokens = self.output_tokens = 0
        self.prefix_queries = self.prefix_hits = 0
        self.drafts = self.drafted = self.accepted = 0

    @property
    def running(self) -> int:
        """Return how many sequences hold a slot."""
        return len(self._running)

    @property
    def kv_used_ratio(self) -> float:
        """Return the share of the cache that is held, in [0, 1]."""
        return self.kv_used / self.kv_tokens

    def held(self) -> tuple[int, ...]:
        """Return the tokens each running sequence holds."""
        return tuple(one.held for one in self._running)

    async def run(self, prompt: str, output_tokens: int) -> AsyncGenerator[None, None]:
        """Yield once for each output token, at its time; frees its room when it is left."""
        words = prompt.split()
        self.requests += 1
        self.prompt_tokens += len(words)
        sequence, given = _Sequence(), 0
        try:
            await self._enter(sequence, len(words), fresh=len(words) - self._hits(words))
            while given < output_tokens:
                await self._step(sequence, len(words) + given)
                for _ in range(min(1 + self._drafted(), output_tokens - given)):
                    given += 1
                    self.output_tokens += 1
                    yield
        finally:
            await self._leave(sequence)

    async def _enter(self, sequence: _Sequence, tokens: int, *, fresh: int) -> None:
        """Wait for a slot and for room, then prefill what is not cached."""
        tokens = min(tokens, self.kv_tokens)
        self.waiting += 1
        try:
            async with self._room:
                await self._room.wait_for(
                    lambda: self.running < self.slots and self.kv_used + tokens <= self.kv_tokens
                )
                self._hold(sequence, tokens)
                self._running.append(sequence)
        finally:
            self.waiting -= 1
        if self._prefill:
            await self._sleep(fresh / self._prefill)

    async def _step(self, sequence: _Sequence, tokens: int) -> None:
        """Take one step's time; begin anew when the room was taken away."""
        while sequence.preempted:
            sequence.preempted = False
            await self._enter(sequence, tokens, fresh=tokens)
        self.steps += 1
        if self._decode:
            await self._sleep((1 + self._slowdown * (self.running - 1)) / self._decode)
        if not sequence.preempted and sequence.held < self.kv_tokens:
            if self.kv_used >= self.kv_tokens:
                await self._preempt()
            if not sequence.preempted:
                self._hold(sequence, sequence.held + 1)

    async def _preempt(self) -> None:
        youngest = self._running[-1]
        youngest.preempted = True
        self.preemptions += 1
        await self._leave(youngest)

    async def _leave(self, sequence: _Sequence) -> None:
        async with self._room:
            if sequence in self._running:
                self._running.remove(sequence)
            self._hold(sequence, 0)
            self._room.notify_all()

    def _hold(self, sequence: _Sequence, tokens: int) -> None:
        self.kv_used += tokens - sequence.held
        sequence.held = tokens

    def _hits(self, words: list[str]) -> int:
        """Return how many leading tokens are cached, in whole blocks, and remember these."""
        self.prefix_queries += len(words)
        hits, fresh = 0, False
        for end in range(_BLOCK, len(words) + 1, _BLOCK):
            key = hash(tuple(words[:end]))
            fresh = fresh or key not in self._known
            self._known.add(key)
            hits = hits if fresh else end
        self.prefix_hits += hits
        return hits

    def _drafted(self) -> int:
        """Return how many drafted tokens this step keeps."""
        if not self._k:
            return 0
        self._credit += self._k * self._acceptance
        kept = int(self._credit)
        self._credit -= kept
        self.drafts += 1
        self.drafted += self._k
        self.accepted += kept
        return kept

    async def _sleep(self, seconds: float) -> None:
        await (self._clock.sleep(seconds) if self._clock else asyncio.sleep(seconds))
