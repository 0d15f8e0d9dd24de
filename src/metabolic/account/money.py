"""Tokens and joules to dollars."""

__all__ = ["electricity_usd", "lost_cache_usd", "rent_usd", "tokens_usd"]

from metabolic.core.fleet import Price
from metabolic.core.units import kwh_from_j


def tokens_usd(
    price: Price, *, input_tokens: int, output_tokens: int, cached_tokens: int = 0
) -> float:
    """Return what an API asks for these tokens.

    ``input_tokens`` includes ``cached_tokens``. Cached tokens cost the cached rate (the input
    rate when there is none); the uncached cost the cache-write rate where the API has one.
    """
    fresh_rate = price.cache_write_usd_per_token
    if fresh_rate is None:
        fresh_rate = price.input_usd_per_token
    written = output_tokens * price.output_usd_per_token
    if cached_tokens == 0:
        return input_tokens * fresh_rate + written
    cached = min(cached_tokens, input_tokens)
    cached_rate = price.cached_usd_per_token
    if cached_rate is None:
        cached_rate = price.input_usd_per_token
    return (input_tokens - cached) * fresh_rate + cached * cached_rate + written


def lost_cache_usd(price: Price, *, prefix_tokens: int) -> float:
    """Return what a conversation's cached prefix would have saved, had it been here."""
    warm = tokens_usd(
        price, input_tokens=prefix_tokens, output_tokens=0, cached_tokens=prefix_tokens
    )
    return max(0.0, tokens_usd(price, input_tokens=prefix_tokens, output_tokens=0) - warm)


def electricity_usd(energy_j: float, *, usd_per_kwh: float) -> float:
    """Return the price of energy drawn from the wall."""
    return kwh_from_j(energy_j) * usd_per_kwh


def rent_usd(seconds: float, *, usd_per_hour: float, running: int = 1) -> float:
    """Return a call's part of a rented hour, shared equally with those in flight beside it.

    ``running`` counts the call itself; hours in which nothing runs are nobody's.
    """
    return seconds / 3600 * usd_per_hour / max(1, running)
