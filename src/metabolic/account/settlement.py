"""Provisional receipts into settled ones, once the meters have spoken."""

__all__ = ["settled", "settled_receipt"]

from msgspec.structs import replace

from metabolic.account.bill import sum_energy
from metabolic.account.carbon import carbon_scaled
from metabolic.account.money import electricity_usd
from metabolic.core.receipt import (
    AttemptBill,
    Carbon,
    Cost,
    Energy,
    Receipt,
    Record,
    Settlement,
    Share,
)
from metabolic.core.units import kwh_from_j

_ROUNDING_RATIO = 1e-9
"""What is left of a sum after its parts are taken away, and is only floating-point rounding."""


def settled(record: Record, settlement: Settlement) -> Record:
    """Return the record with its receipt settled; the decision and events stay as they were."""
    return replace(record, receipt=settled_receipt(record.receipt, settlement))


def settled_receipt(receipt: Receipt, settlement: Settlement) -> Receipt:
    """Return the receipt with the meters' joules and CPU seconds in place of the estimates.

    A call the meters say nothing of keeps its estimate, which stays part of the sum. Electricity
    and carbon are computed again from the new energy, at the receipt's own price and intensity.
    Remote calls and baselines stay modelled. Settling twice changes nothing.
    """
    if receipt.status == "settled":
        return receipt
    prefix = f"{receipt.id}/"
    shares = {share.call.removeprefix(prefix): share for share in settlement.shares}
    attempts = tuple(
        _settled_bill(bill, shares[bill.call], settlement) if bill.call in shares else bill
        for bill in receipt.attempts
    )
    replaced = [bill.energy for bill in receipt.attempts if bill.call in shares]
    if not replaced:
        return replace(receipt, status="settled")
    found = [bill.energy for bill in attempts if bill.call in shares]
    energy = sum_energy([*found, *_remainder(receipt.energy, replaced)])
    return replace(
        receipt,
        status="settled",
        attempts=attempts,
        cpu_s=_cpu_s(attempts),
        energy=energy,
        cost=_cost(receipt, energy),
        carbon=_carbon(receipt, energy),
    )


def _settled_bill(bill: AttemptBill, share: Share, settlement: Settlement) -> AttemptBill:
    """Put a share into the bill of its call."""
    low = settlement.low_ratio if share.low_ratio is None else share.low_ratio
    high = settlement.high_ratio if share.high_ratio is None else share.high_ratio
    energy = Energy(
        energy_j=share.energy_j,
        low_j=share.energy_j * low,
        high_j=share.energy_j * high,
        origin=share.origin or settlement.origin,
        status="settled",
        meter=share.meter or settlement.meter,
        idle_j=share.idle_j or None,
    )
    return replace(bill, energy=energy, cpu_s=bill.cpu_s if share.cpu_s is None else share.cpu_s)


def _remainder(whole: Energy | None, replaced: list[Energy | None]) -> list[Energy]:
    """Return what the estimate held beyond the calls that the meters spoke of, if anything."""
    if whole is None:
        return []
    parts = [part for part in replaced if part is not None]
    left_j = whole.energy_j - sum(part.energy_j for part in parts)
    if left_j <= whole.energy_j * _ROUNDING_RATIO:
        return []
    low_j = max(0.0, whole.low_j - sum(part.low_j for part in parts))
    high_j = max(left_j, whole.high_j - sum(part.high_j for part in parts))
    low_j = min(low_j, left_j)
    return [replace(whole, energy_j=left_j, low_j=low_j, high_j=high_j, status="settled")]


def _cpu_s(attempts: tuple[AttemptBill, ...]) -> float | None:
    """Add the CPU seconds that are known; ``None`` when none is."""
    known = [bill.cpu_s for bill in attempts if bill.cpu_s is not None]
    return sum(known) if known else None


def _cost(receipt: Receipt, energy: Energy | None) -> Cost:
    """Price the new energy as the receipt priced the old; ``None`` where it had no price."""
    before, cost = receipt.energy, receipt.cost
    if energy is None or before is None or before.energy_j <= 0 or cost.electricity_usd is None:
        return cost
    usd_per_kwh = cost.electricity_usd / kwh_from_j(before.energy_j)
    electricity = electricity_usd(energy.energy_j, usd_per_kwh=usd_per_kwh)
    return replace(cost, electricity_usd=electricity, origin=energy.origin)


def _carbon(receipt: Receipt, energy: Energy | None) -> Carbon | None:
    """Return the carbon of the new energy at the receipt's own rates."""
    if energy is None or receipt.carbon is None or receipt.energy is None:
        return receipt.carbon
    return carbon_scaled(receipt.carbon, receipt.energy, energy)
