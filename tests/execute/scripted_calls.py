"""Backends that answer from a script, and runs over them that must fold again."""

import asyncio
from typing import Any

from metabolic.core.attempt import Reply, ReplyChoice, Verdict
from metabolic.core.decision import Decision, Stage
from metabolic.core.fleet import Endpoint
from metabolic.core.request import Ask, Limits, Request, Usage
from metabolic.decide.advance import advance, begin
from metabolic.decide.digest import digest
from metabolic.execute.calls import Calls
from metabolic.execute.clock import RealClock
from metabolic.execute.drive import Driver
from metabolic.execute.health import Health
from metabolic.execute.snapshot import Snapshot
from metabolic.testing.fleets import deployment, fleet_of

NAMES = ("large", "small", "twin")


class Words:
    """A stream of words: events, what they are worth, and what to wait for before each.

    An item is a word, an error that is raised, or an ``asyncio.Event`` that is waited for.
    """

    def __init__(self, *items, logprob=-0.1):
        self._items = list(items)
        self._logprob = logprob
        self.said: list[str] = []
        self.closed = False

    def __aiter__(self):
        return self

    async def __anext__(self):
        while self._items:
            item = self._items.pop(0)
            await asyncio.sleep(0)
            if isinstance(item, asyncio.Event):
                await item.wait()
                continue
            if isinstance(item, Exception):
                raise item
            self.said.append(item)
            return item.encode()
        raise StopAsyncIteration

    def reply(self):
        words = "".join(self.said)
        return Reply(
            choices=(ReplyChoice(text=words, logprobs=tuple(self.logprobs())),),
            usage=Usage(input_tokens=3, output_tokens=len(self.said)),
            body=words.encode(),
        )

    def logprobs(self):
        return [self._logprob] * len(self.said)

    async def aclose(self):
        self.closed = True


class Scripted:
    def __init__(self, script, endpoint):
        self._script, self._name = script, endpoint.deployment

    def _answer(self):
        answer = self._script[self._name]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def stream(self, request, call):
        return self._answer()

    async def complete(self, request, call):
        words = self._answer()
        try:
            async for _ in words:
                pass
        finally:
            await words.aclose()
        return words.reply()

    async def healthy(self):
        return True

    async def aclose(self):
        return None


class Judge:
    """As confident as the script says of the text; ``gate`` is waited for before it says so."""

    name = "judge"
    cost_s = 0.0

    def __init__(self, confidence):
        self._confidence = confidence

    async def check(self, request, attempt, reply):
        said = self._confidence.get(reply.choices[0].text, 0.9)
        if isinstance(said, asyncio.Event):
            await said.wait()
            said = 0.9
        if isinstance(said, Exception):
            raise said
        return Verdict(well_formed=True, confidence=said)


class Sink:
    def __init__(self):
        self.events: list[bytes] = []

    async def write(self, events):
        self.events.append(events)

    async def retract(self, shown):
        assert shown in self.events
        self.events.append(b"<replaced>")

    @property
    def text(self):
        return b"".join(self.events).decode()


def driver(script, confidence):
    nobody: Any = None
    clock = RealClock()
    snapshot = Snapshot(
        fleet_of(*(deployment(name) for name in NAMES)),
        clock=clock,
        health=Health(clock),
        states=lambda: (),
    )
    calls = Calls(
        connect=lambda endpoint: Scripted(script, endpoint),
        endpoints={
            name: Endpoint(deployment=name, base_url="http://x", model=name) for name in NAMES
        },
        engines=nobody,
        meter=nobody,
        snapshot=snapshot,
        health=Health(clock),
        clock=clock,
        first_token_timeout_s=5.0,
        stall_timeout_s=5.0,
    )
    return Driver(calls=calls, validators=(Judge(confidence),), clock=clock), snapshot


async def drive(script, decision, *, confidence=(), streams=True, gone=None, limits=None):
    """Drive to the end; return the outcome and the sink. What was done must fold again."""
    made, snapshot = driver(script, dict(confidence))
    sink = Sink() if streams else None
    request = Request(id="r", dialect="chat", model="auto", stream=streams)
    ask = Ask(id="r", at_s=1.0, limits=limits or Limits())
    gone = gone or asyncio.get_running_loop().create_future()
    outcome = await made.run(request, ask, decision, sink=sink, gone=gone)
    run, effects = begin(decision, deadline_s=ask.limits.deadline_s), []
    for event in outcome.events:
        run, now = advance(run, event)
        effects += now
    assert digest(tuple(effects)) == digest(outcome.effects)
    assert run == outcome.run
    assert snapshot.in_flight() == 0
    return outcome, sink


def decided(*stages, delivery: Any, fallbacks=()):
    return Decision(stages=stages, fallbacks=fallbacks, delivery=delivery)


SMALL = Stage(deployment="small", min_confidence=0.8)
LARGE = Stage(deployment="large")
