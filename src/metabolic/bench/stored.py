"""Stored answers of a cheap and a dear model, scored, folded through the real decision.

``decide`` gets a fleet of two deployments, a policy with the certificate to be tried, and no text;
``advance`` walks its decision with the stored answers as events. Costs are in prices of one answer
of the dear model, discarded drafts charged.
"""

__all__ = ["CHEAP", "DEAR", "LANE", "SCORE", "Item", "Kept", "decided", "fold"]

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from metabolic.core.attempt import (
    Attempt,
    Began,
    Check,
    Checked,
    Choice,
    Ended,
    Event,
    Open,
    Verdict,
)
from metabolic.core.certificate import Certificate
from metabolic.core.decision import Belief, Decision, Policy
from metabolic.core.fleet import Deployment, FleetSpec, Model, Price, Situation
from metabolic.core.metabolic import MetabolicState
from metabolic.core.request import Ask
from metabolic.core.signals import Signals
from metabolic.decide.advance import advance, begin
from metabolic.decide.decide import decide
from metabolic.decide.digest import sealed
from metabolic.decide.profiles import profile

CHEAP, DEAR, LANE, SCORE = "cheap", "dear", "stored", "bench@1"

_EVIDENCE = 10_000


class Item(Struct, frozen=True, gc=False):
    """One question: is the cheap answer good, is the dear one, how safe the scorer takes it."""

    cheap: float
    dear: float
    confidence: float


class Kept(Struct, frozen=True, kw_only=True):
    """What became of some questions: shares answered by the cheap model, and asked of each.

    ``loss_all`` is the mean loss among all, ``loss_kept`` among those kept (``None``: none).
    """

    kept: float
    called: float
    strong: float
    loss_all: float
    loss_kept: float | None

    def net_cost(self, cost_ratio: float) -> float:
        """Return the mean cost in dear answers, at a price ratio of 1 : ``cost_ratio``."""
        return self.called / cost_ratio + self.strong


def decided(certificate: Certificate, *, cost_ratio: float) -> Decision:
    """Return the product's decision with this certificate, at a price ratio of 1 : ``cost_ratio``.

    Where it is refused, or the gate does not pay, that is the dear model alone.
    """
    home = replace(profile("datacenter"), preference=1.0, max_loss_ratio=0.0)
    policy = sealed(
        Policy(
            id="",
            profile=home,
            score=SCORE,
            certificates=(certificate,),
            beliefs=tuple(
                Belief(deployment=name, lane="*", p_correct=p, evidence=_EVIDENCE)
                for name, p in ((CHEAP, 0.1), (DEAR, 0.9))
            ),
        )
    )
    fleet = FleetSpec(
        id="stored", deployments=(_deployment(CHEAP, 1 / cost_ratio), _deployment(DEAR, 1.0))
    )
    ask = Ask(id="stored", at_s=0.0, input_tokens=1, preference=1.0)
    seen = Signals(lane=LANE, expected_output_tokens=1)
    return decide(ask, seen, Situation(at_s=0.0, metabolic=MetabolicState(), fleet=fleet), policy)


def _deployment(name: str, usd: float) -> Deployment:
    """Return a remote deployment whose answer costs ``usd``."""
    return Deployment(
        name=name,
        model=Model(id=name, tier="large"),
        capabilities=("chat", "logprobs"),
        price=Price(input_usd_per_token=0.0, output_usd_per_token=usd),
    )


def fold(decision: Decision, items: Sequence[Item]) -> Kept:
    """Return what a decision does with stored answers, each walked through ``advance``."""
    kept = strong = called = 0
    loss = 0.0
    for item in items:
        answered, calls = _walk(decision, item)
        called += CHEAP in calls
        strong += DEAR in calls
        if answered == CHEAP:
            kept += 1
            loss += item.dear - item.cheap
    count = len(items)
    return Kept(
        kept=kept / count,
        called=called / count,
        strong=strong / count,
        loss_all=loss / count,
        loss_kept=loss / kept if kept else None,
    )


def _walk(decision: Decision, item: Item) -> tuple[str | None, tuple[str, ...]]:
    """Return who answered a question and who was called."""
    run = begin(decision)
    events: list[Event] = [Began(at_s=0.0)]
    while events:
        run, effects = advance(run, events.pop(0))
        for effect in effects:
            if isinstance(effect, Open):
                attempt = Attempt(call=effect.call, began_s=0.0, ended_s=0.0, choices=_CHOICE)
                events.append(Ended(attempt=attempt, at_s=0.0))
            elif isinstance(effect, Check):
                asked = next(one.call for one in run.attempts if one.call.id == effect.call)
                sure = item.confidence if asked.deployment == CHEAP else None
                verdict = Verdict(well_formed=True, confidence=sure)
                events.append(Checked(call=effect.call, verdict=verdict, at_s=0.0))
    called = tuple(one.call.deployment for one in run.attempts)
    return None if run.answer is None else run.answer.deployment, called


_CHOICE = (Choice(finish_reason="stop"),)
