"""A runtime that routes nothing: for tests of the gateway, and to see it run without a fleet."""

__all__ = [
    "FakeOutcome",
    "FakeRuntime",
    "NoSink",
    "Script",
    "events",
    "failing",
    "fake_record",
    "saying",
    "streaming",
]

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator

import msgspec
from msgspec import Struct

from metabolic.config import Config
from metabolic.core.attempt import Answer, Attempt, Call, Reply
from metabolic.core.decision import Decision, Stage
from metabolic.core.errors import MetabolicError
from metabolic.core.fleet import Deployment, Load, Model, SituationRef
from metabolic.core.hardware import DeviceState, HardwareState, Reading
from metabolic.core.lanes import Tally
from metabolic.core.metabolic import MetabolicState
from metabolic.core.ports import Sink
from metabolic.core.receipt import RECORD_SCHEMA, Carbon, Cost, Energy, Receipt, Record
from metabolic.core.request import Ask, Request, Usage, WarmPrefix
from metabolic.core.signals import Signals
from metabolic.execute.lane_state import Feedback, LaneView

_USAGE = Usage(input_tokens=7, cached_tokens=2, output_tokens=3, reasoning_tokens=1)


class FakeOutcome(Struct, frozen=True, kw_only=True):
    """How a fake run ended."""

    record: Record
    reply: Reply | None = None
    error: MetabolicError | None = None
    streamed: bool = False


Script = Callable[[Request, Ask, Sink, "asyncio.Future[None]"], Awaitable[FakeOutcome]]
"""What the fake does with a request."""


class NoSink:
    """The sink of a request that does not stream."""

    async def write(self, events: bytes) -> None:
        """Forget the events."""


class FakeRuntime:
    """Answers by a script; ``asked`` keeps what came, ``receipts`` what may be read."""

    def __init__(self, config: Config | None = None, script: Script | None = None) -> None:
        """Without a script every request is answered ``Hello.``."""
        self.config = config or Config()
        self.script = script or saying("Hello.")
        self.asked: list[tuple[Request, Ask]] = []
        self.receipts: dict[str, Receipt] = {}
        self.labels: dict[str, Feedback] = {}
        self.is_ready = True
        self.started = 0
        self.closed_after_s: float | None = None
        self.reload_error: MetabolicError | None = None
        self._fleet = tuple(
            Deployment(name=name, model=Model(id=name, tier="tiny", context_tokens=4096))
            for name in ("large", "small")
        )

    async def answer(
        self, request: Request, ask: Ask, *, sink: Sink | None, gone: "asyncio.Future[None]"
    ) -> FakeOutcome:
        """Follow the script."""
        self.asked.append((request, ask))
        return await self.script(request, ask, sink or NoSink(), gone)

    def ask_extras(
        self, request: Request, session: str | None, tenant: str | None
    ) -> tuple[tuple[WarmPrefix, ...], str | None]:
        """Remember nothing, but for the session ``warm``."""
        del request, tenant
        warm = (WarmPrefix(deployment="small", prefix_tokens=5),) if session == "warm" else ()
        return warm, None

    def deployments(self) -> tuple[Deployment, ...]:
        """Return ``large`` and ``small``."""
        return self._fleet

    def loads(self) -> tuple[Load, ...]:
        """Return both as idle."""
        return tuple(Load(deployment=item.name, healthy=True) for item in self._fleet)

    def metabolic(self) -> MetabolicState:
        """Return a cool machine."""
        return MetabolicState(level="nominal", headroom_c=30.0)

    def hardware(self) -> HardwareState:
        """Return one device at 40 °C."""
        reading = Reading(value=40.0, origin="measured", source="fake")
        device = DeviceState(name="cpu", kind="cpu", temperature_c=reading, throttled=False)
        return HardwareState(taken_at_s=0.0, devices=(device,))

    def feedback(self, given: Feedback, tenant: str | None) -> bool | None:
        """Keep a label of a request that is in ``receipts``, once."""
        del tenant
        if self.receipt(given.id) is None:
            return None
        before = given.id in self.labels
        self.labels.setdefault(given.id, given)
        return not before

    def receipt(self, request_id: str) -> Receipt | None:
        """Look in ``receipts``."""
        return self.receipts.get(request_id)

    def lanes(self) -> LaneView:
        """Return what a keeper with one lane of its tenant's own would show."""
        names = ("*", "invoices@alice", "invoices@alice+long")
        return LaneView(
            tallies=tuple(
                Tally(lane=name, deployment="small", labels=4.0, correct=3.0, answers=9)
                for name in names
            ),
            epoch=7,
            version="abc",
            explored=2,
            explore_left=98,
            splits=1,
            merges=0,
            left_out=0,
            peers=1,
        )

    def strong_shares(self) -> Iterator[tuple[str | None, float]]:
        """Return one tenant who has asked the largest models half of the time."""
        yield "alice", 0.5

    def ready(self) -> bool:
        """Return ``is_ready``."""
        return self.is_ready

    def snapshot_counters(self) -> Iterable[tuple[str, float]]:
        """Return one counter."""
        return (("ledger.appended", float(len(self.asked))),)

    async def start(self) -> None:
        """Count the start."""
        self.started += 1

    async def aclose(self, *, drain_s: float) -> None:
        """Keep how long it might have taken."""
        self.closed_after_s = drain_s

    async def reload(self, config: Config) -> None:
        """Take the configuration, or raise ``reload_error``."""
        if self.reload_error is not None:
            raise self.reload_error
        self.config = config


def saying(text: str, *, deployment: str = "small", confidence: float | None = 0.75) -> Script:
    """Return the script that answers ``text``, whole or as a stream of two events."""

    async def script(
        request: Request, ask: Ask, sink: Sink, gone: "asyncio.Future[None]"
    ) -> FakeOutcome:
        del gone
        answer = Answer(call="c0", deployment=deployment, escalations=1, confidence=confidence)
        record = fake_record(ask, answer)
        if not request.stream:
            return FakeOutcome(record=record, reply=Reply(body=_whole(text), usage=_USAGE))
        for event in events(text):
            await sink.write(event)
        return FakeOutcome(record=record, reply=Reply(usage=_USAGE), streamed=True)

    return script


def failing(error: MetabolicError) -> Script:
    """Return the script that has no answer."""

    async def script(
        request: Request, ask: Ask, sink: Sink, gone: "asyncio.Future[None]"
    ) -> FakeOutcome:
        del request, sink, gone
        return FakeOutcome(record=fake_record(ask, None), error=error)

    return script


def streaming(parts: Iterable[bytes], *, error: MetabolicError | None = None) -> Script:
    """Return the script that writes these events, and then ends or breaks off."""
    written = tuple(parts)

    async def script(
        request: Request, ask: Ask, sink: Sink, gone: "asyncio.Future[None]"
    ) -> FakeOutcome:
        del request, gone
        for part in written:
            await sink.write(part)
        answer = None if error else Answer(call="c0", deployment="small")
        return FakeOutcome(record=fake_record(ask, answer), error=error, streamed=bool(written))

    return script


def events(text: str) -> tuple[bytes, bytes]:
    """Return a text event and one with the finish reason."""
    said: dict[str, object] = {
        "index": 0,
        "delta": {"role": "assistant", "content": text},
        "finish_reason": None,
    }
    ended: dict[str, object] = {"index": 0, "delta": {}, "finish_reason": "stop"}
    return _event(said), _event(ended)


def fake_record(ask: Ask, answer: Answer | None) -> Record:
    """Return the record of one call to one deployment, with a small bill."""
    name = answer.deployment if answer else "small"
    attempt = Attempt(
        call=Call(id="c0", stage=0, deployment=name), began_s=0.0, ended_s=0.01, usage=_USAGE
    )
    return Record(
        schema=RECORD_SCHEMA,
        decision_version=1,
        ask=ask,
        signals=Signals(),
        situation=SituationRef(at_s=ask.at_s, metabolic_id="m", fleet_id="f"),
        decision=Decision(stages=(Stage(deployment=name),)),
        events=(),
        effects_digest="",
        attempts=(attempt,),
        receipt=_receipt(ask, answer),
    )


def _receipt(ask: Ask, answer: Answer | None) -> Receipt:
    """Return a small bill."""
    return Receipt(
        id=ask.id,
        at_s=ask.at_s,
        status="provisional",
        task="other",
        level="nominal",
        answer=answer,
        failure=None,
        seconds=0.01,
        attempts=(),
        usage=_USAGE,
        cpu_s=0.02,
        energy=Energy(energy_j=1.5, low_j=1.0, high_j=2.0, origin="modelled"),
        remote_energy=None,
        cost=Cost(tokens_usd=0.0, electricity_usd=2.5e-7),
        carbon=Carbon(
            carbon_g=0.0002,
            low_g=0.0001,
            high_g=0.0003,
            intensity_g_per_kwh=473.0,
            origin="derived",
        ),
        baselines=(),
    )


def _whole(text: str) -> bytes:
    """Return a chat completion."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    head = {"id": "x", "object": "chat.completion", "created": 0, "model": "small"}
    return msgspec.json.encode({**head, "choices": [choice]})


def _event(choice: dict[str, object]) -> bytes:
    """Return a chat completion chunk as an SSE event."""
    head = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "small"}
    return b"data: " + msgspec.json.encode({**head, "choices": [choice]}) + b"\n\n"
