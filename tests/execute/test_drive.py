"""A run, driven over backends that answer from a script."""

import asyncio
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from metabolic.core.attempt import Cancel, ClientGone, Reply, ReplyChoice, Verdict
from metabolic.core.checkpoint import Checkpoint
from metabolic.core.decision import Decision, Stage
from metabolic.core.errors import Overloaded, Refused, TimedOut, Unreachable
from metabolic.core.fleet import Endpoint
from metabolic.core.request import Ask, Limits, Request, Usage
from metabolic.execute.calls import Calls
from metabolic.execute.clock import RealClock
from metabolic.execute.drive import Driver
from metabolic.execute.health import Health
from metabolic.execute.snapshot import Snapshot
from metabolic.testing.fleets import deployment, fleet_of

pytestmark = pytest.mark.anyio


class Stream:
    """Events from a list; an exception in it is raised in its turn."""

    def __init__(self, events):
        self._events = list(events)
        self.closed = False

    def __aiter__(self):
        return self

    async def __anext__(self):
        if not self._events:
            raise StopAsyncIteration
        event = self._events.pop(0)
        await asyncio.sleep(0)
        if isinstance(event, Exception):
            raise event
        return event

    def reply(self):
        return Reply(choices=(ReplyChoice(text="streamed"),))

    def logprobs(self):
        return []

    async def aclose(self):
        self.closed = True


class Scripted:
    """Answers what the script says for its deployment; ``None`` never answers."""

    def __init__(self, script, endpoint):
        self.name = endpoint.deployment
        self._script = script
        self.cancelled = False

    async def complete(self, request, call):
        answer = self._script[self.name]
        if isinstance(answer, list):
            answer = answer.pop(0)
        if answer is None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self._script["cancelled"] = self.name
                raise
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, str)
        return Reply(choices=(ReplyChoice(text=answer, logprobs=(-0.1, -0.3)),), body=b"{}")

    async def stream(self, request, call):
        answer = self._script[self.name]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Stream) else Stream(answer)

    async def healthy(self):
        return True

    async def aclose(self):
        return None


class Judge:
    """Well-formed, and as confident as the script says of the text."""

    name = "judge"
    cost_s = 0.0

    def __init__(self, confidence):
        self._confidence = confidence

    async def check(self, request, attempt, reply):
        return Verdict(well_formed=True, confidence=self._confidence[reply.choices[0].text])


class Sink:
    def __init__(self):
        self.events = []

    async def write(self, events):
        self.events.append(events)


class Draft(Stream):
    """A stream of tokens that are all as unsure; says how many were asked for."""

    def __init__(self, tokens, logprob):
        super().__init__([b"data: {}\n\n"] * tokens)
        self._tokens, self._logprob = tokens, logprob

    @property
    def written(self):
        return self._tokens - len(self._events)

    def logprobs(self):
        return [self._logprob] * self.written

    def reply(self):
        choice = ReplyChoice(text=f"draft of {self.written}", logprobs=tuple(self.logprobs()))
        return Reply(choices=(choice,), usage=Usage(input_tokens=3, output_tokens=self.written))


NAMES = ("large", "small")


def driver(script, confidence=None):
    nobody: Any = None
    clock = RealClock()
    health = Health(clock)
    fleet = fleet_of(*(deployment(name) for name in NAMES))
    snapshot = Snapshot(fleet, clock=clock, health=health, states=lambda: ())
    calls = Calls(
        connect=lambda endpoint: Scripted(script, endpoint),
        endpoints={
            name: Endpoint(deployment=name, base_url="http://x", model=name) for name in NAMES
        },
        engines=nobody,
        meter=nobody,
        snapshot=snapshot,
        health=health,
        clock=clock,
        first_token_timeout_s=5.0,
        stall_timeout_s=5.0,
    )
    validators = () if confidence is None else (Judge(confidence),)
    return Driver(calls=calls, validators=validators, clock=clock), snapshot


def decision(*names, delivery: Any = "hold"):
    last = len(names) - 1
    return Decision(
        stages=tuple(
            Stage(deployment=name, min_confidence=None if i == last else 0.8)
            for i, name in enumerate(names)
        ),
        delivery=delivery,
    )


async def drive(made, chosen, *, sink=None, limits=None, gone=None):
    request = Request(id="r", dialect="chat", model="auto", stream=sink is not None)
    ask = Ask(id="r", at_s=1.0, limits=limits or Limits())
    gone = gone or asyncio.get_running_loop().create_future()
    return await made.run(request, ask, chosen, sink=sink, gone=gone)


async def test_a_confident_draft_is_the_answer():
    made, _ = driver({"small": "yes"}, {"yes": 0.9})
    outcome = await drive(made, decision("small", "large"))
    assert outcome.run.answer.deployment == "small"
    assert outcome.reply.choices[0].text == "yes"
    assert outcome.error is None
    assert outcome.run.attempts[0].choices[0].logprobs.mean == pytest.approx(-0.2)


async def test_an_unsure_draft_escalates():
    made, _ = driver({"small": "hm", "large": "yes"}, {"hm": 0.4, "yes": 0.9})
    outcome = await drive(made, decision("small", "large"))
    assert outcome.run.answer.deployment == "large"
    assert outcome.run.answer.escalations == 1


async def test_a_dead_last_tier_gives_the_draft_degraded():
    made, _ = driver({"small": "hm", "large": Unreachable("gone")}, {"hm": 0.4})
    outcome = await drive(made, decision("small", "large"))
    assert outcome.run.answer.degraded
    assert outcome.reply.choices[0].text == "hm"


async def test_a_busy_deployment_that_is_alone_is_asked_again_after_it_said():
    made, _ = driver({"small": [Overloaded("later", retry_after_s=0.01), "yes"]}, {"yes": 0.9})
    outcome = await drive(made, decision("small"))
    assert outcome.run.answer.deployment == "small"
    assert [one.failure is None for one in outcome.run.attempts] == [False, True]


async def test_a_client_that_leaves_during_that_wait_ends_the_run():
    made, _ = driver({"small": Overloaded("later", retry_after_s=4.0)}, {})
    gone = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.01, gone.set_result, None)
    outcome = await drive(made, decision("small"), gone=gone)
    assert outcome.run.gone
    assert len(outcome.run.attempts) == 1


async def test_everything_dead_is_the_last_error():
    made, snapshot = driver({"small": Unreachable("a"), "large": TimedOut("b")})
    outcome = await drive(made, decision("small", "large"))
    assert outcome.run.answer is None
    assert isinstance(outcome.error, Unreachable)  # "small" was asked once more
    assert {one.deployment: one.healthy for one in snapshot.loads()} == {
        "large": False,
        "small": False,
    }


async def test_a_refusal_of_the_request_is_passed_on_and_blames_nobody():
    refused = Refused("bad", status=400, body=b'{"error":{}}')
    made, snapshot = driver({"small": refused})
    outcome = await drive(made, decision("small", "large"))
    assert outcome.error is refused
    assert [one.healthy for one in snapshot.loads()] == [None, None]


async def test_an_overloaded_deployment_is_left_alone_and_another_answers():
    made, snapshot = driver({"small": Overloaded("busy", retry_after_s=9), "large": "yes"})
    outcome = await drive(made, decision("small", "large"))
    assert outcome.run.answer.deployment == "large"
    assert {one.deployment: one.healthy for one in snapshot.loads()}["small"] is False


async def test_a_deadline_cancels_what_is_open():
    script = {"small": None}
    made, _ = driver(script)
    outcome = await drive(made, decision("small"), limits=Limits(deadline_s=0.01))
    assert isinstance(outcome.error, TimedOut)
    assert script["cancelled"] == "small"
    assert outcome.run.attempts[0].failure.kind == "timed_out"


async def test_a_client_that_leaves_has_its_call_cancelled_and_billed():
    script = {"small": None}
    made, snapshot = driver(script)
    gone = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(drive(made, decision("small"), gone=gone))
    while snapshot.in_flight() == 0:  # noqa: ASYNC110 - nothing says when a call is open
        await asyncio.sleep(0)
    gone.set_result(None)
    outcome = await running
    assert script["cancelled"] == "small"
    assert any(isinstance(one, ClientGone) for one in outcome.events)
    assert any(isinstance(one, Cancel) for one in outcome.effects)
    assert outcome.run.attempts[0].failure.kind == "cancelled"
    assert snapshot.in_flight() == 0


async def test_a_held_stream_leaves_only_when_it_was_accepted():
    sink = Sink()
    made, _ = driver(
        {"small": [b"data: s\n\n"], "large": [b"data: l1\n\n", b"data: l2\n\n"]},
        {"streamed": 0.4},
    )
    outcome = await drive(made, decision("small", "large"), sink=sink)
    assert b"".join(sink.events) == b"data: l1\n\ndata: l2\n\n"
    assert outcome.streamed
    assert outcome.run.answer.deployment == "large"


async def test_a_relayed_stream_leaves_as_it_comes():
    sink = Sink()
    made, _ = driver({"large": [b"data: 1\n\n", b"data: 2\n\n"]})
    outcome = await drive(made, decision("large", delivery="stream"), sink=sink)
    assert sink.events == [b"data: 1\n\n", b"data: 2\n\n"]
    assert outcome.run.attempts[0].first_token_s is not None


async def test_a_stream_that_breaks_after_its_first_bytes_is_not_continued_by_another():
    sink = Sink()
    made, _ = driver({"large": [b"data: 1\n\n", Unreachable("cut")], "small": [b"data: no\n\n"]})
    chosen = Decision(
        stages=(Stage(deployment="large"),),
        fallbacks=(Stage(deployment="small"),),
        delivery="stream",
    )
    outcome = await drive(made, chosen, sink=sink)
    assert sink.events == [b"data: 1\n\n"]
    assert outcome.run.answer is None
    assert isinstance(outcome.error, Unreachable)
    assert outcome.streamed


async def test_a_fault_of_ours_in_a_backend_is_an_error_and_not_a_hang():
    made, _ = driver({"small": ZeroDivisionError()})
    outcome = await drive(made, decision("small"))
    assert outcome.error.status == 502
    assert "ZeroDivisionError" in str(outcome.error)


@pytest.mark.parametrize(
    ("drafts", "answered"),
    [(("It is 7.", "7"), "small"), (("It is 7.", "8"), "large")],
)
async def test_two_drafts_that_say_the_same_end_the_run(drafts, answered):
    made, _ = driver({"small": list(drafts), "large": "9"})
    chosen = Decision(
        stages=(
            Stage(deployment="small", rule="never"),
            Stage(deployment="small", rule="agreement"),
            Stage(deployment="large"),
        )
    )
    outcome = await drive(made, chosen)
    assert outcome.run.answer.deployment == answered
    assert dict(outcome.run.verdicts)["c1"].agrees is (answered == "small")


def watched():
    made = decision("small", "large")
    at = Checkpoint(deployment="small", tokens=4, min_logprob=-1.0)
    return replace(made, stages=(replace(made.stages[0], checkpoints=(at,)), made.stages[1]))


@pytest.mark.parametrize("streams", [False, True])
async def test_a_hopeless_draft_is_stopped_at_its_checkpoint_and_billed(streams):
    draft = Draft(100, -2.0)
    large = [b"data: large\n\n"] if streams else "yes"
    made, _ = driver({"small": draft, "large": large}, {"yes": 0.9, "streamed": 0.9})
    sink = Sink() if streams else None
    outcome = await drive(made, watched(), sink=sink)
    assert draft.closed
    assert draft.written == 4  # the upstream was read no further
    small, other = outcome.run.attempts
    assert (small.failure.kind, small.failure.code) == ("cancelled", "early abort")
    assert small.usage.output_tokens == 4
    assert small.first_token_s is not None
    assert outcome.run.answer.deployment == other.call.deployment == "large"
    if sink is not None:
        assert sink.events == [b"data: large\n\n"]


async def test_a_draft_that_passes_its_checkpoint_is_given_whole_to_a_client_that_wants_it_whole():
    made, _ = driver({"small": Draft(10, -0.2), "large": "no"}, {"draft of 10": 0.9})
    outcome = await drive(made, watched())
    assert outcome.run.answer.deployment == "small"
    body = msgspec.json.decode(outcome.reply.body)
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "draft of 10"}
    assert body["usage"]["total_tokens"] == 13


async def test_without_checkpoints_a_whole_answer_is_asked_for_in_one_piece():
    made, _ = driver({"small": "yes"}, {"yes": 0.9})
    outcome = await drive(made, decision("small", "large"))
    assert outcome.run.attempts[0].first_token_s is None


async def test_a_client_that_leaves_a_watched_draft_still_stops_it():
    class Endless(Draft):
        async def __anext__(self):
            if self.written == 2:
                gone.set_result(None)
                await asyncio.Event().wait()
            return await super().__anext__()

    gone = asyncio.get_running_loop().create_future()
    draft = Endless(100, -0.2)
    made, _ = driver({"small": draft, "large": "no"}, {})
    outcome = await drive(made, watched(), gone=gone)
    assert outcome.run.gone
    assert draft.closed
