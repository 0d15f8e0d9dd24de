"""``metabolic receipts``: what requests took, from the ledger."""

__all__ = ["receipts"]

import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from msgspec import Struct

from metabolic.cli import show
from metabolic.cli.ledgers import moment, open_ledger
from metabolic.config import load
from metabolic.core.errors import LedgerError
from metabolic.core.ports import Ledger
from metabolic.core.receipt import Receipt, Record
from metabolic.decide.variants import key_of


class _Total(Struct, frozen=True, kw_only=True):
    """What all requests that were read took; of how many the local joules are unknown."""

    requests: int
    answered: int
    escalated: int
    energy_j: float
    energy_unknown: int
    remote_energy_j: float
    cost_usd: float
    carbon_g: float


class _Listing(Struct, frozen=True, kw_only=True):
    """Everything ``receipts --json`` prints."""

    total: _Total
    receipts: tuple[Receipt, ...]


def receipts(  # noqa: PLR0913 - each is an option of the command
    request_id: str | None = None,
    *,
    last: Annotated[int, Parameter(validator=Number(gte=1))] = 20,
    since: str = "24h",
    until: str | None = None,
    tenant: str | None = None,
    session: str | None = None,
    ledger: Path | None = None,
    config: Annotated[Path | None, Parameter(env_var="METABOLIC_CONFIG")] = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Show the receipt of one request, or the last ones and what all of them took.

    Args:
        request_id: Show this one, in full.
        last: How many to list; the totals count every one since ``since``.
        since: From when on: ``2h``, ``7d``, ``2026-11-22``, epoch seconds.
        until: Until when.
        tenant: Only those of this tenant.
        session: Only those of this session.
        ledger: The ledger's file, ``.jsonl`` or SQLite (else the configured one).
        config: The configuration file.
        json: Print JSON instead of tables.
    """
    now_s = time.time()
    opened = open_ledger(ledger, load(config))
    try:
        if request_id is not None:
            show.print_json(_one(opened, request_id))
            return
        found = opened.records(moment(since, now_s=now_s), moment(until, now_s=now_s))
        listing = _listing(_of(found, tenant=tenant, session=session), last)
    finally:
        opened.close()
    if json:
        show.print_json(listing)
    else:
        _print(listing)


def _one(ledger: Ledger, request_id: str) -> Receipt:
    """Return one receipt.

    Raises:
        LedgerError: there is none.
    """
    record = ledger.record(request_id)
    if record is None:
        message = f"there is no receipt of {request_id}"
        raise LedgerError(message)
    return record.receipt


def _of(records: Iterable[Record], *, tenant: str | None, session: str | None) -> Iterable[Receipt]:
    """Yield the receipts that are asked for."""
    for record in records:
        if tenant is not None and record.ask.tenant != tenant:
            continue
        if session is None or record.ask.session == session:
            yield record.receipt


def _listing(found: Iterable[Receipt], last: int) -> _Listing:
    """Add up all receipts and keep the last ones."""
    kept: deque[Receipt] = deque(maxlen=last)
    requests = answered = escalated = unknown = 0
    energy_j = remote_energy_j = cost_usd = carbon_g = 0.0
    for receipt in found:
        kept.append(receipt)
        requests += 1
        answered += receipt.answer is not None
        escalated += receipt.answer is not None and receipt.answer.escalations > 0
        energy_j += receipt.energy.energy_j if receipt.energy else 0.0
        unknown += receipt.energy is None
        remote_energy_j += receipt.remote_energy.energy_j if receipt.remote_energy else 0.0
        cost_usd += receipt.cost.total_usd
        carbon_g += receipt.carbon.carbon_g if receipt.carbon else 0.0
    total = _Total(
        requests=requests,
        answered=answered,
        escalated=escalated,
        energy_j=energy_j,
        energy_unknown=unknown,
        remote_energy_j=remote_energy_j,
        cost_usd=cost_usd,
        carbon_g=carbon_g,
    )
    return _Listing(total=total, receipts=tuple(kept))


def _print(listing: _Listing) -> None:
    """Print a listing for people."""
    console = show.console()
    heads = ("request", "at", "task", "answered by", ">s", ">J", "energy", ">USD", ">gCO2e")
    console.print(show.table("Receipts", heads, map(_row, listing.receipts)))
    total = listing.total
    known = total.requests > total.energy_unknown
    joules = f"{show.figure(total.energy_j if known or not total.requests else None)} J"
    without = f" (unknown of {total.energy_unknown:,})" if total.energy_unknown else ""
    remote = f", and {show.figure(total.remote_energy_j)} J modelled at remote APIs"
    console.print(
        f"{total.requests:,} requests, {total.answered:,} answered, {total.escalated:,} escalated: "
        f"{joules}{without}{remote if total.remote_energy_j else ''}, "
        f"{show.figure(total.cost_usd)} USD, {show.figure(total.carbon_g)} gCO2e",
        markup=False,
        soft_wrap=True,
    )


def _row(receipt: Receipt) -> tuple[str, ...]:
    energy, carbon = receipt.energy, receipt.carbon
    return (
        receipt.id,
        time.strftime("%m-%d %H:%M:%S", time.localtime(receipt.at_s)),
        receipt.task,
        _answered_by(receipt),
        show.figure(receipt.seconds),
        show.figure(None if energy is None else energy.energy_j),
        "–" if energy is None else f"{energy.origin}, {receipt.status}",
        show.figure(receipt.cost.total_usd),
        show.figure(None if carbon is None else carbon.carbon_g),
    )


def _answered_by(receipt: Receipt) -> str:
    if receipt.answer is None:
        return "nobody" if receipt.failure is None else f"nobody: {receipt.failure.kind}"
    marks = f" (+{receipt.answer.escalations})" if receipt.answer.escalations else ""
    kind = " certified" if receipt.answer.certified else ""
    kind = " degraded" if receipt.answer.degraded else kind
    variants = [one.variant for one in receipt.attempts if one.call == receipt.answer.call]
    return key_of(receipt.answer.deployment, *variants[:1] or (None,)) + marks + kind
