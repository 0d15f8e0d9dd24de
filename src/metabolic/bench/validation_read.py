"""The validators asked about stored answers, through the same door as the gateway's."""

__all__ = ["Read", "Readers", "overlap"]

import math
import re
import time
from collections.abc import Mapping

from msgspec import Struct

from metabolic import plugins
from metabolic.bench.validation_sets import Item
from metabolic.core.attempt import Attempt, Call, Reply, ReplyChoice, Verdict
from metabolic.core.request import Message, Request, Text, ToolResult

_WORD = re.compile(r"\w+")
_DERIVED = frozenset(
    [
        "claims",
        "claims_supported",
        "claims_no_evidence",
        "claims_uncertain",
        "ground_p_least",
        "ground_p_mean",
    ]
)
"""Signals made from the others: a regression gains nothing from them (seen on aggrefact_cliff)."""

_ATTEMPT = Attempt(call=Call(id="c0", stage=0, deployment="stored"), began_s=0.0, ended_s=0.0)


class Read(Struct, frozen=True, kw_only=True):
    """What the validators said of one answer: signals, P(acceptable), a number that contradicts."""

    features: tuple[float, ...]
    p: float | None
    number: bool


class Readers:
    """Grounding where there is a context, the learned scorer and the content checks elsewhere."""

    def __init__(self) -> None:
        """Make the validators; nothing was read yet."""
        self._grounding = plugins.validator("grounding", {"signals": True})
        self._learned = plugins.validator("learned", {"signals": True})
        self._content = plugins.validator("content")
        self.claims = 0
        self.cpu_s = 0.0

    async def read(self, items: list[Item]) -> list[Read]:
        """Return what is said of each item."""
        raw = [await self._one(item) for item in items]
        names = sorted({name for signals, _, _ in raw for name in signals})
        return [
            Read(
                features=tuple([signals.get(name, math.nan) for name in names]) or (0.0,),
                p=p,
                number=number,
            )
            for signals, p, number in raw
        ]

    async def _one(self, item: Item) -> tuple[Mapping[str, float], float | None, bool]:
        """Return the signals, P(acceptable), and whether a number contradicts."""
        request, reply = _request(item), _reply(item)
        if item.context:
            began_s = time.process_time()
            verdict = await self._grounding.check(request, _ATTEMPT, reply)
            self.cpu_s += time.process_time() - began_s
            self.claims += len(verdict.claims)
            signals = {k: v for k, v in _signals(verdict).items() if k not in _DERIVED}
            return signals, verdict.confidence, "contradicted: number" in verdict.reasons
        verdict = await self._learned.check(request, _ATTEMPT, reply)
        checked = await self._content.check(request, _ATTEMPT, reply)
        signals = _signals(verdict) | {"content_doubtful": float(checked.doubtful)}
        return signals, verdict.confidence, False


def _signals(verdict: Verdict) -> dict[str, float]:
    """Return the signals of a verdict by name."""
    return {one.name: one.value for one in verdict.signals}


def _request(item: Item) -> Request:
    """Return the request an item answers: its context as a tool's result, then the question."""
    messages: list[Message] = []
    if item.context:
        messages.append(Message(role="tool", content=(ToolResult(id="c", text=item.context),)))
    messages.append(Message(role="user", content=(Text(text=item.question),)))
    return Request(id="stored", dialect="chat", model="auto", messages=tuple(messages))


def _reply(item: Item) -> Reply:
    """Return an item's answer as an engine's reply."""
    choice = ReplyChoice(text=item.response, finish_reason="stop", logprobs=item.logprobs)
    return Reply(choices=(choice,))


def overlap(item: Item) -> float:
    """Return the share of the answer's words that the context (or the question) has."""
    known = {word.lower() for word in _WORD.findall(item.context or item.question)}
    said = [word.lower() for word in _WORD.findall(item.response)]
    return sum(word in known for word in said) / max(1, len(said))
