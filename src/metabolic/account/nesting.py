"""Which of several meters count, when some hold others.

A node's meter holds its board's, a board's those of its packages and GPUs. Adding them would count
a joule twice, so every device's calls are charged by one meter and no two of these overlap: a
meter that was read before one that was modelled (so that a modelled joule never stands beside a
measured one of the same device), then the finest. Where the finest that reads a device holds
others that were chosen, it takes their place. A meter that was not chosen and holds chosen ones
*encloses* them: its reading is an upper bound of theirs, and the difference is the rest of the
node (disks, fans, power supply), shown apart and charged to nobody.
"""

__all__ = ["Nesting", "Span", "nest", "rest_j"]

from collections.abc import Iterable, Mapping

from msgspec import Struct

from metabolic.core.hardware import Origin
from metabolic.core.ports import Domain

_DEPTH: dict[Domain, int] = {"package": 0, "gpu": 0, "board": 1, "node": 2}

_EVERYTHING = "*"


class Span(Struct, frozen=True, kw_only=True, gc=False):
    """What a meter covers: ``covers`` names devices, ``("*",)`` is all there are."""

    name: str
    domain: Domain
    covers: tuple[str, ...]
    origin: Origin = "measured"


class Nesting(Struct, frozen=True, kw_only=True):
    """The choice: each device's meter, and each enclosing meter with those chosen within it."""

    meters: Mapping[str, str]
    enclosing: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def chosen(self) -> tuple[str, ...]:
        """The meters that charge calls, by name."""
        return tuple(sorted(set(self.meters.values())))


def nest(spans: Iterable[Span], devices: Iterable[str]) -> Nesting:
    """Return which meter charges the calls of each device.

    ``devices`` are those that deployments draw from; one that no meter covers is left out. The
    order of ``spans`` does not matter.
    """
    known = sorted(spans, key=_order)
    wanted = sorted(set(devices))
    picked: dict[str, Span] = {}
    for device in wanted:
        fits = [one for one in known if _has(one, device)]
        if fits:
            picked[device] = fits[0]
    while True:
        wider = {device: _widest(span, picked.values()) for device, span in picked.items()}
        if wider == picked:
            break
        picked = wider
    chosen = {one.name: one for one in picked.values()}
    around = tuple(
        (one.name, tuple(sorted(name for name, inner in chosen.items() if _holds(one, inner))))
        for one in known
        if one.name not in chosen
    )
    return Nesting(
        meters={device: span.name for device, span in picked.items()},
        enclosing=tuple((name, inner) for name, inner in around if inner),
    )


def rest_j(enclosing_j: float, parts_j: Iterable[float]) -> float:
    """Return what an enclosing meter read beyond its parts; negative: they cannot all be right."""
    return enclosing_j - sum(parts_j)


def _order(span: Span) -> tuple[bool, int, int, str]:
    """Sort the best first: read before modelled, fine before coarse."""
    return span.origin == "modelled", _DEPTH[span.domain], len(span.covers), span.name


def _has(span: Span, device: str) -> bool:
    """Say whether a meter covers a device."""
    return device in span.covers or _EVERYTHING in span.covers


def _holds(outer: Span, inner: Span) -> bool:
    """Say whether one meter's joules hold another's, by what they cover."""
    if outer.name == inner.name or _DEPTH[outer.domain] <= _DEPTH[inner.domain]:
        return False
    return all(_has(outer, device) for device in inner.covers)


def _widest(span: Span, picked: Iterable[Span]) -> Span:
    """Return the chosen meter that holds this one, or itself."""
    holders = [one for one in picked if _holds(one, span)]
    return min(holders, key=lambda one: (-_DEPTH[one.domain], one.name)) if holders else span
