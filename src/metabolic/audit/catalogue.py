"""Models of one's own as alternatives: what a token would cost on each deployment of a fleet."""

__all__ = ["Catalogue", "catalogue_of"]

from collections.abc import Iterable

from msgspec import Struct

from metabolic.account.money import electricity_usd
from metabolic.account.work import parameters_of
from metabolic.audit.prices import Entry
from metabolic.core.fleet import Deployment

_MTOK = 1_000_000.0
_HOUR_S = 3600.0


class Catalogue(Struct, frozen=True, kw_only=True):
    """Entries for the deployments whose tokens have a price, and the names of those without."""

    entries: tuple[Entry, ...]
    left_out: tuple[str, ...] = ()


def catalogue_of(fleet: Iterable[Deployment], *, usd_per_kwh: float) -> Catalogue:
    """Return what each deployment asks per token.

    A price list is taken as it is. On a machine of one's own a token costs its electricity and
    its part of the rent while one call is worked on at a time: an upper figure, for calls that
    share a machine share both.
    """
    entries: list[Entry] = []
    left_out: list[str] = []
    for one in fleet:
        if "chat" not in one.capabilities:
            continue
        entry = _priced(one) or _own(one, usd_per_kwh)
        if entry is None:
            left_out.append(one.name)
        else:
            entries.append(entry)
    return Catalogue(entries=tuple(entries), left_out=tuple(left_out))


def _priced(one: Deployment) -> Entry | None:
    """Return the entry of a price list."""
    price = one.price
    if price is None:
        return None
    cached, written = price.cached_usd_per_token, price.cache_write_usd_per_token
    return Entry(
        model=one.name,
        input=price.input_usd_per_token * _MTOK,
        output=price.output_usd_per_token * _MTOK,
        cached=None if cached is None else cached * _MTOK,
        written=None if written is None else written * _MTOK,
        parameters=one.model.active_parameters,
    )


def _own(one: Deployment, usd_per_kwh: float) -> Entry | None:
    """Return the entry of a machine of one's own; ``None`` where its speed or power is unknown."""
    reads, writes, power_w = one.prefill_tokens_per_s, one.decode_tokens_per_s, one.active_w
    if one.device is None or not reads or not writes or power_w is None:
        return None
    usd_per_s = electricity_usd(power_w, usd_per_kwh=usd_per_kwh)
    usd_per_s += (one.usd_per_hour or 0.0) / _HOUR_S
    return Entry(
        model=one.name,
        input=usd_per_s / reads * _MTOK,
        output=usd_per_s / writes * _MTOK,
        cached=0.0,
        parameters=int(parameters_of(one.model)),
    )
