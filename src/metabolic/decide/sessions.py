"""A conversation routed as a whole: who answers this turn, and would go on answering.

Theory. What a model has cached of a conversation is cheap to read again; whoever takes over reads
all of it afresh. Looked at turn by turn, a cheaper model wins whenever this turn is cheaper there;
what that throws away is only seen later, when the conversation comes back. So each turn of a
session is compared with staying at *home*, the deployment that has most of it warm (or, before
anybody has, the best single), over the rest of the session::

    S(i) = net now at i + rest x net of a later turn, with i's cache warm

and for one that is not as good as home, who will probably have to hand back at a hard turn, some
time in between: half of the rest there, half at home, and the conversation read afresh at home.

``rest`` is how many turns are still to come, taken to be as many as there were (a session that
has lasted goes on), at least one and at most ``MOST_TURNS``. Home is left only if that wins by the
profile's least gain, or if home is not good enough for this turn; then whoever is chosen is the
new home.

Variants of home share its cache: moving among them takes nothing but what they write.

Among those that are good enough for this turn: within the loss allowed against the best single.
"""

__all__ = ["MOST_TURNS", "home_of", "whole"]

from collections.abc import Mapping

from msgspec import Struct

from metabolic.core.decision import Estimate, Plan
from metabolic.core.request import WarmPrefix
from metabolic.decide.cascade import Fit, evaluate
from metabolic.decide.estimate import Known, View

MOST_TURNS = 16
"""No session is expected to go on for longer than this."""

_LEAST_GAIN = 0.02

Found = tuple[Plan, str | None, tuple[str, ...]]
"""The plan, why no cascade was built, and reasons."""


class _Course(Struct, frozen=True):
    """What going on with one deployment takes, and how good it is on this turn."""

    now_usd: float
    rest_usd: float
    p_correct: float
    fit: Fit


def home_of(warm: tuple[WarmPrefix, ...]) -> WarmPrefix | None:
    """Return who has most of the conversation cached; ``None`` when nobody has any."""
    return max(warm, key=lambda one: (one.prefix_tokens, one.deployment), default=None)


def whole(
    seen: View, fit: list[Fit], chosen: Plan, reference: Plan, *, max_loss: float
) -> Found | None:
    """Return what to do instead of ``chosen``, looking at the rest of the session.

    ``None``: do it. ``chosen`` and ``reference`` are what this turn alone asks for.
    """
    home = home_of(seen.ask.warm) or WarmPrefix(
        deployment=reference.stages[0], prefix_tokens=seen.ask.input_tokens
    )
    known = {one.name: one for one in seen.prepared.known}
    floor = reference.p_correct - max_loss
    courses = {
        one[0]: _course(seen, known[one[0]], one) for one in fit if one[1].p_correct >= floor
    }
    stays = _home(courses, known, home.deployment)
    if stays is None:
        return None  # home is not good enough, or cannot answer: this turn's choice stands
    here = courses[stays]
    host = known[stays].deployment.name
    back = _afresh(known[stays], seen, home.prefix_tokens)
    totals = {
        name: one.now_usd
        + (one.rest_usd + here.rest_usd) / 2
        + (0.0 if known[name].deployment.name == host else back)
        if one.p_correct < here.p_correct
        else one.now_usd + one.rest_usd
        for name, one in courses.items()
    }
    best = min(totals, key=lambda name: (totals[name], name))
    gain = max(_LEAST_GAIN, seen.policy.profile.min_gain_ratio)
    if totals[best] >= totals[stays] * (1 - gain):
        best = stays
    alone = evaluate((courses[best].fit,))
    if chosen.stages == (best,) or _pays(chosen, stays, alone):
        return None
    verb = "is best had with" if not seen.ask.warm else "stays with"
    why = f"the session {verb if best == stays else 'moves to'} {best}"
    return alone, why, (why,)


def _home(courses: Mapping[str, _Course], known: Mapping[str, Known], home: str) -> str | None:
    """Return home, or where that is not good enough now its best variant, as warm as it is."""
    if home in courses or home not in known:
        return home if home in courses else None
    host = known[home].deployment.name
    shared = [name for name in courses if known[name].deployment.name == host]
    return min(shared, key=lambda name: (-courses[name].p_correct, name), default=None)


def _pays(chosen: Plan, home: str, stays: Plan) -> bool:
    """Say whether a cascade that ends at home is cheaper than home alone, drafts included."""
    ends_at_home = len(chosen.stages) > 1 and chosen.stages[-1] == home
    return ends_at_home and chosen.expected_net_usd < stays.expected_net_usd * (1 - _LEAST_GAIN)


def _course(seen: View, known: Known, fit: Fit) -> _Course:
    """Return what this turn and the rest of the session take with one deployment."""
    estimate = fit[1]
    rest = min(MOST_TURNS, max(1, seen.ask.turns or 0))
    rest_usd = rest * _steady(seen, known, estimate)
    return _Course(estimate.net_usd, rest_usd, estimate.p_correct, fit)


def _steady(seen: View, known: Known, estimate: Estimate) -> float:
    """Return the net cost of a later turn: as much new text as now, all before it cached.

    Before there is anything to compare with, as much new text as the answer has.
    """
    fresh = max(1, estimate.input_tokens - seen.prefix_tokens)
    if not seen.prefix_tokens:
        fresh = min(fresh, estimate.output_tokens)
    return _net(seen, known, fresh, estimate.input_tokens + estimate.output_tokens) + _written(
        seen, known, estimate.output_tokens
    )


def _afresh(known: Known, seen: View, tokens: int) -> float:
    """Return what reading so many tokens afresh takes more than reading them from the cache."""
    return max(0.0, _net(seen, known, tokens, 0) - _net(seen, known, 0, tokens))


def _written(seen: View, known: Known, output: int) -> float:
    """Return the net cost of an answer's own tokens."""
    usd = 0.0 if known.usd is None else known.usd.of(0, 0, output)
    rates = known.energy_j or known.modelled_j
    return usd + _joule_usd(seen, known) * rates.of(0, 0, output)


def _net(seen: View, known: Known, fresh: int, cached: int) -> float:
    """Return the net cost of a prompt: tokens paid, and electricity that is paid here."""
    usd = 0.0 if known.usd is None else known.usd.of(fresh, cached, 0)
    rates = known.energy_j or known.modelled_j
    return usd + _joule_usd(seen, known) * rates.of(fresh, cached, 0)


def _joule_usd(seen: View, known: Known) -> float:
    """Return dollars per joule, as the estimate counts them: an API's are in its price."""
    return seen.usd_per_j if known.local or known.usd is None else 0.0
