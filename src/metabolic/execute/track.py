"""One engine as the keeper sees it."""

__all__ = ["Hint", "Track"]

import asyncio

from msgspec import Struct
from msgspec.structs import replace

from metabolic.core.fleet import Deployment, Endpoint, State
from metabolic.core.ports import Engine
from metabolic.decide.consolidate import Rate, follow
from metabolic.decide.provision import Item, Traits, Use
from metabolic.execute.waking import Standing, Wake

_LEAST_S = 0.5
"""Seconds below which a rate is not followed: ticks come also out of turn."""


class Hint(Struct, frozen=True, kw_only=True):
    """What is configured of a deployment that may sleep; measured figures take its place.

    ``memory_bytes`` ``None``: as the deployment has it.
    """

    traits: Traits = Traits()
    memory_bytes: int | None = None
    room: str = ""
    warm_up: bool = True
    idle_s: float | None = None


class Track:
    """What the keeper knows of one engine, and what it does to it now."""

    __slots__ = (
        "asked",
        "counted_s",
        "deployment",
        "engine",
        "error",
        "failed_sleep_s",
        "failed_start_s",
        "failures",
        "hint",
        "in_flight",
        "last_used_s",
        "look_due_s",
        "looking",
        "order",
        "rate",
        "retired",
        "since_s",
        "started_s",
        "starting",
        "state",
        "task",
        "waiting",
        "wanted_since_s",
    )

    def __init__(
        self,
        engine: Engine,
        deployment: Deployment,
        *,
        order: int,
        at_s: float,
        hint: Hint | None = None,
    ) -> None:
        self.engine = engine
        self.deployment = deployment
        self.order = order
        self.state: State = engine.state
        self.since_s = at_s
        self.last_used_s: float | None = None
        self.failed_start_s: float | None = None
        self.wanted_since_s: float | None = None
        self.started_s = at_s
        self.hint = hint or Hint()
        self.failed_sleep_s: float | None = None
        self.asked, self.counted_s, self.rate = 0, at_s, Rate()
        self.look_due_s = at_s
        self.looking: asyncio.Task[object] | None = None
        self.in_flight = 0
        self.waiting = 0
        self.failures = 0
        self.error: str | None = None
        self.starting = False
        self.retired = False
        self.task: asyncio.Task[object] | None = None

    @property
    def name(self) -> str:
        """Return the deployment's name."""
        return self.deployment.name

    def endpoint(self) -> Endpoint | None:
        """Return where it listens; ``None`` unless it is warm and staying so."""
        if self.engine.state != "warm" or (self.task is not None and not self.starting):
            return None
        return self.engine.endpoint

    def now(self) -> State:
        """Return its state, counting a start that is under way."""
        state = self.engine.state
        return "starting" if self.starting and state != "warm" else state

    def observe(self, at_s: float) -> None:
        """Note a change of state and when it was seen."""
        state = self.now()
        if state != self.state:
            self.state, self.since_s = state, at_s
        if state == "warm":
            self.failed_start_s = None

    def took_s(self, at_s: float) -> float | None:
        """Return how long the start that ends now took; ``None``: a hand found it awake."""
        said: float | None = getattr(self.engine, "load_s", None)
        if said is None and hasattr(self.engine, "look"):
            return None
        return max(0.0, at_s - self.started_s)

    def count(self, at_s: float) -> None:
        """Follow the rate of calls."""
        seconds = at_s - self.counted_s
        if seconds >= _LEAST_S:
            self.rate = follow(self.rate, self.asked, seconds)
            self.asked, self.counted_s = 0, at_s

    def traits(self, wake: Wake | None, stands: Standing, rate_per_s: float | None) -> Traits:
        """Return what is known of it as one that may sleep: what is measured comes first."""
        hint = self.hint.traits
        return replace(
            hint,
            rate_per_s=rate_per_s if hint.rate_per_s is None else hint.rate_per_s,
            idle_w=stands.idle_w if hint.idle_w is None else hint.idle_w,
            asleep_w=stands.asleep_w if hint.asleep_w is None else hint.asleep_w,
            wake_s=hint.wake_s if wake is None else wake.seconds,
            wake_j=hint.wake_j if wake is None or wake.joules is None else wake.joules,
        )

    def item(self, traits: Traits) -> Item:
        """Return it as ``provision`` sees it."""
        hint = self.hint
        memory = hint.memory_bytes
        return Item(
            deployment=self.name,
            state=self.state,
            since_s=self.since_s,
            failed_start_s=self.failed_start_s,
            failed_sleep_s=self.failed_sleep_s,
            memory_bytes=self.deployment.memory_bytes if memory is None else memory,
            order=self.order,
            retired=self.retired,
            room=hint.room,
            warm_up=hint.warm_up,
            idle_s=hint.idle_s,
            traits=traits,
        )

    def use(self) -> Use:
        """Return how it is used."""
        return Use(
            deployment=self.name,
            last_used_s=self.last_used_s,
            in_flight=self.in_flight,
            wanted_since_s=self.wanted_since_s,
            per_s=self.rate.per_s,
        )
