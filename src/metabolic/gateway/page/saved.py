"""What the last requests saved against one deployment for everything: net, with an interval."""

__all__ = ["LEAST_GROUPS", "Saved", "saved"]

from collections.abc import Iterable, Mapping
from math import sqrt
from typing import Literal

from msgspec import Struct

from metabolic.core.fleet import Deployment
from metabolic.core.receipt import AttemptBill, Baseline, Receipt, Record

LEAST_GROUPS = 20
"""Sessions below which no interval is given: the normal one would be too narrow by far."""

_Z = 1.96

Kind = Literal["best single", "largest"]
Unit = Literal["usd", "j"]

_Sums = dict[str, list[float]]


class Saved(Struct, frozen=True, kw_only=True):
    """What was spent beside what one deployment would have taken for the same answers.

    ``deployments`` are the alternatives' names: the best single one may differ by task. ``ratio``
    is the share not spent, below 0 what was spent more; ``low`` and ``high`` are its 95 %
    interval over sessions, ``None`` for fewer than 20. ``requests`` are those where both are
    known, ``unknown`` the others. Everything that a request took counts: discarded drafts,
    retries, judges, failures. The alternative is modelled.
    """

    against: Kind
    unit: Unit
    deployments: tuple[str, ...]
    requests: int
    unknown: int
    spent: float
    alternative: float
    ratio: float | None
    low: float | None = None
    high: float | None = None


def saved(
    records: Iterable[Record], fleet: Mapping[str, Deployment], *, against: Kind, unit: Unit
) -> Saved:
    """Return what these requests saved against the best single or the largest deployment."""
    groups: _Sums = {}
    names: set[str] = set()
    known = unknown = 0
    for record in records:
        receipt = record.receipt
        base = _base(receipt, against)
        pair = _usd(receipt, base, fleet) if unit == "usd" else _joules(receipt, base, fleet)
        if pair is None:
            unknown += 1
            continue
        known += 1
        if base is not None:
            names.add(base.deployment)
        group = groups.setdefault(_group(record), [0.0, 0.0])
        group[0] += pair[0]
        group[1] += pair[1]
    spent = sum(one[0] for one in groups.values())
    alternative = sum(one[1] for one in groups.values())
    ratio = 1 - spent / alternative if alternative > 0 else None
    half = _half(groups, spent, alternative)
    return Saved(
        against=against,
        unit=unit,
        deployments=tuple(sorted(names)),
        requests=known,
        unknown=unknown,
        spent=spent,
        alternative=alternative,
        ratio=ratio,
        low=None if ratio is None or half is None else ratio - half,
        high=None if ratio is None or half is None else ratio + half,
    )


def _group(record: Record) -> str:
    """Return what hangs together: a tenant's session, else the request alone."""
    ask = record.ask
    return ask.id if ask.session is None else f"{ask.tenant}/{ask.session}"


def _half(groups: _Sums, spent: float, alternative: float) -> float | None:
    """Return half the interval's width; ``None`` where there are too few groups.

    Source: Cochran, Sampling Techniques (1977), the ratio estimator's linearised error.
    """
    n = len(groups)
    if n < LEAST_GROUPS or alternative <= 0:
        return None
    share = spent / alternative
    squares = sum((cost - share * base) ** 2 for cost, base in groups.values())
    return _Z * sqrt(squares * n / (n - 1)) / alternative


def _base(receipt: Receipt, against: Kind) -> Baseline | None:
    """Return the alternative; the best single stands first on a receipt, the largest last."""
    found = receipt.baselines
    if not found:
        return None
    return found[0] if against == "best single" else found[-1]


def _usd(
    receipt: Receipt, base: Baseline | None, fleet: Mapping[str, Deployment]
) -> tuple[float, float] | None:
    """Return dollars spent and of the alternative; ``None`` where either is not known."""
    cost = receipt.cost
    if any(one.failure is None and one.tokens_usd is None for one in _remote(receipt, fleet)):
        return None
    if cost.electricity_usd is None and any(_local(receipt, fleet)):
        return None
    if cost.rent_usd is not None:  # the alternative's part of rented hours is not on the receipt
        return None
    if base is None:
        return (cost.total_usd, 0.0) if receipt.answer is None else None
    if base.cost_usd is None:
        return None
    return cost.total_usd, max(0.0, base.cost_usd - _cached(receipt, fleet.get(base.deployment)))


def _cached(receipt: Receipt, other: Deployment | None) -> float:
    """Return the dollars that the prompt cache would have saved the alternative, too.

    As many tokens as the one that answered had there, at the alternative's price for them.
    """
    price = None if other is None else other.price
    if price is None or price.cached_usd_per_token is None or receipt.answer is None:
        return 0.0
    call = receipt.answer.call
    tokens = next((one.usage.cached_tokens for one in receipt.attempts if one.call == call), None)
    return (tokens or 0) * max(0.0, price.input_usd_per_token - price.cached_usd_per_token)


def _joules(
    receipt: Receipt, base: Baseline | None, fleet: Mapping[str, Deployment]
) -> tuple[float, float] | None:
    """Return local joules drawn and of the alternative; ``None`` where either is not known.

    Requests that a remote deployment worked on are left out: its joules are modelled, and never
    added to local ones.
    """
    if receipt.energy is None or any(_remote(receipt, fleet)):
        return None
    if base is None:
        return (receipt.energy.energy_j, 0.0) if receipt.answer is None else None
    return None if base.energy_j is None else (receipt.energy.energy_j, base.energy_j)


def _local(receipt: Receipt, fleet: Mapping[str, Deployment]) -> list[str]:
    """Return the calls that this machine's devices worked on."""
    return [
        one.call
        for one in receipt.attempts
        if (found := fleet.get(one.deployment)) is not None and found.device is not None
    ]


def _remote(receipt: Receipt, fleet: Mapping[str, Deployment]) -> list[AttemptBill]:
    """Return the calls that others worked on."""
    return [
        one
        for one in receipt.attempts
        if (found := fleet.get(one.deployment)) is None or found.device is None
    ]
