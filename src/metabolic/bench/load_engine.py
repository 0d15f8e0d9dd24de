"""A batching engine with a paged cache, on simulated time: its physics is not the router's.

A step gives every answer in the batch one token. It lasts ``base_s`` plus ``each_s`` for every
answer, plus ``context_s`` for every token in the cache, plus ``prompt_s`` for every token of the
prompts that begin in it; capped power stretches it. Answers are taken in from a queue, first come
first served, as long as their prompt fits the cache; when a growing answer finds no block, the
youngest is set aside and computed again later (a preemption). One that could never fit is refused
(counted as out of memory).
"""

__all__ = ["Engine", "Job", "Kind"]

from collections import deque
from collections.abc import Callable

from msgspec import Struct

_BLOCK = 16


class Kind(Struct, frozen=True, kw_only=True):
    """What an engine is like; watts are those of its device."""

    base_s: float
    each_s: float
    context_s: float
    prompt_s: float
    cache_tokens: int
    batch: int
    idle_w: float
    busy_w: float
    asleep_w: float
    wake_s: float
    knee: float = 16.0


class Job:
    """One answer under way."""

    __slots__ = ("arrived_s", "done", "ended_s", "first_s", "key", "output", "prompt", "written")

    def __init__(self, key: int, prompt: int, output: int, done: Callable[["Job"], None]) -> None:
        """``done`` is told when it is whole; ``ended_s`` is ``None`` if it was refused."""
        self.key, self.prompt, self.output, self.done = key, prompt, output, done
        self.written = 0
        self.arrived_s = 0.0
        self.first_s: float | None = None
        self.ended_s: float | None = None

    def tokens(self) -> int:
        """Return what it holds of the cache, in whole blocks."""
        return -(-(self.prompt + self.written + 1) // _BLOCK) * _BLOCK


class Engine:
    """One engine; ``after`` runs a function so many simulated seconds later."""

    def __init__(
        self,
        name: str,
        kind: Kind,
        *,
        now: Callable[[], float],
        after: Callable[[float, Callable[[], None]], None],
        awake: bool = True,
    ) -> None:
        """Stand idle, awake or not."""
        self.name, self.kind, self._now, self._after = name, kind, now, after
        self.queue: deque[Job] = deque()
        self.batch: list[Job] = []
        self.stretch = 1.0
        self.power_ratio = 1.0
        self.preemptions = self.refused = self.wakes = 0
        self.state = "warm" if awake else "asleep"
        self.since_s = self.last_used_s = now()
        self._joules = 0.0
        self._watts_since_s = now()
        self._stepping = False

    def load(self) -> int:
        """Return how many answers it has."""
        return len(self.queue) + len(self.batch)

    def used_ratio(self) -> float:
        """Return the share of its cache in use."""
        return sum(job.tokens() for job in self.batch) / self.kind.cache_tokens

    def watts(self) -> float:
        """Return what its device draws now; while it wakes, half of what work draws."""
        kind, count = self.kind, len(self.batch)
        if self.state == "asleep":
            return kind.asleep_w
        if self.state == "starting":
            return (kind.idle_w + kind.busy_w) / 2
        share = (count / (count + kind.knee)) ** 0.5 if self._stepping and count else 0.0
        return kind.idle_w + (kind.busy_w - kind.idle_w) * share * self.power_ratio

    def joules(self) -> float:
        """Return what it has drawn so far."""
        now_s = self._now()
        self._joules += self.watts() * (now_s - self._watts_since_s)
        self._watts_since_s = now_s
        return self._joules

    def submit(self, job: Job) -> None:
        """Take a job into the queue, waking if need be."""
        job.arrived_s = self.last_used_s = self._now()
        if job.prompt + job.output + _BLOCK > self.kind.cache_tokens:
            self.refused += 1
            job.done(job)
            return
        self.queue.append(job)
        if self.state == "asleep":
            self.wake()
        self._go()

    def wake(self) -> None:
        """Begin to wake."""
        if self.state == "asleep":
            self._turn("starting")
            self.wakes += 1
            self._after(self.kind.wake_s, self._woken)

    def _woken(self) -> None:
        """Be awake, and begin with what waits."""
        self._turn("warm")
        self._go()

    def sleep(self) -> None:
        """Fall asleep, unless there is work."""
        if self.state == "warm" and not self.load():
            self._turn("asleep")

    def _turn(self, state: str) -> None:
        """Come into a state."""
        self.joules()
        self.state, self.since_s = state, self._now()

    def _go(self) -> None:
        """Begin a step if none is under way."""
        if self._stepping or self.state != "warm":
            return
        fresh = self._take()
        if not self.batch:
            return
        self.joules()
        self._stepping = True
        kind, count = self.kind, len(self.batch)
        context = sum(job.prompt + job.written for job in self.batch)
        seconds = kind.base_s + kind.each_s * count + kind.context_s * context
        self._after((seconds + kind.prompt_s * fresh) * self.stretch, self._step)

    def _take(self) -> int:
        """Take jobs from the queue while they fit; return their prompt tokens."""
        held, fresh = sum(job.tokens() for job in self.batch), 0
        while self.queue and len(self.batch) < self.kind.batch:
            job = self.queue[0]
            if held + job.tokens() > self.kind.cache_tokens:
                break
            held += job.tokens()
            fresh += job.prompt + job.written
            self.batch.append(self.queue.popleft())
        return fresh

    def _step(self) -> None:
        """End a step: everybody has a token more."""
        self.joules()
        self._stepping = False
        now_s = self.last_used_s = self._now()
        for job in self.batch:
            job.written += 1
            if job.first_s is None:
                job.first_s = now_s
        ended = [job for job in self.batch if job.written >= job.output]
        self.batch = [job for job in self.batch if job.written < job.output]
        while sum(job.tokens() for job in self.batch) > self.kind.cache_tokens:
            self.queue.appendleft(self.batch.pop())
            self.preemptions += 1
        for job in ended:
            job.ended_s = now_s
            job.done(job)
        self._go()
