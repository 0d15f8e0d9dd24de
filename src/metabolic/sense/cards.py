"""A sensor over graphics cards: reads each in turn, away from the probe, and leaves sleepers be.

On this machine cards are read in a thread of their own: a card that is being reset, or slow to
fill its tables, must not hold up the probe. Below another root they are read at once.

A card that may fall asleep and has nothing to do is looked at seldom only, since every look keeps
it awake for some seconds more; its figures then carry their age.
"""

__all__ = ["CardSensor", "Fields", "Graphics"]

import os
import time
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from metabolic.core.hardware import HardwareState, Reading
from metabolic.core.obstacle import Obstacle
from metabolic.sense.background import Background
from metabolic.sense.cadence import aged, due
from metabolic.sense.merge import Field, with_device

_FIRST_WAIT_S = 0.25
_IDLE_EVERY_S = 10.0
"""Longer than the five seconds after which Linux lets an idle card fall asleep."""

Fields = dict[str, Field | None]


class Graphics(Protocol):
    """One card."""

    name: str

    def asleep(self) -> bool | None:
        """Return whether it is powered down; nothing else of it is read then."""
        ...

    def dozes(self) -> bool:
        """Say whether it would fall asleep if left alone."""
        ...

    def look(self, now_s: float) -> tuple[Fields, Fields]:
        """Return what is known of the card, and of the processor whose package it shares."""
        ...

    def obstacles(self) -> tuple[Obstacle, ...]:
        """Return what of it cannot be read."""
        ...

    def close(self) -> None:
        """Close all files."""
        ...


class _Look(Struct, frozen=True):
    """What a card told, and when."""

    at_s: float
    name: str
    asleep: bool | None
    fields: Fields
    package: Fields


class CardSensor:
    """Fills in one device per card, and the power of the package an integrated one is in."""

    def __init__(
        self,
        find: Callable[[], tuple[Graphics, ...]],
        *,
        name: str,
        root: str,
        every_s: float,
        rescan_s: float,
        absent: Obstacle,
    ) -> None:
        """Remember; the first read looks for cards with ``find``."""
        self.name = name
        self._find = find
        self._every_s = every_s
        self._rescan_s = rescan_s
        self._absent = absent
        self._live = os.path.normpath(root) == "/"
        self._cards: tuple[Graphics, ...] = ()
        self._scanned_s: float | None = None
        self._looks: dict[str, _Look] = {}
        self._background: Background[tuple[_Look, ...]] | None = None

    def read(self, state: HardwareState) -> HardwareState:
        """Return the state with every card."""
        now_s = state.taken_at_s
        if not self._cards and due(self._scanned_s, now_s=now_s, every_s=self._rescan_s):
            self._scanned_s = now_s
            self._cards = self._find()
        if not self._cards:
            return state
        looks, clock_s = (self._fetched(), time.monotonic()) if self._live else ((), now_s)
        for look in looks if self._live else self._look(now_s):
            state = _filled(state, look, max(0.0, clock_s - look.at_s))
        return state

    def obstacles(self) -> tuple[Obstacle, ...]:
        """Return why cards cannot be read, or that there is none."""
        if self._scanned_s is None:
            return ()
        if not self._cards:
            return (self._absent,)
        hung = self._background.problem() if self._background is not None else None
        found = tuple(one for card in self._cards for one in card.obstacles())
        return found if hung is None else (hung, *found)

    def close(self) -> None:
        """Close all files; a thread that hangs in one is left behind."""
        if self._background is not None:
            self._background.close()
        for card in self._cards:
            card.close()
        self._cards = ()

    def _fetched(self) -> tuple[_Look, ...]:
        """Return the looks of the thread."""
        background = self._background
        if background is None:
            background = self._background = Background(
                lambda: self._look(time.monotonic()),
                name=f"metabolic-{self.name}",
                every_s=self._every_s,
                stale_s=3 * self._every_s,
            )
            background.wait(_FIRST_WAIT_S)
        fetched = background.latest()
        return () if fetched is None else fetched.value

    def _look(self, now_s: float) -> tuple[_Look, ...]:
        """Look at every card whose turn it is."""
        for card in self._cards:
            last = self._looks.get(card.name)
            asleep = card.asleep()
            if asleep:
                self._looks[card.name] = _Look(now_s, card.name, True, {}, {})
                continue
            pause_s = _IDLE_EVERY_S if last is not None and _idles(card, last) else self._every_s
            if last is None or last.asleep or due(last.at_s, now_s=now_s, every_s=pause_s * 0.9):
                fields, package = card.look(now_s)
                self._looks[card.name] = _Look(now_s, card.name, asleep, fields, package)
        return tuple(self._looks.values())


def _idles(card: Graphics, last: _Look) -> bool:
    """Say whether a card that may fall asleep had nothing to do."""
    load = last.fields.get("utilization_ratio")
    return isinstance(load, Reading) and load.value == 0 and card.dozes()


def _filled(state: HardwareState, look: _Look, age_s: float) -> HardwareState:
    """Return the state with one card, as old as it is."""
    card, package = (
        {k: _older(v, age_s) for k, v in f.items()} for f in (look.fields, look.package)
    )
    state = with_device(state, look.name, kind="gpu", asleep=look.asleep, **card)
    return with_device(state, "cpu", kind="cpu", **package)


def _older(field: Field | None, age_s: float) -> Field | None:
    """Return a field as old as it now is."""
    return aged(field, age_s) if isinstance(field, Reading) else field
