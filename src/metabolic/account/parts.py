"""Who drew a window's joules: the moments first, then those in flight at each of them.

Theory. While anything is in flight a device draws about the same, a little more the more answers
are in flight (``batch ** e``, ``account.curve``). So a window's joules above idle belong to its
moments by that power, and a moment's to the calls in flight by the work each was doing *then*: a
prompt's tokens per second before the first token, after it the call's own tokens and its part of
the steps (``account.weights`` prices the three). In symbols, with ``rho`` the rate of work::

    part_i = integral of  B(t) ** e  x  rho_i(t) / sum_j rho_j(t)  dt

A call that runs alone is therefore charged by its time, however many tokens that was; calls that
run together share by their tokens. The integral is exact, between one begin or end and the next,
and takes one sweep: all calls of an engine see the same two integrals, at different times.
"""

__all__ = ["parts_of"]

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from msgspec import Struct

from metabolic.account.presence import Phases
from metabolic.account.weights import Weights

_LEAST_RATE = 1e-6
"""Work of a call of which nothing is known, so that such calls share a moment equally."""

_Engine = tuple[int | None, str]


class _Rates(Struct):
    """What is in flight at one moment: work per second, and decoding calls by engine."""

    flights: int = 0
    working: int = 0
    own: float = 0.0
    steps: dict[_Engine, float] = {}
    decoding: dict[_Engine, int] = {}

    def change(self, flights: int, own: float) -> None:
        """Begin or end a phase; what is left of a sum when nobody works is rounding."""
        self.flights += flights
        self.working += flights if own else 0
        self.own = self.own + own if self.working else 0.0

    def change_steps(self, key: _Engine, step: float, decoding: int) -> None:
        """Begin or end decoding on an engine."""
        count = self.decoding.get(key, 0) + decoding
        self.decoding[key] = count
        self.steps[key] = self.steps.get(key, 0.0) + step if count else 0.0

    def whole(self) -> float:
        """Return the work per second of all."""
        shared = sum(
            rate / self.decoding[key] for key, rate in self.steps.items() if self.decoding[key]
        )
        return max(0.0, self.own) + max(0.0, shared) + _LEAST_RATE * self.flights


class _Prices(Struct, frozen=True):
    """One flight's rates of work: computing its prompt, decoding by itself, its steps if alone."""

    prefill: float
    decode: float
    step: float


def parts_of(
    spans: Sequence[Phases],
    *,
    from_s: float,
    to_s: float,
    weights: Callable[[Phases], Weights],
    exponent: float,
) -> tuple[float, ...]:
    """Return each call's part of the window, in any unit; all calls draw from one device.

    ``weights`` prices a call's tokens; ``exponent`` says how power grows with the batch.
    """
    prices = [_prices(one, weights(one).joules) for one in spans]
    changes = _changes(spans, prices, from_s, to_s)
    marks = sorted(changes)
    moments, steps = _swept(marks, changes, exponent)
    found: list[float] = []
    for span, price in zip(spans, prices, strict=True):
        began, ended = max(from_s, span.began), min(to_s, span.ended)
        if ended <= began:
            found.append(0.0)
            continue
        first = min(max(span.first, began), ended)
        at = {t: _at(marks, moments, t) for t in (began, first, ended)}
        part = (price.prefill + _LEAST_RATE) * (at[first] - at[began])
        part += (price.decode + _LEAST_RATE) * (at[ended] - at[first])
        stepped = steps.get(_key(span))
        if stepped is not None:
            part += price.step * (_at(marks, stepped, ended) - _at(marks, stepped, first))
        found.append(part)
    return tuple(found)


def _key(span: Phases) -> _Engine:
    """Return the engine of a flight."""
    return span.flight.pid, span.flight.engine


def _prices(span: Phases, joules: tuple[float, ...]) -> _Prices:
    """Return a flight's rates of work."""
    prefill_s, scale = span.first - span.began, span.flight.scale
    tokens = span.flight.prompt_tokens
    return _Prices(
        prefill=joules[0] * scale * tokens / prefill_s if prefill_s > 0 else 0.0,
        decode=joules[1] * scale * span.rate,
        step=joules[2] * scale * (span.ratio - 1.0) * span.rate,
    )


def _changes(
    spans: Sequence[Phases], prices: Sequence[_Prices], from_s: float, to_s: float
) -> Mapping[float, list[tuple[int, float, _Engine | None, float, int]]]:
    """Return what changes when: flights, own work, and an engine's steps and decoding calls."""
    found: dict[float, list[tuple[int, float, _Engine | None, float, int]]] = {}
    for span, price in zip(spans, prices, strict=True):
        began, ended = max(from_s, span.began), min(to_s, span.ended)
        if ended <= began:
            continue
        first, key = min(max(span.first, began), ended), _key(span)
        if first > began:
            found.setdefault(began, []).append((1, price.prefill, None, 0.0, 0))
            found.setdefault(first, []).append((-1, -price.prefill, None, 0.0, 0))
        if ended > first:
            found.setdefault(first, []).append((1, price.decode, key, price.step, 1))
            found.setdefault(ended, []).append((-1, -price.decode, key, -price.step, -1))
    return found


def _swept(
    marks: Sequence[float],
    changes: Mapping[float, list[tuple[int, float, _Engine | None, float, int]]],
    exponent: float,
) -> tuple[list[float], dict[_Engine, list[float]]]:
    """Return both integrals at every mark: of power over work, and that over decoding calls."""
    now = _Rates()
    moments, steps = [0.0], dict[_Engine, list[float]]()
    for made in changes.values():
        for _, _, key, _, _ in made:
            if key is not None:
                steps[key] = [0.0]
    for at_s, after_s in pairwise(marks):
        for flights, own, key, step, decoding in changes[at_s]:
            now.change(flights, own)
            if key is not None:
                now.change_steps(key, step, decoding)
        more = 0.0
        if now.flights:
            more = now.flights**exponent / now.whole() * (after_s - at_s)
        moments.append(moments[-1] + more)
        for key, sums in steps.items():
            count = now.decoding.get(key, 0)
            sums.append(sums[-1] + (more / count if count else 0.0))
    return moments, steps


def _at(marks: Sequence[float], sums: Sequence[float], t: float) -> float:
    """Return an integral at a mark."""
    return sums[max(0, bisect_right(marks, t) - 1)]
