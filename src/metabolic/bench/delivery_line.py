"""Two real deployments as a cascade, driven by the very loop the gateway drives with."""

__all__ = ["Line", "Outcome", "Pace", "open_line"]

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from math import exp
from statistics import median
from typing import cast

import msgspec
from msgspec import Struct

from metabolic import plugins
from metabolic.account.work import parameters_of
from metabolic.bench.answers import Respondent, cpu_s_of
from metabolic.bench.fleet import open_fleet
from metabolic.config import Config
from metabolic.core.attempt import Reached, Release, Retract
from metabolic.core.decision import Candidate, Decision, Estimate, Stage
from metabolic.core.delivery import Delivery, DeliveryRules
from metabolic.core.errors import ConfigError
from metabolic.core.fleet import Endpoint, FleetSpec
from metabolic.core.ports import Backend
from metabolic.core.request import Ask, Message, Request, Sampling, Text, Usage
from metabolic.decide.advance import advance, begin
from metabolic.decide.delivering import arranged
from metabolic.decide.drafts import EARLY_ABORT
from metabolic.execute.calls import Calls
from metabolic.execute.clock import RealClock
from metabolic.execute.drive import Driver
from metabolic.execute.drive import Outcome as Driven
from metabolic.execute.health import Health
from metabolic.execute.snapshot import Snapshot
from metabolic.wiring.fleet import assemble, store_of

_SETTLE_S = 0.05
"""An engine whose client has left is still busy for a moment; it belongs to that question."""

_RULES = DeliveryRules(window_tokens=8, hedge_doubt_tokens=8)


class Pace(Struct, frozen=True, kw_only=True):
    """What other questions have shown: the threshold, and when tokens come (``None``: unknown)."""

    min_confidence: float
    estimates: tuple[tuple[str, Estimate], ...]


class Outcome(Struct, frozen=True, kw_only=True):
    """What one question took by one mode.

    ``first_s`` is when the first words left, ``None`` when none did. ``early``: a draft left by its
    window; ``stopped``: one was given up at a checkpoint; ``degraded``: what was given would have
    been refused as a whole.
    """

    answered: bool
    first_s: float | None
    total_s: float
    cpu_s: float | None
    escalated: bool = False
    early: bool = False
    stopped: bool = False
    hedged: bool = False
    replaced: bool = False
    degraded: bool = False


class _Sink:
    """Notes when the first words leave."""

    def __init__(self) -> None:
        self.first_s: float | None = None

    async def write(self, events: bytes) -> None:
        """Take events; those that begin an answer say nothing yet."""
        if self.first_s is None and b'"content":"' in events.replace(b'"content":""', b""):
            self.first_s = time.perf_counter()

    async def retract(self, shown: bytes) -> None:
        """Take back nothing: only times are kept."""


class _Nobody:
    """Neither engines to wake nor meters to tell: both run already, and are read here."""

    async def ensure(self, deployment: str) -> Endpoint:
        """Refuse: every deployment of the bench listens."""
        raise ConfigError(deployment)

    def using(self, deployment: str) -> AbstractContextManager[None]:
        """Hold nothing."""
        del deployment
        return nullcontext()

    def began(self, call_id: str, pid: int | None, deployment: str, prompt_tokens: float) -> None:
        """Note nothing."""

    def ended(self, call_id: str, usage: Usage | None, first_s: float | None) -> None:
        """Note nothing."""


class Line:
    """The two deployments; ``learn`` first, then ``ask``."""

    def __init__(self, draft: Respondent, large: Respondent, *, tokens: int) -> None:
        """Take the smaller and the larger one."""
        self.draft, self.large = draft.deployment.name, large.deployment.name
        self._pair, self._tokens = (draft, large), tokens
        backends = {one.deployment.name: cast("Backend", one.backend) for one in self._pair}
        clock = RealClock()
        health = Health(clock)
        fleet = FleetSpec(id="", deployments=tuple(one.deployment for one in self._pair))
        self._driver = Driver(
            calls=Calls(
                connect=lambda endpoint: backends[endpoint.deployment],
                endpoints={
                    name: Endpoint(deployment=name, base_url="http://127.0.0.1", model=name)
                    for name in backends
                },
                engines=_Nobody(),
                meter=_Nobody(),
                snapshot=Snapshot(fleet, clock=clock, health=health, states=lambda: ()),
                health=health,
                clock=clock,
                first_token_timeout_s=120.0,
                stall_timeout_s=60.0,
            ),
            validators=(plugins.validator("shape", {}), plugins.validator("confidence", {})),
            clock=clock,
        )
        self._asked = 0

    async def learn(self, questions: Sequence[str]) -> Pace:
        """Ask both, and return what is to be gone by; the first question only warms up."""
        confidences: list[float] = []
        estimates: list[tuple[str, Estimate]] = []
        for number, one in enumerate(self._pair):
            seen: list[tuple[float, float, float]] = []
            for text in (questions[0], *questions):
                stage = Stage(deployment=one.deployment.name, min_confidence=0.0)
                made = await self._drive(text, (stage,), "hold")
                attempt = made.run.attempts[0]
                if attempt.first_token_s is None or attempt.failure is not None:
                    continue
                written_s = attempt.ended_s - attempt.first_token_s
                count = attempt.usage.output_tokens or 1
                seen.append((attempt.first_token_s, written_s / count, float(count)))
                summary = attempt.choices[0].logprobs if attempt.choices else None
                if number == 0 and summary is not None:
                    confidences.append(exp(summary.mean))
            if len(seen) < 2:  # noqa: PLR2004 - one of them warmed up
                message = f"{one.deployment.name} does not answer"
                raise ConfigError(message)
            estimates.append((one.deployment.name, _estimate(seen[1:])))
        return Pace(min_confidence=median(confidences[1:]), estimates=tuple(estimates))

    async def ask(self, question: str, mode: str, pace: Pace) -> Outcome:
        """Ask one question by one mode, and return what it took."""
        gate = Stage(deployment=self.draft, min_confidence=pace.min_confidence)
        last = Stage(deployment=self.large)
        stages = (last,) if mode == "stream" else (gate, last)
        before_s, began_s = self._cpu_s(), time.perf_counter()
        sink = _Sink()
        made = await self._drive(question, stages, cast("Delivery", mode), sink=sink, pace=pace)
        ended_s = time.perf_counter()
        await asyncio.sleep(_SETTLE_S)
        after_s = self._cpu_s()
        attempts = made.run.attempts
        answer = made.run.answer
        return Outcome(
            answered=answer is not None,
            first_s=None if sink.first_s is None else sink.first_s - began_s,
            total_s=ended_s - began_s,
            cpu_s=None if before_s is None or after_s is None else after_s - before_s,
            escalated=answer is not None and answer.deployment == self.large,
            early=_left_early(made),
            stopped=any(
                one.failure is not None and one.failure.code == EARLY_ABORT for one in attempts
            ),
            hedged=any(one.call.role == "hedge" for one in attempts),
            replaced=any(isinstance(one, Retract) for one in made.effects),
            degraded=answer is not None and answer.degraded,
        )

    async def _drive(
        self,
        question: str,
        stages: tuple[Stage, ...],
        mode: Delivery,
        *,
        sink: _Sink | None = None,
        pace: Pace | None = None,
    ) -> Driven:
        """Drive one question to its end."""
        self._asked += 1
        request = _request(f"({self._asked})", question, self._tokens)
        ask = Ask(id=request.id, at_s=0.0, stream=True, delivery=mode, may_hedge=True)
        known: Mapping[str, Estimate] = {} if pace is None else dict(pace.estimates)
        made = arranged(
            ask,
            stages,
            tuple(Candidate(deployment=name, estimate=one) for name, one in known.items()),
            _RULES,
            replicas={},
            calm=True,
        )
        decision = Decision(stages=made.stages, delivery=made.mode, reasons=made.reasons)
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        return await self._driver.run(request, ask, decision, sink=sink or _Sink(), gone=gone)

    def _cpu_s(self) -> float | None:
        """Return the CPU seconds of both engines so far; ``None`` when they cannot be read."""
        parts = [cpu_s_of(one.pid) for one in self._pair]
        return None if None in parts else sum(one or 0.0 for one in parts)


@asynccontextmanager
async def open_line(
    config: Config,
    *,
    names: tuple[str | None, str | None],
    tokens: int,
    say: Callable[[str], None],
) -> AsyncGenerator[Line]:
    """Start the two and give them to ask; they stop at the end.

    Raises:
        ConfigError: there are not two such deployments.
        MetabolicError: models or engines cannot be had.
    """
    fleet = assemble(config, store=store_of(config), say=_unsaid).fleet.deployments
    size = {one.name: parameters_of(one.model) for one in fleet}
    smallest = sorted(size, key=lambda name: (size[name], name))[:2]
    wanted = [name for name in names if name is not None] or smallest
    if len(wanted) < 2 or not size.keys() >= set(wanted):  # noqa: PLR2004 - a cascade
        message = f"two deployments are needed, of {', '.join(size)}: name both, or none"
        raise ConfigError(message)
    async with open_fleet(config, say=say, only=frozenset(wanted)) as respondents:
        by_name = {one.deployment.name: one for one in respondents}
        yield Line(by_name[wanted[0]], by_name[wanted[1]], tokens=tokens)


def _unsaid(line: str) -> None:
    """Say nothing: it is said once more when they start."""
    del line


def _left_early(made: Driven) -> bool:
    """Say whether a draft left at a checkpoint, by folding the events again."""
    run = begin(made.run.decision)
    for event in made.events:
        run, effects = advance(run, event)
        if isinstance(event, Reached) and any(isinstance(one, Release) for one in effects):
            return True
    return False


def _estimate(seen: Sequence[tuple[float, float, float]]) -> Estimate:
    """Return what an answer should take, by the median of some."""
    return Estimate(
        input_tokens=0,
        output_tokens=round(median(one[2] for one in seen)),
        ttft_s=median(one[0] for one in seen),
        tpot_s=median(one[1] for one in seen),
    )


def _request(identity: str, question: str, tokens: int) -> Request:
    """Return a question as a streamed request.

    Its number stands before it, so that nothing but the frame around it is in a prompt cache.
    """
    question = f"{identity} {question}"
    body = {
        "model": "auto",
        "messages": [{"role": "user", "content": question}],
        "temperature": 0,
        "seed": 0,
        "max_tokens": tokens,
        "stream": True,
    }
    return Request(
        id=identity,
        dialect="chat",
        model="auto",
        messages=(Message(role="user", content=(Text(text=question),)),),
        sampling=Sampling(temperature=0.0, max_output_tokens=tokens, seed=0),
        stream=True,
        body=msgspec.json.encode(body),
    )
