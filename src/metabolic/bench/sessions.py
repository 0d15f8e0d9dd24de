"""Conversations replayed: routed turn by turn, as a whole, and by one model that stays warm.

Every choice is ``decide``'s own. Four fleets of two models, the dear one 1.2, 2, 4 and 16 times
the price of the cheap one; the dear one is good on every turn, the cheap one only on easy ones, and
the decision is told which are. A cache is lost after five minutes. Costs are of all tokens, those
that had to be read again because the conversation had moved included.
"""

__all__ = ["Options", "run"]

import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from metabolic.account.money import tokens_usd
from metabolic.account.work import remote_energy_j
from metabolic.bench.report import Figure, Missing, Report, Row, progress, report
from metabolic.bench.sessions_data import (
    RATIOS,
    Session,
    Turn,
    ratios_in,
    sessions_in,
    synthetic,
)
from metabolic.core.decision import Belief, Policy
from metabolic.core.fleet import Deployment, FleetSpec, Model, Price, Situation
from metabolic.core.metabolic import MetabolicState
from metabolic.core.request import Ask, WarmPrefix
from metabolic.core.signals import Signals
from metabolic.decide.decide import decide
from metabolic.decide.digest import sealed
from metabolic.decide.estimate import Prepared, prepare
from metabolic.decide.profiles import profile

POLICIES = ("constant", "per_turn", "per_turn_warm", "session")
_TTL_S = 300.0
"""How long a prompt cache lasts unused. Source: Anthropic's and OpenAI's: 5 minutes or more."""

_DEAR_USD = 2.5e-6
_OUTPUT_RATIO = 4.0
_PRICE_RATIOS = (1.2, 2.0, 4.0, 16.0)
_QUALITY = {"easy": {"cheap": 0.94, "dear": 0.95}, "hard": {"cheap": 0.50, "dear": 0.85}}
_DRAWS = 300


class Options(Struct, frozen=True, kw_only=True):
    """What to replay; ``sessions`` is the most of each set."""

    data: Path | None = None
    sessions: int = 300
    seed: int = 0
    quick: bool = False


class _Spent(Struct, frozen=True, gc=False):
    """What one conversation took."""

    usd: float
    energy_j: float
    p_correct: float
    switches: int


def run(options: Options) -> Report:
    """Replay the conversations under every policy and return the report."""
    began_s = time.perf_counter()
    most = min(options.sessions, 60) if options.quick else options.sessions
    sets = synthetic(most, seed=options.seed)
    ratios: tuple[float, ...] = RATIOS
    missing: list[Missing] = []
    if options.data is not None:
        found = sessions_in(options.data, seed=options.seed, most=most)
        if not found:
            missing.append(Missing(figure="rows of traces", why="no file with trace and hash_ids"))
        sets |= found
        ratios = ratios_in(options.data) or RATIOS
    rows: list[Row] = []
    losses: list[tuple[float, float, float, int]] = []
    for name, sessions in sets.items():
        for ratio in ratios:
            for price_ratio in _PRICE_RATIOS:
                progress(f"{name}: cached at {ratio:g}, dear at {price_ratio}")
                spent = {
                    policy: _replayed(sessions, policy, cached=ratio, dear=price_ratio)
                    for policy in POLICIES
                }
                lot = random.Random(f"{options.seed}/{name}/{ratio}/{price_ratio}")
                losses.append(_loss(spent["session"], spent["constant"], lot))
                shape = {"set": name, "cached_price_ratio": ratio, "price_ratio": price_ratio}
                rows += _rows_of(shape, spent)
    return report(
        "sessions",
        seed=options.seed,
        seconds=time.perf_counter() - began_s,
        quick=options.quick,
        notes=_NOTES,
        figures={"worst_loss_to_cached_constant_ratio": _worst(losses)},
        rows=rows,
        missing=missing,
    )


def _worst(losses: Sequence[tuple[float, float, float, int]]) -> Figure:
    """Return the largest loss with its bounds."""
    value, low, high, n = max(losses)
    return Figure(
        value=value,
        unit="ratio",
        n=n,
        low=low,
        high=high,
        unit_note="cost of session routing over that of the cached constant, less 1, of the worst"
        " set and prices; interval by bootstrap of conversations",
    )


_NOTES = (
    "constant: the best single model, always, its cache warm",
    "decide is told of no cache (per_turn), of caches (per_turn_warm), of turns too (session)",
    "which turns are easy is drawn, not known: what a trace gives is lengths, times and prefixes",
    "energy is modelled by active parameters; tokens read from a cache are counted as free",
)


def _rows_of(
    shape: Mapping[str, float | int | str], spent: Mapping[str, Sequence[_Spent]]
) -> list[Row]:
    """Return a row for each policy."""
    constant = sum(one.usd for one in spent["constant"])
    made: list[Row] = []
    for policy, found in spent.items():
        usd = sum(one.usd for one in found)
        made.append(
            {
                **shape,
                "policy": policy,
                "net_cost_usd": usd,
                "energy_j": sum(one.energy_j for one in found),
                "cost_to_constant_ratio": usd / constant,
                "p_correct": sum(one.p_correct for one in found) / len(found),
                "switches": sum(one.switches for one in found),
                "sessions": len(found),
            }
        )
    return made


def _loss(
    ours: Sequence[_Spent], constant: Sequence[_Spent], lot: random.Random
) -> tuple[float, float, float, int]:
    """Return what we lose to the constant, with 95 % bounds and the number of conversations."""
    pairs = [(a.usd, b.usd) for a, b in zip(ours, constant, strict=True)]
    drawn = sorted(_ratio(lot.choices(pairs, k=len(pairs))) for _ in range(_DRAWS))
    return _ratio(pairs), drawn[int(0.025 * _DRAWS)], drawn[int(0.975 * _DRAWS)], len(pairs)


def _ratio(pairs: Sequence[tuple[float, float]]) -> float:
    """Return the ratio of sums, less 1."""
    return sum(a for a, _ in pairs) / sum(b for _, b in pairs) - 1


def _replayed(
    sessions: Sequence[Session], policy: str, *, cached: float, dear: float
) -> list[_Spent]:
    """Return what each conversation takes under a policy."""
    fleet = _fleet(cached=cached, dear=dear)
    prepared = prepare(fleet, _POLICY)
    return [_one(session, policy, fleet, prepared) for session in sessions]


def _one(session: Session, policy: str, fleet: FleetSpec, prepared: Prepared) -> _Spent:
    """Return what one conversation takes."""
    caches: dict[str, tuple[int, float]] = {}
    by_name = {one.name: one for one in fleet.deployments}
    usd = energy_j = p_correct = 0.0
    switches, before = 0, None
    for number, turn in enumerate(session.turns):
        warm = {
            name: min(tokens, turn.input_tokens)
            for name, (tokens, used_s) in caches.items()
            if turn.at_s - used_s <= _TTL_S
        }
        name = "dear"
        if policy != "constant":
            ask = _ask(session, number, policy, warm)
            name = _chosen(ask, turn, fleet, prepared)
        one, read = by_name[name], warm.get(name, 0)
        if one.price is not None:
            usd += tokens_usd(
                one.price,
                input_tokens=turn.input_tokens,
                output_tokens=turn.output_tokens,
                cached_tokens=read,
            )
        energy_j += remote_energy_j(
            one.model, input_tokens=turn.input_tokens - read, output_tokens=turn.output_tokens
        )
        p_correct += _QUALITY["easy" if turn.easy else "hard"][name]
        caches[name] = turn.input_tokens + turn.output_tokens, turn.at_s
        switches, before = switches + (before not in {None, name}), name
    return _Spent(usd, energy_j, p_correct / len(session.turns), switches)


def _ask(session: Session, number: int, policy: str, warm: Mapping[str, int]) -> Ask:
    """Return what the decision is told of a turn."""
    told = policy != "per_turn"
    return Ask(
        id=f"{session.name}-{number}",
        at_s=session.turns[number].at_s,
        session=session.name,
        stream=True,
        delivery="stream",
        input_tokens=session.turns[number].input_tokens,
        warm=tuple([WarmPrefix(deployment=name, prefix_tokens=warm[name]) for name in sorted(warm)])
        if told
        else (),
        turns=number if policy == "session" else None,
    )


def _chosen(ask: Ask, turn: Turn, fleet: FleetSpec, prepared: Prepared) -> str:
    """Return who answers."""
    lane = "easy" if turn.easy else "hard"
    signals = Signals(lane=lane, expected_output_tokens=turn.output_tokens)
    situation = Situation(at_s=ask.at_s, metabolic=MetabolicState(), fleet=fleet)
    made = decide(ask, signals, situation, prepared.policy, prepared=prepared)
    return made.stages[0].deployment


_POLICY = sealed(
    Policy(
        id="",
        profile=profile("edge"),
        beliefs=tuple(
            Belief(deployment=name, lane=lane, p_correct=p, evidence=1000)
            for lane, found in _QUALITY.items()
            for name, p in found.items()
        ),
    )
)


def _fleet(*, cached: float, dear: float) -> FleetSpec:
    """Return a cheap and a dear model whose cached tokens cost ``cached`` of fresh ones."""
    return sealed(
        FleetSpec(
            id="",
            deployments=(
                _deployment("cheap", _DEAR_USD / dear, cached, parameters=8_000_000_000),
                _deployment("dear", _DEAR_USD, cached, parameters=70_000_000_000),
            ),
        )
    )


def _deployment(name: str, usd: float, cached: float, *, parameters: int) -> Deployment:
    """Return a model behind an API that asks so much per token."""
    return Deployment(
        name=name,
        model=Model(
            id=name,
            tier="large" if name == "dear" else "medium",
            active_parameters=parameters,
        ),
        price=Price(
            input_usd_per_token=usd,
            output_usd_per_token=usd * _OUTPUT_RATIO,
            cached_usd_per_token=usd * cached,
        ),
    )
