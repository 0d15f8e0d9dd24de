"""All meters of a machine: which one charges which call, and what must not be added.

A call is charged by one meter, that of its deployment's device; ``account.nesting`` chooses which.
The others are read too and shared among nobody: one that encloses chosen ones bounds them from
above, and what it read beyond them is the rest of the node. All meters share the accounts, so a
request whose calls drew from several is settled once, when the last window of all has closed.

Joules of meters that hold one another are never added: ``energy_j`` is the sum of those chosen.
"""

__all__ = ["Meters", "Source"]

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import Struct

from metabolic.account.nesting import Nesting, Span, nest, rest_j
from metabolic.core.fleet import Deployment
from metabolic.core.ports import Clock, Meter
from metabolic.core.receipt import Settlement, Window
from metabolic.core.request import Usage
from metabolic.execute.learning import Learned
from metabolic.execute.meter import EnergyMeter, MeterTotals, Options
from metabolic.execute.settling import Accounts
from metabolic.execute.waking import Sample

_WIDE = frozenset({"board", "node"})


class Source(Struct, frozen=True, kw_only=True):
    """A meter and the devices it covers; ``()`` follows from its domain and name."""

    meter: Meter
    covers: tuple[str, ...] = ()

    def span(self) -> Span:
        """Return what the meter covers; it is read once to learn where its joules come from."""
        reading = self.meter.read(())
        wide = self.meter.domain in _WIDE
        return Span(
            name=self.meter.name,
            domain=self.meter.domain,
            covers=self.covers or (("*",) if wide else (self.meter.name,)),
            origin="measured" if reading is None else reading.origin,
        )


class Meters:
    """Keeps the windows of every meter, and the accounts of every request."""

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        clock: Clock,
        settled: Callable[[Settlement], None],
        closed: Callable[[Window], None] | None = None,
        options: Options | None = None,
        fleet: Mapping[str, Deployment] | None = None,
    ) -> None:
        """Take the meters (and close them later); ``settled`` and ``closed`` are told of each."""
        fleet = fleet or {}
        options = options or Options()
        self._clock = clock
        self._window_s = options.window_s
        self.accounts = Accounts(settled, linger_s=options.linger_s, forget_s=options.forget_s)
        self._meters = tuple(
            EnergyMeter(
                one.meter,
                clock=clock,
                settled=settled,
                closed=closed,
                options=options,
                accounts=self.accounts,
                fleet={name: d for name, d in fleet.items() if d.device is not None},
            )
            for one in sources
        )
        by_name = {one.name: one for one in self._meters}
        devices = {one.device for one in fleet.values() if one.device is not None}
        self.nesting: Nesting = nest([one.span() for one in sources], devices)
        self._chosen = tuple(by_name[name] for name in self.nesting.chosen)
        self._route = {
            name: by_name[self.nesting.meters[one.device]]
            for name, one in fleet.items()
            if one.device is not None and one.device in self.nesting.meters
        }

    def began(
        self,
        call_id: str,
        pid: int | None = None,
        deployment: str = "",
        prompt_tokens: float = 0.0,
    ) -> None:
        """Note that a call is in flight; one that draws from no meter is none of ours."""
        meter = self._route.get(deployment)
        if meter is not None:
            meter.began(call_id, pid, deployment, prompt_tokens)

    def ended(self, call_id: str, usage: Usage | None = None, first_s: float | None = None) -> None:
        """Note its end, its tokens, and when the first of them came."""
        for meter in self._chosen:
            if meter.ended(call_id, usage, first_s):
                return

    def sample(self, deployment: str, pid: int | None) -> Sample | None:
        """Read the meter of a deployment out of turn; ``None``: it has none, or it is lost."""
        meter = self._route.get(deployment)
        return None if meter is None else meter.sample(pid)

    def sole(self, meter: str) -> str | None:
        """Return the one deployment that draws from a GPU's meter; ``None``: none, or several."""
        names = [name for name, one in self._route.items() if one.name == meter]
        gpu = any(one.name == meter and one.domain == "gpu" for one in self._chosen)
        return names[0] if gpu and len(names) == 1 else None

    def finished(self, request_id: str) -> bool:
        """Note that no call will follow; return whether a settlement will."""
        return self.accounts.finished(request_id)

    def start(self) -> None:
        """Read every meter for the first time: the first windows begin."""
        for meter in self._meters:
            meter.start()

    async def run(self) -> None:
        """Close all windows every ``window_s``, until cancelled."""
        while True:
            await self._clock.sleep(self._window_s)
            for meter in self._meters:
                meter.close_window()
                await asyncio.sleep(0)  # a request may be waiting for its turn

    def close_windows(self) -> None:
        """Close the window of every meter now."""
        for meter in self._meters:
            meter.close_window()

    def close(self) -> None:
        """Settle all requests, ended or not, and close the meters."""
        for meter in self._meters:
            meter.end_all()
        for meter in self._meters:
            meter.close()

    @property
    def totals(self) -> MeterTotals:
        """Sums over the meters that charge calls; those that hold them are not added."""
        each = [one.totals for one in self._chosen]
        return MeterTotals(
            energy_j=sum(one.energy_j for one in each),
            attributed_j=sum(one.attributed_j for one in each),
            unattributed_j=sum(one.unattributed_j for one in each),
            idle_j=sum(one.idle_j for one in each),
            windows=sum(one.windows for one in each),
            gaps=sum(one.gaps for one in each),
            lost_readings=sum(one.lost_readings for one in each),
            settled=self.accounts.settled,
            unsettled=self.accounts.unsettled,
        )

    def counters(self) -> Iterator[tuple[str, float]]:
        """Yield the totals by name, then each meter's, then the rest of enclosing ones."""
        totals = self.totals
        for name in totals.__struct_fields__:
            yield name, float(getattr(totals, name))
        energy_j = {one.name: one.totals.energy_j for one in self._meters}
        for name, joules in energy_j.items():
            yield f"{name}.energy_j", joules
        for name, inner in self.nesting.enclosing:
            yield f"{name}.rest_j", rest_j(energy_j[name], [energy_j[one] for one in inner])

    def ratios(self) -> Mapping[str, float]:
        """Return by deployment what the estimates of its joules are to be multiplied by."""
        return {name: ratio for one in self._chosen for name, ratio in one.learner.ratios().items()}

    def exponents(self) -> Mapping[str, float]:
        """Return by deployment how its device's power grows with the answers in flight."""
        return {name: one.learner.batch_exponent for name, one in self._route.items()}

    def state(self) -> tuple[tuple[str, Learned], ...]:
        """Return what every meter has learned, by its name."""
        return tuple((one.name, one.learner.state()) for one in self._chosen)

    def restore(self, state: tuple[tuple[str, Learned], ...]) -> None:
        """Take up what was learned before; meters that are gone are forgotten."""
        known = dict(state)
        for one in self._chosen:
            if one.name in known:
                one.learner.restore(known[one.name])
