"""The single figures of an audit, each with unit, interval and origin."""

__all__ = ["Money", "figures"]

from collections.abc import Sequence
from math import sqrt
from typing import Any

from msgspec import Struct

from metabolic.account.carbon import carbon_g
from metabolic.audit.result import Figure, ModelSpend, Origin
from metabolic.audit.router import Foreseen
from metabolic.audit.savings import Lane, Savings
from metabolic.audit.tasks import Sample

_Z = 1.96
_MONTH_S = 30.44 * 86_400
_LEAST_S = 86_400.0
"""Less than a day says nothing of a month."""


class Money(Struct, frozen=True, kw_only=True):
    """What dollars and joules are told with; ``per_call`` is mean and error over blocks."""

    g_per_kwh: float
    running_usd_per_month: float
    per_call: tuple[float, float] | None


def figures(
    facts: dict[str, Any],
    sample: Sample,
    found: Savings | None,
    spent: Sequence[ModelSpend],
    money: Money,
    *,
    foreseen: Sequence[Foreseen] = (),
) -> tuple[Figure, ...]:
    """Return all figures that this log can give."""
    made = [_count("calls", facts["calls"]), _count("failed_calls", facts["failed"] or 0)]
    made += _tokens(facts)
    made += _dollars(facts, money)
    made += _energy(facts, spent, money.g_per_kwh)
    if sample.prompts:
        low, high = _wilson(sample.no_model, sample.prompts)
        made.append(
            Figure(
                name="no_model_ratio",
                value=sample.no_model / sample.prompts,
                unit="of prompts",
                low=low,
                high=high,
                origin="derived",
                note="plain arithmetic only: a lower bound of what needs no model",
            )
        )
    if found is not None and facts["usd"]:
        made += _savings(facts, found, money)
    if foreseen:
        made.append(_foreseen(foreseen, found, sample))
    return tuple(made)


def _foreseen(foreseen: Sequence[Foreseen], found: Savings | None, sample: Sample) -> Figure:
    """Return the share of calls that the models that would save most are foreseen to serve."""
    wanted = {(one.lane, one.model) for one in (() if found is None else found.possible)}
    chosen = [one for one in foreseen if (one.lane, one.model) in wanted] or list(foreseen)
    calls = sum(one.calls for one in chosen)
    return Figure(
        name="foreseen_good_ratio",
        value=None,
        unit="of good answers",
        low=sum(one.calls * one.low for one in chosen) / calls,
        high=sum(one.calls * one.high for one in chosen) / calls,
        origin="modelled",
        note=f"by {', '.join(sorted({one.model for one in chosen}))}, as the learned router "
        f"{sample.by} foresees it: a range, for no label says how far good answers coincide",
    )


def _count(name: str, value: float) -> Figure:
    return Figure(name=name, value=float(value), unit="calls", origin="measured")


def _tokens(facts: dict[str, Any]) -> list[Figure]:
    """Return sums of tokens, and the share that came from the prompt cache."""
    made: list[Figure] = []
    for name in ("input", "cached", "output", "reasoning"):
        if facts[name] is not None and facts["tokens"]:
            value = float(facts[name])
            made.append(
                Figure(name=f"{name}_tokens", value=value, unit="tokens", origin="measured")
            )
    if facts["input"]:
        value = float(facts["cached"] or 0) / float(facts["input"])
        note = "0 also where the log does not tell" if not value else ""
        made.append(
            Figure(
                name="cached_ratio",
                value=value,
                unit="of input tokens",
                origin="measured",
                note=note,
            )
        )
    return made


def _dollars(facts: dict[str, Any], money: Money) -> list[Figure]:
    """Return what was spent, by call and by month."""
    if facts["usd"] is None:
        return []
    origin: Origin = "measured" if facts["reported"] else "derived"
    unpriced = f"{facts['unpriced']:,} calls have no price" if facts["unpriced"] else ""
    made = [
        Figure(name="spent_usd", value=facts["usd"], unit="USD", origin=origin, note=unpriced),
    ]
    if facts["reported"] and facts["derived_usd"]:
        made.append(
            Figure(
                name="list_price_usd",
                value=facts["derived_usd"],
                unit="USD",
                origin="derived",
                note="the same tokens at the table's prices",
            )
        )
    if money.per_call is not None:
        mean, error = money.per_call
        made.append(
            Figure(
                name="usd_per_call",
                value=mean,
                unit="USD",
                low=mean - _Z * error,
                high=mean + _Z * error,
                origin=origin,
                note=f"median {facts['usd_p50']:.3g}, 95 % quantile {facts['usd_p95']:.3g}",
            )
        )
    month = _months(facts)
    if month:
        made.append(
            Figure(name="usd_per_month", value=facts["usd"] / month, unit="USD", origin="derived")
        )
    return made


def _months(facts: dict[str, Any]) -> float | None:
    """Return how many months the log covers; ``None`` where it is too short to say."""
    if facts["from_s"] is None or facts["to_s"] - facts["from_s"] < _LEAST_S:
        return None
    return (facts["to_s"] - facts["from_s"]) / _MONTH_S


def _energy(facts: dict[str, Any], spent: Sequence[ModelSpend], g_per_kwh: float) -> list[Figure]:
    """Return joules and grams: metered ones of our own records, modelled ones of the rest."""
    made: list[Figure] = []
    if facts["energy_j"] is not None:
        made.append(
            Figure(
                name="recorded_energy_j",
                value=facts["energy_j"],
                unit="J",
                origin="derived",
                note="as the ledger's receipts say",
            )
        )
    known = [one for one in spent if one.joules_low is not None and one.joules_high is not None]
    if known:
        low = sum(one.joules_low or 0.0 for one in known)
        high = sum(one.joules_high or 0.0 for one in known)
        grams = (carbon_g(low, g_per_kwh=g_per_kwh), carbon_g(high, g_per_kwh=g_per_kwh))
        note = "no figure, only a range: sizes and batches are not published"
        made += [
            Figure(
                name="energy_j", value=None, unit="J", low=low, high=high, origin="modelled",
                note=note,
            ),
            Figure(
                name="carbon_g", value=None, unit="gCO2e", low=grams[0], high=grams[1],
                origin="modelled", note=f"at {g_per_kwh:.0f} g/kWh, location-based",
            ),
        ]  # fmt: skip
    return made


def _savings(facts: dict[str, Any], found: Savings, money: Money) -> list[Figure]:
    """Return the net saving, the calls that could move, and when it pays."""
    labelled = any(one.loss.labels for one in found.lanes)
    origin: Origin = "derived" if labelled else "modelled"
    usd = float(facts["usd"])
    made = [
        Figure(
            name="net_saving_ratio",
            value=found.value,
            unit="of USD",
            low=found.low,
            high=found.high,
            origin=origin,
            note="cheapest adequate model per lane, sessions whole, cache counted",
        ),
        Figure(
            name="movable_calls_ratio",
            value=_share(found.likely, facts) if labelled else None,
            unit="of calls",
            low=_share(found.certain, facts),
            high=_share(found.possible, facts),
            origin=origin,
        ),
    ]
    month = _months(facts)
    if month:
        low, high = found.low * usd / month, found.high * usd / month
        value = None if found.value is None else found.value * usd / month
        low, high = low - money.running_usd_per_month, high - money.running_usd_per_month
        if value is not None:
            value -= money.running_usd_per_month
        made.append(
            Figure(
                name="net_saving_usd_per_month", value=value, unit="USD", low=low, high=high,
                origin=origin,
                note=f"after {money.running_usd_per_month:g} USD a month to run it",
            )
        )  # fmt: skip
        if money.running_usd_per_month:
            made.append(_break_even(usd / month, money.running_usd_per_month))
    return made


def _break_even(usd_per_month: float, running: float) -> Figure:
    """Return the share that must be saved for the running costs to come back."""
    return Figure(
        name="break_even_ratio",
        value=running / usd_per_month if usd_per_month > 0 else None,
        unit="of USD",
        origin="derived",
        note="what must be saved to pay for running it",
    )


def _share(lanes: Sequence[Lane], facts: dict[str, Any]) -> float:
    return min(1.0, sum(one.calls for one in lanes) / max(1.0, float(facts["calls"])))


def _wilson(successes: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share. Source: Wilson, 1927."""
    share, scale = successes / n, 1 + _Z * _Z / n
    middle = share + _Z * _Z / (2 * n)
    half = _Z * sqrt(share * (1 - share) / n + _Z * _Z / (4 * n * n))
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)
