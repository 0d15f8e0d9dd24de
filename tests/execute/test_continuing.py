"""A run whose released stream dies, driven over backends that go on from what was given."""

import asyncio
import json
from typing import Any

import pytest

from metabolic.core.attempt import Reply, ReplyChoice
from metabolic.core.decision import Candidate, Decision, Stage
from metabolic.core.errors import BadReply, Refused, TimedOut, Unreachable
from metabolic.core.fleet import Endpoint
from metabolic.core.request import Ask, Message, Request, Text, Usage
from metabolic.decide.advance import advance, begin
from metabolic.decide.digest import digest
from metabolic.execute.calls import Calls
from metabolic.execute.clock import RealClock
from metabolic.execute.continuing import Continuation
from metabolic.execute.delivery import KEPT_LIMIT_BYTES
from metabolic.execute.drive import Driver
from metabolic.execute.health import Health
from metabolic.execute.snapshot import Snapshot
from metabolic.testing.fleets import deployment, fleet_of

pytestmark = pytest.mark.anyio

WHOLE = "One two  three\n\nfour 🎉 five."
NAMES = ("one", "two")


def event(name: str, delta: Any, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return (
        b"data: " + json.dumps({"id": name, "model": name, "choices": [choice]}).encode() + b"\n\n"
    )


class Speaker:
    """Says ``WHOLE``, or the rest of it, and dies after so many characters of it."""

    def __init__(self, name, dies, seen):
        self._name, self._dies, self._seen = name, dies, seen

    async def stream(self, request, call):
        self._seen.append((self._name, request.given))
        error, after = self._dies.get(self._name, (None, None))
        if error is not None and after is None:
            raise error
        return Said(self._name, request.given, error, after, call)

    async def complete(self, request, call):
        raise AssertionError

    async def healthy(self):
        return True

    async def aclose(self):
        return None


class Said:
    def __init__(self, name, given, error, after, call):
        begun = 0 if given is None else len(given.text)
        rest = WHOLE[begun:]
        self._events = [event(name, {"role": "assistant", "content": ""})]
        self._events += [event(name, {"content": rest[i : i + 2]}) for i in range(0, len(rest), 2)]
        self._events.append(event(name, {}, "stop"))
        self._error = error
        if error is not None:
            self._events = self._events[: 1 + after]
        self._text = rest if call.keep else ""

    def __aiter__(self):
        return self

    async def __anext__(self):
        await asyncio.sleep(0)
        if self._events:
            return self._events.pop(0)
        if self._error is not None:
            raise self._error
        raise StopAsyncIteration

    def reply(self):
        usage = Usage(input_tokens=7, output_tokens=3)
        return Reply(choices=(ReplyChoice(text=self._text),), usage=usage)

    def logprobs(self):
        return []

    async def aclose(self):
        return None


class Sink:
    def __init__(self):
        self.events = b""

    async def write(self, events):
        self.events += events

    @property
    def chunks(self):
        return [json.loads(one[6:]) for one in self.events.split(b"\n\n") if one]

    @property
    def text(self):
        return "".join(
            choice["delta"].get("content") or "" for one in self.chunks for choice in one["choices"]
        )


async def drive(
    dies, *, able=NAMES, delivery: Any = "stream", request=None, gone=None, speaker=Speaker
):
    """Return the outcome, the sink, and who was asked with what; the run must fold again."""
    nobody: Any = None
    clock, seen = RealClock(), []
    fleet = fleet_of(*(deployment(name) for name in NAMES))
    calls = Calls(
        connect=lambda endpoint: speaker(endpoint.deployment, dies, seen),
        endpoints={one: Endpoint(deployment=one, base_url="http://x", model=one) for one in NAMES},
        engines=nobody,
        meter=nobody,
        snapshot=Snapshot(fleet, clock=clock, health=Health(clock), states=lambda: ()),
        health=Health(clock),
        clock=clock,
        first_token_timeout_s=5.0,
        stall_timeout_s=5.0,
    )
    how = None if able is None else Continuation(chat=dict.fromkeys(NAMES, able), text={})
    decision = Decision(
        stages=(Stage(deployment="one"),),
        candidates=tuple(Candidate(deployment=name) for name in NAMES),
        delivery=delivery,
    )
    asked = request or chat()
    sink = Sink()
    gone = gone or asyncio.get_running_loop().create_future()
    made = Driver(calls=calls, validators=(), clock=clock, continuation=how)
    ask = Ask(id="r", at_s=1.0)
    outcome = await made.run(asked, ask, decision, sink=sink, gone=gone)
    run, effects = begin(decision), []
    for one in outcome.events:
        run, now = advance(run, one)
        effects += now
    assert run == outcome.run
    assert digest(tuple(effects)) == digest(outcome.effects)
    return outcome, sink, seen


def chat(**more):
    body = {"messages": [{"role": "user", "content": "Count."}], **more}
    messages = (Message(role="user", content=(Text(text="Count."),)),)
    return Request(
        id="r",
        dialect="chat",
        model="auto",
        stream=True,
        messages=messages,
        body=json.dumps(body).encode(),
    )


@pytest.mark.parametrize("after", range(1, 15))
@pytest.mark.parametrize("delivery", ["stream", "window"])
async def test_a_stream_that_dies_anywhere_is_one_answer(after, delivery):
    outcome, sink, seen = await drive({"one": (Unreachable("lost"), after)}, delivery=delivery)
    assert sink.text == WHOLE
    assert {(one["id"], one["model"]) for one in sink.chunks} == {("one", "one")}
    assert sum("role" in one["choices"][0]["delta"] for one in sink.chunks) == 1
    assert sink.chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert outcome.error is None
    assert outcome.run.answer.deployment == "two"
    assert [name for name, _ in seen] == ["one", "two"]
    assert seen[1][1].text == WHOLE[: 2 * after].rstrip()
    first, second = outcome.run.attempts
    assert (first.call.role, second.call.role) == ("answer", "continued")
    assert first.usage.output_tokens == seen[1][1].tokens
    assert second.usage.output_tokens == 3
    if delivery == "window":
        assert outcome.reply.choices[0].text == WHOLE


@pytest.mark.parametrize("error", [TimedOut("stalled"), BadReply("boom", said=500)])
async def test_a_stall_and_an_error_inside_the_stream_are_gone_on_with(error):
    outcome, sink, _ = await drive({"one": (error, 4)})
    assert sink.text == WHOLE
    assert outcome.error is None


@pytest.mark.parametrize(
    ("dies", "more"),
    [
        ({"one": (Unreachable("lost"), 4)}, {"able": None}),
        ({"one": (Unreachable("lost"), 4)}, {"able": ()}),
        ({"one": (Unreachable("lost"), 0)}, {}),
        ({"one": (Unreachable("lost"), 4)}, {"request": chat(grammar="x")}),
        ({"one": (Refused("no", status=400, body=b""), 4)}, {}),
    ],
)
async def test_where_nobody_can_the_stream_ends_honestly(dies, more):
    outcome, sink, seen = await drive(dies, **more)
    assert WHOLE.startswith(sink.text)
    assert sink.text != WHOLE
    assert outcome.error is dies["one"][0]
    assert outcome.run.answer is None
    assert outcome.streamed
    assert len(seen) == 1


async def test_when_the_second_dies_too_the_client_hears_of_the_first():
    lost, refused = Unreachable("lost"), Refused("prefill", status=400, body=b"{}")
    for second in ((refused, None), (Unreachable("again"), 2)):
        outcome, sink, seen = await drive({"one": (lost, 4), "two": second})
        assert outcome.error is lost
        assert WHOLE.startswith(sink.text)
        assert len(seen) == 2
        assert len(outcome.run.attempts) == 2


async def test_an_answer_too_long_to_keep_ends_honestly():
    class Long(Said):
        def __init__(self, *given):
            super().__init__(*given)
            words = event("one", {"content": "w" * 65536})
            self._events = [self._events[0], *[words] * (KEPT_LIMIT_BYTES // 65536 + 1)]

    class Endless(Speaker):
        async def stream(self, request, call):
            self._seen.append((self._name, request.given))
            return Long(self._name, None, Unreachable("lost"), 1, call)

    outcome, _, seen = await drive({}, speaker=Endless)
    assert outcome.error is not None
    assert len(seen) == 1


async def test_a_client_that_leaves_is_not_answered_on():
    gone = asyncio.get_running_loop().create_future()

    gone.set_result(None)
    outcome, _, seen = await drive({"one": (Unreachable("lost"), 4)}, gone=gone)
    assert outcome.run.gone
    assert len(seen) <= 1
