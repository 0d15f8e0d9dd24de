"""Which stages: expected net cost of every plan against the best single deployment.

Theory. A plan is a chain of deployments of rising quality; each but the last keeps its draft with
probability ``a`` (P(accept) at its threshold). Its expected net cost is what is paid in the end,
discarded drafts included::

    C(first, rest) = c + (1 - a) C(rest)

where ``c`` of a gate also holds what judging its draft takes. So a gate pays only when
``c < a C(rest)``: at a cost ratio of 1:2 a cascade that escalates more than half must lose. Its
expected quality is that of the rest, less what the gate keeps wrongly. The drafts it keeps are
easier than the others, for the rest too: if keeping lifts the gate's odds of being right from
P(correct) to ``k`` = P(correct | accepted), the rest's odds
on the same drafts are taken to be lifted by the same ratio, to ``r``::

    Q(first, rest) = Q(rest) - a max(0, r - k)

(That the rest does no better on easy drafts than on all would flatter the cascade. The equal
ratio is an assumption, not a measurement.)

The reference is the best single deployment (by P(correct), then net cost). A plan is allowed when
it gives up at most ``preference x max_loss_ratio`` of quality against it; the cheapest allowed plan
wins, if its gain is at least ``min_gain_ratio``. Otherwise the decision abstains: the reference
alone. A larger preference allows more plans, so expected cost never rises with it. Before a
deadline only chains count that can be walked to their end: a stage that would come too late could
not make good what the gates before it keep from the client.
"""

__all__ = ["choose", "evaluate", "frontier", "is_late", "lifted"]

from itertools import combinations

from metabolic.core.decision import Estimate, Plan
from metabolic.decide.dues import seconds_of

_FRONTIER = 6
"""Most deployments a plan is built from: 41 plans of up to three stages."""

_KEPT_PLANS = 3
_EDGE = 1e-6

Fit = tuple[str, Estimate, bool]
"""A fit deployment: name, estimate, and whether its drafts can be gated (log-probabilities)."""

_Scored = tuple[float, float, tuple[Fit, ...]]
"""A chain with its expected net cost and quality before it."""


def frontier(fit: list[Fit]) -> list[Fit]:
    """Return the deployments no other beats in both net cost and quality, cheapest first."""
    kept: list[Fit] = []
    best = -1.0
    for one in sorted(fit, key=_cheapest):
        if one[1].p_correct > best:
            kept.append(one)
            best = one[1].p_correct
    return kept[-_FRONTIER:]


def _cheapest(one: Fit) -> tuple[float, float, str]:
    """Order by net cost, then quality, then name."""
    return one[1].net_usd, -one[1].p_correct, one[0]


def _best(one: Fit) -> tuple[float, float, str]:
    """Order by quality, then net cost, then name."""
    return -one[1].p_correct, one[1].net_usd, one[0]


def evaluate(chain: tuple[Fit, ...]) -> Plan:
    """Return what a chain is expected to cost and to give."""
    cost, quality = _score(chain)
    return _plan(chain, cost, quality)


def _plan(chain: tuple[Fit, ...], cost: float, quality: float) -> Plan:
    """Return a scored chain as a plan."""
    energy = chain[-1][1].marginal_energy_j
    if energy is not None:
        for _, gate, _ in chain[-2::-1]:
            if gate.marginal_energy_j is None:
                energy = None
                break
            energy = gate.marginal_energy_j + (1 - (gate.p_accept or 0.0)) * energy
    return Plan(
        stages=tuple([name for name, _, _ in chain]),
        expected_net_usd=cost,
        expected_energy_j=energy,
        p_correct=quality,
        p_escalate=0.0 if len(chain) == 1 else 1 - (chain[0][1].p_accept or 0.0),
    )


def _score(chain: tuple[Fit, ...]) -> tuple[float, float]:
    """Return expected net cost and quality of a chain: the two recursions of the theory."""
    last = chain[-1][1]
    cost, quality = last.net_usd, last.p_correct
    for _, gate, _ in chain[-2::-1]:
        accept = gate.p_accept or 0.0
        kept = gate.p_correct if gate.p_correct_accepted is None else gate.p_correct_accepted
        cost = gate.net_usd + gate.gate_usd + (1 - accept) * cost
        rest = lifted(quality, before=gate.p_correct, after=kept)
        if rest > kept:
            quality -= accept * (rest - kept)
    return cost, quality


def lifted(p: float, *, before: float, after: float) -> float:
    """Return ``p`` with its odds multiplied by the ratio of those of ``after`` and ``before``."""
    p, before, after = (min(max(one, _EDGE), 1 - _EDGE) for one in (p, before, after))
    odds = p / (1 - p) * (after / (1 - after)) / (before / (1 - before))
    return odds / (1 + odds)


def choose(
    fit: list[Fit],
    *,
    max_loss: float,
    min_gain_ratio: float,
    max_stages: int,
    deadline_s: float | None = None,
) -> tuple[Plan, Plan, tuple[Plan, ...], str | None]:
    """Return the chosen plan, the reference, the best few plans, and why it abstained (or None)."""
    best = min(fit, key=_best) if len(fit) > 1 else fit[0]
    reference = _plan((best,), best[1].net_usd, best[1].p_correct)
    floor = reference.p_correct - max_loss
    allowed: list[_Scored] = [(best[1].net_usd, best[1].p_correct, (best,))]
    for chain in _chains(frontier(fit), max_stages):
        if (len(chain) == 1 and chain[0] is best) or is_late(chain, deadline_s):
            continue
        cost, quality = _score(chain)
        if quality >= floor:
            allowed.append((cost, quality, chain))
    if len(allowed) > 1:
        allowed.sort(key=_rank)
    plans = tuple([_plan(chain, cost, quality) for cost, quality, chain in allowed[:_KEPT_PLANS]])
    chosen = plans[0]
    if chosen.stages == reference.stages:
        return chosen, reference, plans, "no plan within the loss is cheaper than the best single"
    gain = reference.expected_net_usd - chosen.expected_net_usd
    if gain < min_gain_ratio * reference.expected_net_usd:
        return reference, reference, plans, "the predicted gain is too small"
    return chosen, reference, plans, None


def is_late(chain: tuple[Fit, ...], deadline_s: float | None) -> bool:
    """Say whether a cascade, walked to its end, would miss the deadline.

    Times that are not known count as none; a single deployment was judged by itself before.
    """
    if deadline_s is None or len(chain) == 1:
        return False
    judging = sum([one.gate_s for _, one, _ in chain[:-1]])
    return judging + sum([seconds_of(one) or 0.0 for _, one, _ in chain]) > deadline_s


def _rank(one: _Scored) -> tuple[float, int, list[str]]:
    """Order plans by cost, then by fewer stages, then by name."""
    return one[0], len(one[2]), [name for name, _, _ in one[2]]


def _chains(fit: list[Fit], max_stages: int) -> list[tuple[Fit, ...]]:
    """Return every chain of rising quality whose gates can be judged."""
    chains: list[tuple[Fit, ...]] = [(one,) for one in fit]
    if max_stages > 1 and len(fit) > 1:
        gates = [one for one in fit if one[2]]
        for size in range(1, min(max_stages, len(fit))):
            for gated in combinations(gates, size):
                after = fit.index(gated[-1]) + 1
                chains.extend([(*gated, last) for last in fit[after:]])
    return chains
