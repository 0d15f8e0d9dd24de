"""One engine as the keeper sees it."""

__all__ = ["Track"]

import asyncio

from metabolic.core.fleet import Deployment, Endpoint, State
from metabolic.core.ports import Engine
from metabolic.decide.provision import Item, Use


class Track:
    """What the keeper knows of one engine, and what it does to it now."""

    __slots__ = (
        "deployment",
        "engine",
        "error",
        "failed_start_s",
        "failures",
        "in_flight",
        "last_used_s",
        "order",
        "retired",
        "since_s",
        "started_s",
        "starting",
        "state",
        "task",
        "waiting",
        "wake_s",
        "wanted_since_s",
    )

    def __init__(self, engine: Engine, deployment: Deployment, *, order: int, at_s: float) -> None:
        self.engine = engine
        self.deployment = deployment
        self.order = order
        self.state: State = engine.state
        self.since_s = at_s
        self.last_used_s: float | None = None
        self.failed_start_s: float | None = None
        self.wanted_since_s: float | None = None
        self.started_s = at_s
        self.wake_s: float | None = None
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

    def woke(self, at_s: float) -> None:
        """Note how long a start took: the mean of it and of those before, the last half of it."""
        took_s = max(0.0, at_s - self.started_s)
        self.wake_s = took_s if self.wake_s is None else (self.wake_s + took_s) / 2

    def item(self) -> Item:
        """Return it as ``provision`` sees it."""
        return Item(
            deployment=self.name,
            state=self.state,
            since_s=self.since_s,
            failed_start_s=self.failed_start_s,
            memory_bytes=self.deployment.memory_bytes,
            order=self.order,
            retired=self.retired,
        )

    def use(self) -> Use:
        """Return how it is used."""
        return Use(
            deployment=self.name,
            last_used_s=self.last_used_s,
            in_flight=self.in_flight,
            wanted_since_s=self.wanted_since_s,
        )
