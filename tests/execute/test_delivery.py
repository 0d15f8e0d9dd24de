"""Windows, hedges and answers that are taken back, driven over backends from a script."""

import asyncio

import pytest
from scripted_calls import LARGE, SMALL, Sink, Words, decided, drive, driver

from metabolic.core.checkpoint import Checkpoint
from metabolic.core.decision import Stage
from metabolic.core.delivery import Hedge
from metabolic.core.errors import Unreachable
from metabolic.core.request import Ask, Limits, Request
from metabolic.decide.advance import LOST
from metabolic.execute.delivery import Relay

pytestmark = pytest.mark.anyio


async def test_a_draft_is_shown_and_taken_back_by_the_answer_that_replaces_it():
    draft = Words("he", "m")
    outcome, sink = await drive(
        {"small": draft, "large": Words("ye", "s")},
        decided(SMALL, LARGE, delivery="replace"),
        confidence={"hem": 0.3},
    )
    assert sink.text == "hem<replaced>yes"
    assert outcome.run.answer.deployment == "large"
    assert [one.usage.output_tokens for one in outcome.run.attempts] == [2, 2]


async def test_a_good_draft_is_shown_once_and_not_taken_back():
    outcome, sink = await drive(
        {"small": Words("ye", "s")}, decided(SMALL, LARGE, delivery="replace")
    )
    assert sink.events == [b"ye", b"s"]
    assert outcome.run.answer.deployment == "small"


async def test_a_shown_draft_that_breaks_off_is_replaced():
    _, sink = await drive(
        {"small": Words("he", Unreachable("cut")), "large": Words("yes")},
        decided(SMALL, LARGE, delivery="replace"),
    )
    assert sink.text == "he<replaced>yes"


async def test_a_draft_is_shown_again_when_its_replacement_breaks_off():
    outcome, sink = await drive(
        {"small": Words("he", "m"), "large": Words("ye", Unreachable("cut"))},
        decided(SMALL, LARGE, delivery="replace"),
        confidence={"hem": 0.3},
    )
    assert sink.text == "hem<replaced>ye<replaced>hem"
    assert outcome.run.answer.degraded


async def test_a_replacement_that_never_begins_leaves_the_draft_alone():
    outcome, sink = await drive(
        {"small": Words("he", "m"), "large": Unreachable("down")},
        decided(SMALL, LARGE, delivery="replace"),
        confidence={"hem": 0.3},
    )
    assert sink.text == "hem"
    assert outcome.run.answer.degraded


def windowed(*, least):
    end = Checkpoint(deployment="small", tokens=2, min_logprob=-1.0, release_logprob=least)
    return Stage(deployment="small", min_confidence=0.8, checkpoints=(end,))


async def test_a_window_lets_a_sure_draft_out_while_it_is_written():
    seen, more = asyncio.Event(), asyncio.Event()

    class Watching(Sink):
        async def write(self, events):
            await super().write(events)
            seen.set()

    made, _ = driver({"small": Words("a", "b", more, "c")}, {"abc": 0.1})
    sink = Watching()
    running = asyncio.create_task(
        made.run(
            Request(id="r", dialect="chat", model="auto", stream=True),
            Ask(id="r", at_s=1.0),
            decided(windowed(least=-0.2), LARGE, delivery="window"),
            sink=sink,
            gone=asyncio.get_running_loop().create_future(),
        )
    )
    await seen.wait()  # before the draft is whole
    assert not more.is_set()
    more.set()
    outcome = await running
    assert sink.text == "abc"
    # The whole of it would not have been kept; it is out, and says so.
    assert (outcome.run.answer.deployment, outcome.run.answer.degraded) == ("small", True)
    assert len(outcome.run.attempts) == 1


async def test_a_window_stops_a_draft_in_doubt_and_the_next_stage_streams():
    draft = Words("a", "b", "c", "d", logprob=-3.0)
    outcome, sink = await drive(
        {"small": draft, "large": Words("ye", "s")},
        decided(windowed(least=-0.2), LARGE, delivery="window"),
    )
    assert sink.events == [b"ye", b"s"]
    assert draft.closed
    assert draft.said == ["a", "b"]  # the upstream was read no further
    assert outcome.run.attempts[0].usage.output_tokens == 2


async def test_a_window_holds_what_it_cannot_tell():
    draft = Words("a", "b", "c", logprob=-0.5)
    outcome, sink = await drive(
        {"small": draft, "large": Words("yes")},
        decided(windowed(least=-0.2), LARGE, delivery="window"),
        confidence={"abc": 0.3},
    )
    assert sink.text == "yes"
    assert draft.said == ["a", "b", "c"]
    assert outcome.run.answer.escalations == 1


def hedged(delivery="hedge", **hedge):
    stage = Stage(deployment="small", min_confidence=0.8, hedge=Hedge(**hedge))
    return decided(stage, LARGE, delivery=delivery)


@pytest.mark.parametrize("streams", [True, False])
async def test_the_first_good_answer_wins_and_the_other_is_closed_and_billed(streams):
    never = asyncio.Event()
    slow = Words("a", "b", never)
    outcome, sink = await drive(
        {"small": slow, "large": Words("ye", "s")}, hedged(after_s=0.0), streams=streams
    )
    assert outcome.run.answer.deployment == "large"
    assert outcome.reply.choices[0].text == "yes"
    if sink is not None:
        assert sink.text == "yes"
    assert slow.closed
    won, lost = outcome.run.attempts
    assert (won.call.role, won.failure) == ("hedge", None)
    assert (lost.failure.kind, lost.failure.code) == ("cancelled", LOST)
    # What a stream had written by then is known; an answer in one piece had written nothing yet.
    assert lost.usage.output_tokens == (2 if streams else None)


class Tells(Words):
    """Says when it has begun."""

    def __init__(self, *items):
        super().__init__(*items)
        self.began = asyncio.Event()

    async def __anext__(self):
        self.began.set()
        return await super().__anext__()


async def test_a_good_draft_stops_the_call_beside_it():
    beside = Tells("x", asyncio.Event())
    outcome, sink = await drive(
        {"small": Words("he", beside.began, "y"), "large": beside}, hedged(after_s=0.0)
    )
    assert sink.text == "hey"
    assert beside.closed
    assert outcome.run.answer.deployment == "small"
    assert outcome.run.attempts[1].call.role == "hedge"


async def test_doubt_opens_the_hedge_at_once():
    never = asyncio.Event()
    at = Checkpoint(deployment="small", tokens=2, min_logprob=-0.2)
    doubtful = Words("a", "b", never, logprob=-0.5)
    outcome, _ = await drive(
        {"small": doubtful, "large": Words("yes")}, hedged(after_s=99.0, doubt=at)
    )
    assert outcome.run.answer.deployment == "large"
    assert doubtful.said == ["a", "b"]


async def test_a_slow_verdict_on_one_does_not_hold_up_the_other():
    never = asyncio.Event()
    large = Tells("ye", "s")
    outcome, _ = await drive(
        {"small": Words(large.began, "hm"), "large": large},
        hedged(after_s=0.0),
        confidence={"hm": never},
    )
    assert outcome.run.answer.deployment == "large"


async def test_a_fault_of_ours_in_a_race_ends_it_and_hangs_nobody():
    small, large = Words("a", asyncio.Event()), Words("b")
    with pytest.raises(ZeroDivisionError):
        await drive(
            {"small": small, "large": large},
            hedged(after_s=0.0),
            confidence={"b": ZeroDivisionError()},
        )
    assert small.closed


async def test_a_client_that_leaves_closes_both_calls():
    never = asyncio.Event()
    small, large = Words("a", never), Words("b", never)
    gone = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    loop.call_later(0.02, gone.set_result, None)
    outcome, sink = await drive({"small": small, "large": large}, hedged(after_s=0.0), gone=gone)
    assert loop.time() - began_s < 1.0
    assert small.closed
    assert large.closed
    assert outcome.run.gone
    assert sink.text == ""
    assert [one.failure.kind for one in outcome.run.attempts] == ["cancelled", "cancelled"]


async def test_a_deadline_ends_both_calls():
    never = asyncio.Event()
    small, large = Words("a", never), Words("b", never)
    outcome, _ = await drive(
        {"small": small, "large": large}, hedged(after_s=0.0), limits=Limits(deadline_s=0.03)
    )
    assert outcome.error is not None
    assert [one.failure.kind for one in outcome.run.attempts] == ["timed_out", "timed_out"]


async def test_a_run_that_is_cancelled_from_outside_takes_its_hedge_with_it():
    never = asyncio.Event()
    small, large = Words("a", never), Words("b", never)
    running = asyncio.create_task(drive({"small": small, "large": large}, hedged(after_s=0.0)))
    while not large.said:  # noqa: ASYNC110 - nothing says when a call has begun
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert small.closed
    assert large.closed


def late(delivery):
    hedge = Hedge(after_s=0.0, deployment="twin", late=True)
    return decided(Stage(deployment="large", hedge=hedge), delivery=delivery)


@pytest.mark.parametrize("delivery", ["stream", "hold"])
async def test_a_replica_answers_when_first_bytes_are_late(delivery):
    never = asyncio.Event()
    slow = Words(never)
    outcome, sink = await drive({"large": slow, "twin": Words("ye", "s")}, late(delivery))
    assert sink.text == "yes"
    assert outcome.run.answer.deployment == "twin"
    assert slow.closed


async def test_an_upstream_that_dies_after_it_won_is_an_error_and_nobody_continues_it():
    never = asyncio.Event()
    slow = Words(never)
    outcome, sink = await drive(
        {"large": slow, "twin": Words("ye", Unreachable("cut"))}, late("stream")
    )
    assert sink.text == "ye"
    assert outcome.run.answer is None
    assert isinstance(outcome.error, Unreachable)
    assert slow.closed


async def test_a_relay_without_retraction_takes_back_nothing():
    class Plain:
        def __init__(self):
            self.events = []

        async def write(self, events):
            self.events.append(events)

    sink = Plain()
    relay = Relay(sink)
    relay.release(instead=b"y")
    await relay.write(b"x")
    assert sink.events == [b"x"]
