"""Simulated time and traffic for ``bench load``: everybody gets the same asks."""

__all__ = ["Item", "World", "day", "steady"]

import heapq
import random
from collections.abc import Callable, Iterator
from math import cos, exp, pi

from msgspec import Struct
from msgspec.structs import replace


class Item(Struct, frozen=True, kw_only=True):
    """One ask: when it comes (s), its tokens, how soon it must be answered, and whether it is easy.

    ``most`` is the limit its client sets on the answer.
    """

    key: int
    at_s: float
    prompt: int
    output: int
    most: int
    deadline_s: float
    simple: bool = False


class World:
    """A clock that jumps from event to event; also a ``Clock`` for what must not wait."""

    def __init__(self) -> None:
        """Begin at 0."""
        self._at_s = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def now_s(self) -> float:
        """Return simulated seconds."""
        return self._at_s

    def monotonic_s(self) -> float:
        """Return simulated seconds."""
        return self._at_s

    async def sleep(self, seconds: float) -> None:
        """Refuse: nothing here waits."""
        raise NotImplementedError

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        """Do something so many seconds from now."""
        self._count += 1
        heapq.heappush(self._events, (self._at_s + max(0.0, seconds), self._count, what))

    def run(self, until_s: float) -> None:
        """Let everything happen until then."""
        while self._events and self._events[0][0] <= until_s:
            self._at_s, _, what = heapq.heappop(self._events)
            what()
        self._at_s = until_s


def steady(*, clients: int, seconds: float, per_client_s: float, seed: int) -> list[Item]:
    """Return asks of ``clients``, each on its own every ``per_client_s`` in the mean."""
    made: list[Item] = []
    for client in range(clients):
        draw = random.Random(f"{seed}/{client}")
        at_s = draw.expovariate(1 / per_client_s)
        while at_s < seconds:
            made.append(_item(draw, at_s))
            at_s += draw.expovariate(1 / per_client_s)
    return _numbered(made)


def day(*, seconds: float, least_rps: float, most_rps: float, seed: int) -> list[Item]:
    """Return asks whose rate follows a day: least at its ends, most in its middle."""
    draw = random.Random(f"{seed}/day")
    return _numbered(list(_thinned(draw, seconds, least_rps, most_rps)))


def _thinned(
    draw: random.Random, seconds: float, least_rps: float, most_rps: float
) -> Iterator[Item]:
    """Yield arrivals of a Poisson process whose rate changes, by thinning."""
    at_s = 0.0
    while (at_s := at_s + draw.expovariate(most_rps)) < seconds:
        rate = least_rps + (most_rps - least_rps) * (0.5 - 0.5 * cos(2 * pi * at_s / seconds)) ** 2
        item = _item(draw, at_s)
        if draw.random() < rate / most_rps:
            yield item


def _item(draw: random.Random, at_s: float) -> Item:
    """Return an ask: lengths are log-normal, one in three has time, half are easy."""
    output = max(4, min(512, round(exp(draw.gauss(4.3, 0.7)))))
    return Item(
        key=0,
        at_s=at_s,
        prompt=max(8, min(4000, round(exp(draw.gauss(5.5, 1.0))))),
        output=output,
        most=min(512, max(64, 2 ** (output - 1).bit_length())),
        deadline_s=30.0 if draw.random() < 1 / 3 else 8.0,
        simple=draw.random() < 0.5,  # noqa: PLR2004 - half of them
    )


def _numbered(items: list[Item]) -> list[Item]:
    """Return asks in order of time, numbered."""
    ordered = sorted(items, key=lambda one: one.at_s)
    return [replace(one, key=number) for number, one in enumerate(ordered)]
