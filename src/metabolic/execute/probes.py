"""Asks servers and pools whether they are well, so that no client's request has to find out.

A task asks every health page once a period. An endpoint that two probes in a row did not reach
is left alone before a request fails there; one that was left alone because nobody could reach it
is taken back as soon as a probe does. Nobody is asked who is answering a call: its health page may
be as busy as itself, and the call's own time limits watch it. What an endpoint said itself
(``Retry-After``) and answers of 5xx are not a health page's to undo.
"""

__all__ = ["Probes", "Target"]

import asyncio
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from msgspec import Struct

from metabolic.core.engine import EngineTraits
from metabolic.core.fleet import Endpoint
from metabolic.core.ports import Clock
from metabolic.execute.health import Health
from metabolic.execute.scrape import Fetch

_MISSES = 2
"""So many probes in a row that found nobody speak against an endpoint."""


class Target(Struct, frozen=True, kw_only=True):
    """One endpoint and the address of its health page."""

    deployment: str
    url: str
    api_key: str | None = None

    @classmethod
    def of(cls, endpoint: Endpoint, traits: EngineTraits) -> "Target | None":
        """Return whom to ask where; ``None``: an engine without a health page."""
        if traits.health is None:
            return None
        parts = urlsplit(endpoint.base_url)
        url = f"{parts.scheme}://{parts.netloc}{traits.health}"
        return cls(deployment=endpoint.deployment, url=url, api_key=endpoint.api_key)


class Probes:
    """Asks every target once a period; ``spared`` says who is asleep or at work.

    An endpoint whose page never answered is taken for one that has none: nothing is held against
    it.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        *,
        health: Health,
        clock: Clock,
        fetch: Fetch,
        spared: Callable[[str], bool],
        period_s: float,
    ) -> None:
        """Take the parts; nobody is asked before ``run`` or ``once``."""
        self.targets, self._health, self._clock = tuple(targets), health, clock
        self._fetch, self._spared, self._period_s = fetch, spared, period_s
        self._known: set[str] = set()
        self._missed: dict[str, int] = {}
        self.asked = self.missed = 0

    async def run(self) -> None:
        """Ask for ever."""
        while True:
            await self.once()
            await self._clock.sleep(self._period_s)

    async def once(self) -> None:
        """Ask everybody who is awake and idle, side by side."""
        idle = [one for one in self.targets if not self._spared(one.deployment)]
        await asyncio.gather(*(self._ask(one) for one in idle))

    async def _ask(self, target: Target) -> None:
        """Ask one, and let its circuit know."""
        name = target.deployment
        well = await self._fetch(target.url, target.api_key) is not None
        self.asked += 1
        if well:
            self._known.add(name)
            self._missed.pop(name, None)
            self._health.reached(name)
            return
        self.missed += 1
        if name not in self._known or self._spared(name):
            return
        missed = self._missed[name] = self._missed.get(name, 0) + 1
        if missed >= _MISSES:
            self._health.failed(name)
