"""Asks engines how busy they are, in the background, and says how old each answer is.

Nothing here is on a request's path: a task asks every endpoint once a period, in threads, and
puts what it hears where the next ``Load`` is made. What is older than three periods is unknown,
never zero. Rates are differences of counters; a counter that fell belongs to an engine that was
started again, and begins anew.
"""

__all__ = ["STALE_PERIODS", "Fetch", "Scraper", "Seen", "Target", "fetch", "heard"]

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from metabolic.core.engine import EngineTraits, MetricNames
from metabolic.core.fleet import Endpoint, Load
from metabolic.core.ports import Clock
from metabolic.execute import scrape_read
from metabolic.execute.scrape_read import Observed

STALE_PERIODS = 3.0
"""An engine that was not heard for so many periods is unknown."""

_SILENT_PERIODS = 60.0
"""An endpoint that knows no such pages is asked again after so many periods."""

_TIMEOUT_S = 2.0
_LARGEST_BYTES = 4 * 1024 * 1024
_OK = 200
_LOG = logging.getLogger("metabolic.execute")

Fetch = Callable[[str, str | None], Awaitable[bytes | None]]
"""Returns the body of a 200 at an address, with a key; ``None`` for everything else."""


class Target(Struct, frozen=True, kw_only=True):
    """One endpoint to ask: its address without ``/v1``, the upstream's name of the model.

    ``path`` is its metrics page and ``names`` those on it; ``None``: whichever engine it turns
    out to be.
    """

    deployment: str
    root: str
    model: str
    api_key: str | None = None
    path: str = "/metrics"
    names: MetricNames | None = None

    @classmethod
    def of(cls, endpoint: Endpoint, traits: EngineTraits | None = None) -> "Target":
        """Return the target for an endpoint; ``traits`` are those of its engine, where known."""
        return cls(
            deployment=endpoint.deployment,
            root=endpoint.base_url.rstrip("/").removesuffix("/v1"),
            model=endpoint.model,
            api_key=endpoint.api_key,
            path="/metrics" if traits is None else traits.metrics_path or "/metrics",
            names=None if traits is None else traits.metrics,
        )


class Seen(Struct, frozen=True, kw_only=True):
    """What one engine was heard to say, and when (monotonic seconds).

    ``others`` are the answers it works on, or has waiting, that are not ours.
    """

    at_s: float
    stale_s: float
    observed: Observed
    others: int = 0
    prefix_hit_ratio: float | None = None
    acceptance_ratio: float | None = None
    preemptions_per_s: float | None = None


class _Asked:
    """What is remembered of one endpoint."""

    __slots__ = ("dialect", "last", "last_s", "mute_until_s")

    def __init__(self) -> None:
        self.dialect: str | None = None
        self.last: Observed | None = None
        self.last_s = 0.0
        self.mute_until_s = 0.0


class Scraper:
    """Asks every target once a period.

    ``targets`` says who there is now (local engines come and go), ``in_flight`` how many calls of
    ours an engine works on, ``heard`` takes what was said.
    """

    def __init__(
        self,
        targets: Callable[[], Sequence[Target]],
        *,
        clock: Clock,
        fetch: Fetch,
        in_flight: Callable[[str], int],
        heard: Callable[[str, Seen], None],
        period_s: float = 1.0,
    ) -> None:
        """Take the parts; nothing is asked before ``run`` or ``once``."""
        self._targets, self._clock, self._fetch = targets, clock, fetch
        self._in_flight, self._heard, self._period_s = in_flight, heard, period_s
        self._asked: dict[str, _Asked] = {}
        self.scrapes = self.failures = 0

    async def run(self) -> None:
        """Ask for ever."""
        while True:
            await self.once()
            await self._clock.sleep(self._period_s)

    async def once(self) -> None:
        """Ask everybody once, side by side."""
        now_s = self._clock.monotonic_s()
        due = [one for one in self._targets() if self._of(one).mute_until_s <= now_s]
        if due:
            await asyncio.gather(*(self._ask(one) for one in due))

    def _of(self, target: Target) -> _Asked:
        """Return what is remembered of a target."""
        return self._asked.setdefault(target.deployment, _Asked())

    async def _ask(self, target: Target) -> None:
        """Ask one engine and pass on what it says."""
        asked, ours = self._of(target), self._in_flight(target.deployment)
        observed = await self._observe(target, asked)
        now_s = self._clock.monotonic_s()
        self.scrapes += 1
        if observed is None:
            self.failures += 1
            if asked.dialect is None:
                asked.mute_until_s = now_s + _SILENT_PERIODS * self._period_s
            return
        asked.dialect = observed.engine
        seen = _seen(observed, asked.last, at_s=now_s, since_s=now_s - asked.last_s, ours=ours)
        asked.last, asked.last_s = observed, now_s
        self._heard(target.deployment, replace(seen, stale_s=STALE_PERIODS * self._period_s))

    async def _observe(self, target: Target, asked: _Asked) -> Observed | None:
        """Return what an engine says, by the pages its kind has."""
        observed = None
        if asked.dialect != "ollama":
            page = await self._page(target, target.path)
            if page is not None:
                observed = scrape_read.metrics(page.decode("utf-8", "replace"), target.names)
        if asked.dialect in {None, "ollama"} and observed is None:
            page = await self._page(target, "/api/ps")
            observed = None if page is None else scrape_read.ollama(page, target.model)
        if (observed is None and asked.dialect in {None, "llamacpp"}) or (
            observed is not None and observed.engine == "llamacpp"
        ):
            observed = _joined(observed, scrape_read.slots, await self._page(target, "/slots"))
        if observed is None and asked.dialect in {None, "sglang"}:
            observed = _joined(None, scrape_read.loads, await self._page(target, "/v1/loads"))
        return observed

    async def _page(self, target: Target, path: str) -> bytes | None:
        """Return one page of an engine."""
        return await self._fetch(f"{target.root}{path}", target.api_key)


def _joined(
    first: Observed | None, read: Callable[[bytes], Observed | None], page: bytes | None
) -> Observed | None:
    """Return a reading with what a second page adds of the cache."""
    second = None if page is None else read(page)
    if first is None or second is None:
        return first or second
    return replace(
        first,
        running=second.running if first.running is None else first.running,
        kv_used_ratio=second.kv_used_ratio,
        kv_capacity_tokens=second.kv_capacity_tokens,
    )


def _seen(
    now: Observed, before: Observed | None, *, at_s: float, since_s: float, ours: int
) -> Seen:
    """Return a reading with rates since the one before, and without our own calls."""
    queries, hits = _delta(now, before, "prefix_queries"), _delta(now, before, "prefix_hits")
    drafted, accepted = _delta(now, before, "drafted"), _delta(now, before, "accepted")
    preempted = _delta(now, before, "preemptions")
    return Seen(
        at_s=at_s,
        stale_s=0.0,
        observed=now,
        others=max(0, (now.running or 0) + (now.waiting or 0) - ours),
        prefix_hit_ratio=_ratio(hits, queries) if queries else now.hit_ratio,
        acceptance_ratio=_ratio(accepted, drafted),
        preemptions_per_s=None if preempted is None or since_s <= 0 else preempted / since_s,
    )


def _delta(now: Observed, before: Observed | None, name: str) -> float | None:
    """Return how far a counter went; ``None``: unknown, or the engine was started again."""
    new: float | None = getattr(now, name)
    old: float | None = None if before is None else getattr(before, name)
    return None if new is None or old is None or new < old else new - old


def _ratio(part: float | None, whole: float | None) -> float | None:
    """Return a share; ``None`` without anything to share."""
    return None if part is None or not whole else min(1.0, part / whole)


def heard(load: Load, seen: Seen, *, now_s: float, slots: int) -> Load:
    """Return a load with what its engine was heard to say; what is stale says nothing."""
    age_s = now_s - seen.at_s
    if age_s > seen.stale_s:
        return load
    observed, total = seen.observed, load.running + load.waiting + seen.others
    return replace(
        load,
        state="asleep" if observed.asleep and load.state == "warm" else load.state,
        running=min(total, slots),
        waiting=max(0, total - slots),
        kv_used_ratio=_rounded(observed.kv_used_ratio),
        age_s=round(max(0.0, age_s), 1),
        kv_capacity_tokens=observed.kv_capacity_tokens,
        prefix_hit_ratio=_rounded(seen.prefix_hit_ratio),
        acceptance_ratio=_rounded(seen.acceptance_ratio),
        preemptions_per_s=_rounded(seen.preemptions_per_s),
    )


def _rounded(value: float | None) -> float | None:
    """Return two digits; unknown stays unknown."""
    return None if value is None else round(value, 2)


async def fetch(url: str, api_key: str | None) -> bytes | None:
    """Return the body of a 200 within two seconds, asked for in a thread; ``None`` otherwise."""
    return await asyncio.to_thread(_get, url, api_key)


def _get(url: str, api_key: str | None) -> bytes | None:
    """Return the body of a 200; follows no redirect, uses no proxy."""
    import http.client  # noqa: PLC0415 - only where there is something to scrape

    parts = urlsplit(url)
    secure = parts.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_TIMEOUT_S)
    try:
        headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        connection.request("GET", parts.path or "/", headers=headers)
        answer = connection.getresponse()
        body = answer.read(_LARGEST_BYTES + 1)
    except (OSError, http.client.HTTPException, ValueError) as exc:
        _LOG.debug("engine not heard", extra={"reason": type(exc).__name__})
        return None
    else:
        return body if answer.status == _OK and len(body) <= _LARGEST_BYTES else None
    finally:
        connection.close()
