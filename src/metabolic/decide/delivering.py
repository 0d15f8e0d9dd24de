"""How an answer leaves, once its stages are chosen: as was asked, where it can be stood behind.

A mode is what the client (or the operator, for it) asked for, and gives way to ``hold`` where it
would let out what cannot be answered for: the shape of JSON and a call of a tool are only known
when they are whole; several choices cannot be taken back one by one; an answer in one piece
cannot leave early. The reason is in the decision.

- A **window** opens at the learned checkpoints, or after ``window_tokens`` when the mean token
  probability so far reaches the threshold that the whole draft is held to. Such an answer is not
  the one a certificate was made for, so it is never certified.
- A **hedge** costs what the other call takes until it is stopped, and saves the rest of the
  draft's time where the draft is refused. It begins at a share of that time, sooner when the
  client's deadline would be missed otherwise, and at once in doubt. A machine that is hot, on
  battery or over its budget opens none of its own, nor does a client whose dollars would not pay.
- A **late** hedge is for any mode: a replica is asked too where first bytes (or a whole answer)
  take ``late_ratio`` times as long as foretold.

Source: J. Dean and L. A. Barroso, "The Tail at Scale", CACM 2013: a second request after the
time most take, for few per cent more load.
"""

__all__ = ["Delivered", "arranged", "delivered", "streams"]

from collections.abc import Mapping, Sequence
from math import log

from msgspec import Struct
from msgspec.structs import replace

from metabolic.core.checkpoint import Checkpoint
from metabolic.core.decision import Candidate, Estimate, Stage
from metabolic.core.delivery import Delivery, DeliveryRules, Hedge
from metabolic.core.request import Ask
from metabolic.decide.checkpoints import NEVER
from metabolic.decide.estimate import View
from metabolic.decide.staging import timed
from metabolic.decide.strained import interchangeable

_LEAST = 1e-6
_CHOSEN = frozenset({"window", "hedge", "replace"})
_SHAPED = frozenset({"json", "json_schema", "tools"})
"""Needs whose answers can only be judged whole."""


_Key = tuple[str, str | None]
"""A deployment and its variant."""


class Delivered(Struct, frozen=True, kw_only=True):
    """The mode, the stages with what it needs of them, and why it is another (or what it adds)."""

    mode: Delivery
    stages: tuple[Stage, ...]
    reasons: tuple[str, ...] = ()


def streams(ask: Ask) -> bool:
    """Say whether the answer leaves as it comes: asked for, or pinned and so not gated."""
    if not ask.stream or ask.delivery == "hold":
        return False
    return ask.delivery == "stream" or ask.pin is not None


def delivered(
    seen: View, stages: tuple[Stage, ...], candidates: tuple[Candidate, ...]
) -> tuple[Delivery, tuple[Stage, ...], tuple[str, ...]]:
    """Return how the answer to a request leaves, its stages, and what is to be said of that."""
    ask = seen.ask
    if not (ask.may_hedge or ask.delivery in _CHOSEN):
        return ("stream" if streams(ask) else "hold"), stages, ()
    made = arranged(
        ask,
        stages,
        candidates,
        seen.policy.delivery,
        replicas=interchangeable(seen),
        calm=seen.strain is None,
    )
    return made.mode, made.stages, made.reasons


def arranged(
    ask: Ask,
    stages: tuple[Stage, ...],
    candidates: Sequence[Candidate],
    rules: DeliveryRules,
    *,
    replicas: Mapping[str, tuple[str, ...]],
    calm: bool,
) -> Delivered:
    """Return how the answer leaves.

    ``replicas`` are the names of each deployment's; ``calm`` is false on a machine that is hot, on
    battery or over its power budget.
    """
    mode: Delivery = "stream" if streams(ask) else "hold"
    made = Delivered(mode=mode, stages=stages)
    if not stages:
        return made
    if ask.delivery in _CHOSEN and mode != "stream":
        made = _chosen(ask, stages, candidates, rules, calm=calm)
    if not ask.may_hedge or rules.late_ratio is None or made.stages[0].hedge is not None:
        return made
    hedge = _late(ask, made.stages[0], stages, candidates, rules, replicas, rules.late_ratio)
    if hedge is None:
        return made
    return replace(made, stages=(replace(made.stages[0], hedge=hedge), *made.stages[1:]))


def _chosen(
    ask: Ask,
    stages: tuple[Stage, ...],
    candidates: Sequence[Candidate],
    rules: DeliveryRules,
    *,
    calm: bool,
) -> Delivered:
    """Return the mode that was asked for, or ``hold`` and why."""
    if ask.delivery == "hedge":
        return _hedged(ask, stages, candidates, rules, calm=calm)
    why = _held(ask)
    if why is not None:
        return Delivered(mode="hold", stages=stages, reasons=(f"{ask.delivery}: held, {why}",))
    if ask.delivery == "replace":
        return Delivered(mode="replace", stages=stages)
    return Delivered(mode="window", stages=tuple([_windowed(one, rules) for one in stages]))


def _held(ask: Ask) -> str | None:
    """Return why nothing may leave before it is whole; ``None`` if it may."""
    if not ask.stream:
        return "the client wants its answer in one piece"
    if ask.dialect != "chat" or ask.n != 1:
        return "only a chat of one choice can leave so"
    if not _SHAPED.isdisjoint(ask.needs):
        return "calls of tools and JSON can only be checked when they are whole"
    return None


def _windowed(stage: Stage, rules: DeliveryRules) -> Stage:
    """Return a gated stage with the end of its window; learned ends go before the plain one."""
    if stage.min_confidence is None or stage.rule != "confidence":
        return stage
    if any(one.release_logprob is not None for one in stage.checkpoints):
        return stage
    least = rules.min_confidence or stage.min_confidence
    end = Checkpoint(
        deployment=stage.deployment,
        tokens=rules.window_tokens,
        min_logprob=NEVER,
        release_logprob=log(max(least, _LEAST)),
    )
    same = [one for one in stage.checkpoints if one.tokens == end.tokens]
    if same:
        end = replace(end, min_logprob=same[0].min_logprob, rows=same[0].rows, lane=same[0].lane)
    rest = [one for one in stage.checkpoints if one.tokens != end.tokens]
    return replace(stage, checkpoints=tuple(sorted((*rest, end), key=lambda one: one.tokens)))


def _hedged(
    ask: Ask,
    stages: tuple[Stage, ...],
    candidates: Sequence[Candidate],
    rules: DeliveryRules,
    *,
    calm: bool,
) -> Delivered:
    """Return the stages, the second asked beside the first; or why it is not."""
    known = _estimates(candidates)
    why = _unhedged(ask, stages, known, calm=calm)
    if why is not None:
        return Delivered(mode="hold", stages=stages, reasons=(f"hedge: held, {why}",))
    first, second, *rest = timed(stages, tuple(candidates))
    after_s = _after_s(ask, first, second, rules)
    if after_s is None:
        why = "hedge: held, nobody knows how long the draft takes (set hedge_after_s)"
        return Delivered(mode="hold", stages=stages, reasons=(why,))
    hedge = Hedge(after_s=after_s, doubt=_doubt(ask, first, rules))
    said = f"hedge: {second.deployment} is asked too after {after_s:.3g} s"
    made = (replace(first, hedge=hedge), second, *rest)
    return Delivered(mode="hedge", stages=made, reasons=(said,))


def _unhedged(
    ask: Ask, stages: tuple[Stage, ...], known: Mapping[_Key, Estimate], *, calm: bool
) -> str | None:
    """Return why nobody is asked beside the first; ``None`` if somebody is."""
    if len(stages) == 1 or stages[0].min_confidence is None or stages[0].rule != "confidence":
        return "there is no gated draft to hedge"
    if not ask.may_hedge:
        return "the budget of hedges is used up"
    second = known.get(_key(stages[1]))
    if not calm and (second is None or second.energy_j is not None):
        return "the machine has no heat or power to spare"
    most_usd = ask.limits.max_cost_usd
    if most_usd is None:
        return None
    costs = [known[_key(one)].cost_usd for one in stages[:2] if _key(one) in known]
    if sum(one or 0.0 for one in costs) > most_usd:
        return "both together may cost more than the client allows"
    return None


def _after_s(ask: Ask, first: Stage, second: Stage, rules: DeliveryRules) -> float | None:
    """Return when the second is asked; ``None`` when nobody can say."""
    after_s = rules.hedge_after_s
    if after_s is None:
        if first.expected_s is None:
            return None
        after_s = first.expected_s * rules.hedge_after_ratio
    deadline_s = ask.limits.deadline_s
    if deadline_s is not None and second.expected_s is not None:
        after_s = min(after_s, max(0.0, deadline_s - second.expected_s))
    return after_s


def _doubt(ask: Ask, first: Stage, rules: DeliveryRules) -> Checkpoint | None:
    """Return where a draft is in doubt: its first tokens are below the threshold of the whole."""
    if not rules.hedge_doubt_tokens or first.min_confidence is None or ask.n != 1:
        return None
    if "tools" in ask.needs or "logprobs" in ask.needs or ask.dialect != "chat":
        return None  # as for checkpoints: such a draft is not read as a stream
    return Checkpoint(
        deployment=first.deployment,
        tokens=rules.hedge_doubt_tokens,
        min_logprob=log(max(first.min_confidence, _LEAST)),
    )


def _late(  # noqa: PLR0913, PLR0917 - the parts of one decision
    ask: Ask,
    stage: Stage,
    stages: tuple[Stage, ...],
    candidates: Sequence[Candidate],
    rules: DeliveryRules,
    replicas: Mapping[str, tuple[str, ...]],
    ratio: float,
) -> Hedge | None:
    """Return when a replica is asked too; ``None`` without one, or when nobody knows its pace."""
    if ask.pin is not None or ask.conversation_pin is not None:
        return None
    known = _estimates(candidates)
    taken = {one.deployment for one in stages}
    free = [
        (name, known[name, stage.variant])
        for name in replicas.get(stage.deployment, ())
        if (name, stage.variant) in known and name not in taken
    ]
    mine = known.get(_key(stage))
    if not free or mine is None or mine.ttft_s is None:
        return None
    due_s: float | None = mine.ttft_s
    if not ask.stream:
        due_s = None if mine.tpot_s is None else due_s + mine.tpot_s * mine.output_tokens
    if due_s is None:
        return None
    soonest = min(free, key=lambda one: (one[1].ttft_s or 0.0, one[0]))[0]
    return Hedge(after_s=max(rules.late_least_s, ratio * due_s), deployment=soonest, late=True)


def _key(stage: Stage) -> _Key:
    """Return who answers a stage, and how."""
    return stage.deployment, stage.variant


def _estimates(candidates: Sequence[Candidate]) -> dict[_Key, Estimate]:
    """Return what is foretold of each fit candidate."""
    return {
        (one.deployment, one.variant): one.estimate
        for one in candidates
        if one.rejected is None and one.estimate is not None
    }
