"""What drafting has done so far, by kind of answer: told by engines, given to decisions.

A kind is a path from wide to narrow: everything, a task, its temperature, its context. Each answer
counts for all of them. A decision gets the one figure that fits its request, as part of the
``Load``, so that a record holds it and a replay needs no table. Nothing is kept for a fleet in
which nobody drafts, and nothing done.
"""

__all__ = ["Drafted", "counted"]

from collections.abc import Iterable

from msgspec.structs import replace

from metabolic.core.fleet import Deployment, Load
from metabolic.core.speculation import Drafting, Drafts
from metabolic.decide.acceptance import (
    Acceptance,
    StepCost,
    bounds,
    context_of,
    lent,
    observe,
    observe_cost,
    prior,
    temperature_of,
    token_cost,
)
from metabolic.decide.drafting import believed_cost
from metabolic.execute.scrape_read import Observed

_NONE = Acceptance()


class Drafted:
    """Sums by deployment and kind of answer."""

    def __init__(self, deployments: Iterable[Deployment]) -> None:
        """Begin with none, for those that draft."""
        found = [(one.name, one.drafting, one) for one in deployments]
        self._drafters = {name: (drafter, one) for name, drafter, one in found if drafter}
        self._kinds: dict[tuple[str, ...], Acceptance] = {}
        self._costs: dict[str, StepCost] = {}
        self._twins: dict[str, list[str]] = {}
        for name, (drafter, _) in self._drafters.items():
            if drafter.twin_of is not None:
                self._twins.setdefault(drafter.twin_of, []).append(name)

    def __bool__(self) -> bool:
        """Say whether anybody drafts."""
        return bool(self._drafters)

    def saw(
        self,
        name: str,
        drafts: Drafts,
        *,
        output_tokens: int,
        task: str = "other",
        temperature: float | None = None,
        input_tokens: int = 0,
    ) -> None:
        """Take what an engine reported of one answer; nothing of one that does not draft."""
        found = self._drafters.get(name)
        if found is None or output_tokens <= 0:
            return
        drafter = found[0]
        path = _path(name, task, temperature, input_tokens)
        for length in range(1, len(path) + 1):
            kind = path[:length]
            self._kinds[kind] = observe(
                self._kinds.get(kind, _NONE),
                drafts,
                output_tokens=output_tokens,
                method=drafter.method,
                tokens=drafter.num_speculative_tokens,
            )
        if drafts.decode_s is not None:
            steps = float(max(1, output_tokens - drafts.accepted_tokens))
            self._cost(name, drafts.decode_s, steps, float(drafts.drafted_tokens))

    def saw_all(self, name: str, *, steps: float, drafts: Drafts) -> None:
        """Take what an engine's counters say of all its answers together, of whatever kind."""
        found = self._drafters.get(name)
        if found is None or steps <= 0:
            return
        self._kinds[name,] = observe(
            self._kinds.get((name,), _NONE),
            drafts,
            output_tokens=round(steps) + drafts.accepted_tokens,
            method=found[0].method,
            tokens=found[0].num_speculative_tokens,
        )

    def saw_plain(self, name: str, *, seconds: float, output_tokens: int) -> None:
        """Take the time of an answer without drafting: what its twins are measured by."""
        for twin in self._twins.get(name, ()):
            self._cost(twin, seconds, float(output_tokens), 0.0)

    def _cost(self, name: str, seconds: float, steps: float, drafted: float) -> None:
        """Add to the cost of a step."""
        known = self._costs.get(name, StepCost())
        self._costs[name] = observe_cost(
            known, seconds=seconds, steps=steps, drafted_tokens=drafted
        )

    def known(
        self,
        name: str,
        *,
        task: str = "other",
        temperature: float | None = None,
        input_tokens: int = 0,
        base: Load | None = None,
    ) -> Drafting | None:
        """Return what is known of a kind of answer; ``None``: nobody has drafted there yet.

        ``base`` is the load of the deployment without drafting.
        """
        found = self._drafters.get(name)
        if found is None or (name,) not in self._kinds:
            return None
        drafter, deployment = found
        path = _path(name, task, temperature, input_tokens)
        kinds = [self._kinds[kind] for kind in _prefixes(path) if kind in self._kinds]
        first = prior(task, method=drafter.method, tokens=drafter.num_speculative_tokens)
        sums = lent(kinds, first)
        low, mean, high = bounds(sums)
        believed = believed_cost(base, deployment) + drafter.draft_cost_ratio
        cost = token_cost(self._costs.get(name, StepCost()), believed)
        return Drafting(
            key=" ".join(path[1 : len(kinds)]) or "all",
            accepted_ratio=_digits(mean),
            low_ratio=_digits(low),
            high_ratio=_digits(high),
            drafted_ratio=_digits(sums.drafted_tokens / sums.steps),
            token_cost_ratio=None if cost is None else _digits(cost),
            steps=float(round(kinds[-1].steps)),
        )

    def informed(
        self,
        loads: tuple[Load, ...],
        *,
        task: str,
        temperature: float | None,
        input_tokens: int,
    ) -> tuple[Load, ...]:
        """Return the loads with what is known of drafting for answers like this one."""
        by_name = {one.deployment: one for one in loads}
        made: list[Load] = []
        for load in loads:
            found = self._drafters.get(load.deployment)
            known = None
            if found is not None:
                known = self.known(
                    load.deployment,
                    task=task,
                    temperature=temperature,
                    input_tokens=input_tokens,
                    base=by_name.get(found[0].twin_of or load.deployment),
                )
            made.append(load if known is None else replace(load, drafting=known))
        return tuple(made)


def counted(now: Observed, before: Observed | None, tokens: int) -> tuple[float, Drafts | None]:
    """Return the steps and drafts between two readings of an engine's counters.

    ``None``: nothing was drafted, or the engine was started again. Where it tells only the tokens
    that a step writes (SGLang), ``tokens`` were drafted at each.
    """
    if before is None or now.drafts is None or before.drafts is None:
        return 0.0, None
    steps = now.drafts - before.drafts
    if steps <= 0:
        return 0.0, None
    if now.accept_length is not None:
        drafted, accepted = steps * tokens, steps * max(0.0, now.accept_length - 1.0)
    else:
        drafted = (now.drafted or 0.0) - (before.drafted or 0.0)
        accepted = (now.accepted or 0.0) - (before.accepted or 0.0)
    if drafted < 0 or accepted < 0:
        return 0.0, None
    return steps, Drafts(
        drafted_tokens=round(drafted),
        accepted_tokens=min(round(drafted), round(accepted)),
        drafts=round(steps),
    )


def _path(name: str, task: str, temperature: float | None, input_tokens: int) -> tuple[str, ...]:
    """Return a kind of answer, from wide to narrow."""
    return name, task, temperature_of(temperature), context_of(input_tokens)


def _prefixes(path: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
    """Return the kinds that a kind belongs to, widest first, itself last."""
    return (path[:length] for length in range(1, len(path) + 1))


def _digits(value: float) -> float:
    """Return three digits: no decision hangs on the fourth, and records stay short."""
    return float(f"{value:.3g}")
