"""Which of several equal replicas answers: in time first, then where it costs the fewest joules.

Replicas are deployments of one model that can do the same. Quality does not tell them apart, so
what does is when each would be done (its queue, its pace, the part of the prompt it has cached)
and what the meter would read more. Any that would be done within ``IN_TIME`` of the deadline will
do, or without a deadline within ``NEARLY`` of the soonest; among these the fewest marginal joules
win. So work gathers where a batch runs already and leaves a replica that may then sleep, as long as
nobody is late for it. One that must wake first is only asked when no other is in time.

One that is leaving (it is to sleep) gets nothing while another can; it stays a fallback. An
endpoint that balances replicas of its own (``kind = "pool"``) is nobody's replica.
"""

__all__ = ["IN_TIME", "NEARLY", "at_replicas", "placed", "siblings"]

from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from metabolic.core.decision import Candidate, Estimate, Stage
from metabolic.core.fleet import Deployment
from metabolic.core.request import Ask
from metabolic.decide.drafting import is_twin

IN_TIME = 0.4
"""Share of the deadline within which a replica must be done; the rest is for surprises.

Chosen on simulated loads of other seeds than those reported: at 0.6 five per cent fewer joules are
drawn and one answer in a hundred more is late.
"""

NEARLY = 1.25

_BIN_J = 0.05
"""Joules that differ by less than this share are equal: the sooner one wins."""


def siblings(deployments: Iterable[Deployment]) -> dict[str, tuple[str, ...]]:
    """Return, for each deployment that has any, the names of all replicas, its own among them.

    A pool has none: it picks among its own, and sees load that nobody sees from here.
    Neither has what only takes another's place.
    """
    found: dict[object, list[str]] = {}
    for one in deployments:
        if one.kind == "pool" or is_twin(one):
            continue
        key = (one.model.id, one.kind, tuple(sorted(one.capabilities)), one.tasks, one.price)
        found.setdefault(key, []).append(one.name)
    groups = [tuple(sorted(names)) for names in found.values() if len(names) > 1]
    return {name: names for names in groups for name in names}


def placed(
    stages: tuple[Stage, ...],
    candidates: Sequence[Candidate],
    replicas: Mapping[str, tuple[str, ...]],
    *,
    deadline_s: float | None = None,
    leaving: frozenset[str] = frozenset(),
) -> tuple[Stage, ...]:
    """Return the stages, each at the best of its replicas; no two at the same one."""
    if not any(stage.deployment in replicas for stage in stages):
        return stages
    fit = {
        one.deployment: one.estimate
        for one in candidates
        if one.rejected is None and one.estimate is not None
    }
    taken = {stage.deployment for stage in stages}
    made: list[Stage] = []
    for stage in stages:
        names = replicas.get(stage.deployment, ())
        free = [
            one for one in names if one in fit and (one == stage.deployment or one not in taken)
        ]
        if leaving:
            free = [one for one in free if one not in leaving] or free
        alone = len(free) < 2 and stage.deployment not in leaving  # noqa: PLR2004 - a choice
        best = stage.deployment if alone or not free else _best(free, fit, deadline_s)
        taken.add(best)
        made.append(stage if best == stage.deployment else replace(stage, deployment=best))
    return tuple(made)


def at_replicas(
    stages: tuple[Stage, ...],
    fallbacks: tuple[Stage, ...],
    candidates: Sequence[Candidate],
    replicas: Mapping[str, tuple[str, ...]],
    ask: Ask,
    *,
    leaving: frozenset[str] = frozenset(),
) -> tuple[tuple[Stage, ...], tuple[Stage, ...]]:
    """Return stages and fallbacks, each at its replica: who gave a place up stands by.

    A deployment that was named, by the client or by a tool's result, stays.
    """
    if ask.pin is not None or ask.conversation_pin is not None:
        return stages, fallbacks
    deadline_s = ask.limits.deadline_s
    moved = placed(stages, candidates, replicas, deadline_s=deadline_s, leaving=leaving)
    if moved is stages:
        return stages, fallbacks
    names = {new.deployment: old.deployment for old, new in zip(stages, moved, strict=True)}
    used = set(names)
    standing = [names.get(one.deployment, one.deployment) for one in fallbacks]
    return moved, tuple(
        replace(one, deployment=name)
        for one, name in zip(fallbacks, standing, strict=True)
        if name not in used
    )


def _best(names: Sequence[str], fit: Mapping[str, Estimate], deadline_s: float | None) -> str:
    """Return the replica that answers; where nothing is known of a time, the first by name."""
    done = {name: _done_s(fit[name]) for name in names}
    known = {name: seconds for name, seconds in done.items() if seconds is not None}
    if not known:
        return min(names)
    soonest_s = min(known.values())
    bound_s = NEARLY * soonest_s if deadline_s is None else IN_TIME * deadline_s
    able = [name for name, seconds in known.items() if seconds <= bound_s]
    if not able:
        return min(known, key=lambda name: (known[name], name))
    least_j = min(fit[name].marginal_energy_j or 0.0 for name in able)
    cheap = [
        name for name in able if (fit[name].marginal_energy_j or 0.0) <= least_j * (1 + _BIN_J)
    ]
    return min(cheap, key=lambda name: (known[name], name))


def _done_s(found: Estimate) -> float | None:
    """Return the seconds until an answer is whole; ``None`` is unknown."""
    if found.ttft_s is None or found.tpot_s is None:
        return None
    return found.ttft_s + found.tpot_s * found.output_tokens
