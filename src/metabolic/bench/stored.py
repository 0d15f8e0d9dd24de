"""Stored answers of a cheap and a dear model, scored, folded through the real decision.

``decide`` gets a fleet of two deployments (three with the partner of an agreement), a policy with
the certificate to be tried, and no text; ``advance`` walks its decision with the stored answers as
events. Costs are in prices of one answer of the dear model, discarded drafts charged.

What becomes of a question depends on two things only: is its draft as sure as the gate asks, and
does the partner agree. Questions alike in both are walked by a sample (the least and the most sure
and others between), which must all end alike, and are counted together.
"""

__all__ = ["CHEAP", "DEAR", "LANE", "PARTNER", "SCORE", "Item", "Kept", "decided", "fold"]

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

CHEAP, DEAR, PARTNER, LANE, SCORE = "cheap", "dear", "partner", "stored", "bench@1"

_EVIDENCE = 10_000
_WALKED = 12
"""Most questions of one kind that are walked; the rest are counted with them."""


class Item(Struct, frozen=True, gc=False):
    """One question: is the cheap answer good, is the dear one, how safe the scorer takes it.

    ``agrees``: the partner's answer says the same in the end (``None``: nobody compared them).
    """

    cheap: float
    dear: float
    confidence: float
    agrees: bool | None = None


class Kept(Struct, frozen=True, kw_only=True):
    """What became of some questions: shares answered by the cheap model, and asked of each.

    ``loss_all`` is the mean loss among all, ``loss_kept`` among those kept (``None``: none).
    ``compared`` is the share for which a partner was asked, at the price of the cheap model.
    """

    kept: float
    called: float
    strong: float
    loss_all: float
    loss_kept: float | None
    compared: float = 0.0

    def net_cost(self, cost_ratio: float) -> float:
        """Return the mean cost in dear answers, at a price ratio of 1 : ``cost_ratio``."""
        return (self.called + self.compared) / cost_ratio + self.strong


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
                for name, p in ((CHEAP, 0.1), (DEAR, 0.9), (PARTNER, 0.1))
            ),
        )
    )
    deployments = [_deployment(CHEAP, 1 / cost_ratio), _deployment(DEAR, 1.0)]
    if certificate.partner is not None:
        deployments.append(_deployment(certificate.partner, 1 / cost_ratio))
    fleet = FleetSpec(id="stored", deployments=tuple(deployments))
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
    """Return what a decision does with stored answers, walked through ``advance``.

    Raises:
        AssertionError: two questions that ought to end alike did not; never, unless ``advance``
            looks at more than this module knows of.
    """
    alike: dict[tuple[bool, ...], list[Item]] = {}
    gates = [one.min_confidence for one in decision.stages if one.deployment == CHEAP]
    least = gates[0] if gates and gates[0] is not None else 0.0
    for item in items:
        alike.setdefault((item.confidence >= least, item.agrees is True), []).append(item)
    count, kept, loss = len(items), 0, 0.0
    calls = {CHEAP: 0, DEAR: 0, PARTNER: 0}
    for group in alike.values():
        answered, called = _end(decision, group)
        for name in called:
            calls[name] += len(group)
        if answered == CHEAP:
            kept += len(group)
            loss += sum([one.dear - one.cheap for one in group])
    return Kept(
        kept=kept / count,
        called=calls[CHEAP] / count,
        strong=calls[DEAR] / count,
        loss_all=loss / count,
        loss_kept=loss / kept if kept else None,
        compared=calls[PARTNER] / count,
    )


def _end(decision: Decision, group: Sequence[Item]) -> tuple[str | None, tuple[str, ...]]:
    """Return how questions of one kind end: who answers, and who was called."""
    ranked = sorted(group, key=lambda one: one.confidence)
    step = max(1, len(ranked) // _WALKED)
    ends = {_walk(decision, item) for item in (ranked[-1], *ranked[::step])}
    assert len(ends) == 1, f"questions of one kind end differently: {ends}"
    return ends.pop()


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
                agrees = None if effect.against is None else item.agrees
                verdict = Verdict(well_formed=True, confidence=sure, agrees=agrees)
                events.append(Checked(call=effect.call, verdict=verdict, at_s=0.0))
    called = tuple(one.call.deployment for one in run.attempts)
    return None if run.answer is None else run.answer.deployment, called


_CHOICE = (Choice(finish_reason="stop"),)
