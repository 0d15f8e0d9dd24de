"""What the gateway needs of the runtime beneath it: one Protocol, so that tests can stand in."""

__all__ = ["ASGI", "Observing", "Outcome", "Receive", "Scope", "Send", "Serving", "Wire"]

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Protocol, runtime_checkable

from metabolic.config import Config
from metabolic.core.attempt import Reply
from metabolic.core.errors import MetabolicError
from metabolic.core.fleet import Deployment, Load
from metabolic.core.hardware import HardwareState
from metabolic.core.metabolic import MetabolicState
from metabolic.core.ports import Sink
from metabolic.core.receipt import Receipt, Record
from metabolic.core.relay import Relay
from metabolic.core.request import Ask, Request, WarmPrefix
from metabolic.decide.shadow_totals import Findings
from metabolic.execute.lane_state import Feedback, LaneView
from metabolic.execute.shadow import Heard

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGI = Callable[[Scope, Receive, Send], Awaitable[None]]


class Wire(Protocol):
    """What a server may offer beside ASGI, as ``scope["metabolic.wire"]``; see ``protocol``."""

    def watch(self, gone: asyncio.Future[None] | None) -> None:
        """Have ``gone`` resolved when the client leaves; ``None`` ends that."""
        ...

    def take(self) -> bytes | None:
        """Return the request's body if it has come whole; ``None``: read it by ASGI."""
        ...

    def respond(self, head: bytes, body: bytes) -> bool:
        """Send a JSON answer of status 200; ``head``: more header lines. False: use ASGI."""
        ...

    def write(self, piece: bytes) -> bool:
        """Send a piece of an answer that has begun; false when it must go by ASGI."""
        ...


class Outcome(Protocol):
    """How a request ended, as ``execute.drive`` says it."""

    @property
    def record(self) -> Record:
        """Return the audit line: decision, attempts, provisional receipt."""
        ...

    @property
    def reply(self) -> Reply | None:
        """Return the whole answer to a request that does not stream; ``None`` if there is none."""
        ...

    @property
    def error(self) -> MetabolicError | None:
        """Return what to answer when there is no answer, or what broke a stream off."""
        ...

    @property
    def streamed(self) -> bool:
        """Say whether events were written to the sink."""
        ...


@runtime_checkable
class Observing(Protocol):
    """What a runtime offers besides where it has a shadow."""

    def relay(self) -> Relay | None:
        """Return what requests are passed on by; ``None`` once they are routed."""
        ...

    def offer(self, heard: Heard) -> None:
        """Take a request that was passed on and answered; never fails, never waits."""
        ...

    def relayed(self, counters: Callable[[], Iterable[tuple[str, float]]]) -> None:
        """Show these counters among the others."""
        ...

    def findings(self) -> Findings:
        """Return what the shadow has found so far."""
        ...


class Serving(Protocol):
    """The runtime as the gateway sees it; ``wiring.Runtime`` is the real one."""

    config: Config

    async def answer(
        self, request: Request, ask: Ask, *, sink: Sink | None, gone: asyncio.Future[None]
    ) -> Outcome:
        """Route and answer; returns soon after ``gone`` is resolved (the client has left)."""
        ...

    def ask_extras(
        self, request: Request, session: str | None, tenant: str | None
    ) -> tuple[tuple[WarmPrefix, ...], str | None]:
        """Return what session memory knows: warm prefixes, and who must answer a tool result."""
        ...

    def deployments(self) -> tuple[Deployment, ...]:
        """Return who can answer, sorted by name."""
        ...

    def loads(self) -> tuple[Load, ...]:
        """Return how busy each deployment is."""
        ...

    def metabolic(self) -> MetabolicState:
        """Return what the machine can afford now."""
        ...

    def hardware(self) -> HardwareState:
        """Return the latest readings."""
        ...

    def receipt(self, request_id: str) -> Receipt | None:
        """Read one receipt from the ledger; blocks, so it is called in a thread."""
        ...

    def feedback(self, given: Feedback, tenant: str | None) -> bool | None:
        """Take a label; ``None``: no such request of this tenant, false: it had one. Blocks."""
        ...

    def lanes(self) -> LaneView:
        """Return the table of lanes, for who watches it."""
        ...

    def strong_shares(self) -> Iterable[tuple[str | None, float]]:
        """Return tenants with their share of the largest models, where it is watched."""
        ...

    def ready(self) -> bool:
        """Say whether at least one deployment can answer."""
        ...

    def snapshot_counters(self) -> Iterable[tuple[str, float]]:
        """Return counters of ledger, meters and engines so far, by stable dotted names."""
        ...

    async def start(self) -> None:
        """Start sensors, ledger and engines; returns before the engines are up."""
        ...

    async def aclose(self, *, drain_s: float) -> None:
        """Finish what is under way within ``drain_s``, then stop everything."""
        ...

    async def reload(self, config: Config) -> None:
        """Take over a valid configuration. Raises ``ConfigError`` and keeps the old one."""
        ...
