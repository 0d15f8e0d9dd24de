"""Going on with an answer whose deployment died after the client had seen the beginning of it.

What has gone is kept as bytes while it goes, and read only when its call has died. ``advance``
says who goes on, if anybody: from then on the run asks for the rest alone, and its events reach
the client through a ``Joined`` relay, as those of the answer that it saw begin.
"""

__all__ = ["Continuation", "Joined", "Rest", "over"]

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from metabolic.core.attempt import Attempt, Ended, Reply, Run
from metabolic.core.delivery import Delivery
from metabolic.core.request import Request
from metabolic.edge.continuing import Joiner, Released, can_go_on, released
from metabolic.execute.delivery import Relay

_LEAVING = frozenset({"stream", "window"})
"""How an answer leaves for good before it is whole."""


class Continuation(Struct, frozen=True, kw_only=True):
    """Who can go on with whose answers: ``chat`` and ``text`` by the deployment that died."""

    chat: Mapping[str, tuple[str, ...]]
    text: Mapping[str, tuple[str, ...]]

    def keeps(self, request: Request, name: str, mode: Delivery) -> bool:
        """Say whether what goes to the client is to be kept; costs next to nothing."""
        if mode not in _LEAVING or request.n != 1:
            return False
        return name in (self.chat if request.dialect == "chat" else self.text)

    def by(self, request: Request, name: str) -> tuple[str, ...]:
        """Return who can go on with an answer of the deployment, replicas first."""
        return (self.chat if request.dialect == "chat" else self.text).get(name, ())


class Rest(Struct, frozen=True, kw_only=True):
    """The rest of an answer: what is asked for, and how it is joined to what has gone."""

    request: Request
    before: Relay
    joiner: Joiner

    def relay(self) -> "Joined":
        """Return what takes the events of the call that goes on."""
        return Joined(self.before, self.joiner)

    def whole(self, reply: Reply) -> Reply:
        """Return the whole answer."""
        if len(reply.choices) != 1:
            return reply
        choice = replace(reply.choices[0], text=self.joiner.text)
        return replace(reply, choices=(choice,))


class Joined(Relay):
    """A relay that has been released already, by the call that died."""

    def __init__(self, before: Relay, joiner: Joiner) -> None:
        """Write behind what has gone by ``before``."""
        super().__init__(before.sink)
        self._before, self._joiner = before, joiner
        self.open = True

    async def write(self, events: bytes) -> None:
        """Pass events on, as those of the answer that has begun."""
        joined = self._joiner.join(events)
        if joined:
            await self._before.write(joined)

    async def flush(self) -> None:
        """Send what is held."""
        await self._before.flush()


def over(
    attempt: Attempt, run: Run, request: Request, relay: Relay | None, how: Continuation | None
) -> tuple[Ended, Rest | None]:
    """Return how a call ended, and the rest of its answer where somebody may go on with it."""
    event = Ended(attempt=attempt, at_s=attempt.ended_s)
    if attempt.failure is None or how is None or relay is None:
        return event, None
    if run.released != attempt.call.id or run.gone or attempt.call.role == "continued":
        return event, None
    names = how.by(request, attempt.call.deployment)
    found = _found(request, relay) if names else None
    if found is None:
        return event, None
    if attempt.usage.output_tokens is None:
        event = replace(event, attempt=_billed(attempt, found))
    rest = Rest(request=replace(request, given=found.given), before=relay, joiner=Joiner(found))
    return replace(event, released_chars=len(found.text), continued_by=names), rest


def _found(request: Request, relay: Relay) -> Released | None:
    """Return what the client has of an answer, if that can be gone on from."""
    events = relay.given()
    return released(events) if events and can_go_on(request) else None


def _billed(attempt: Attempt, found: Released) -> Attempt:
    """Return the attempt with the tokens that the client has of it."""
    usage = replace(attempt.usage, output_tokens=found.given.tokens)
    return replace(attempt, usage=usage)
