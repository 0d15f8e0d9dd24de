"""Close the windows of an energy meter, and settle requests by what it read.

Every second the meter is read; the joules since the last reading are shared among the calls that
were in flight (``account.energy.settle``). A request is settled when all its calls have ended, the
window with the last end has closed, and it is over: somebody said so (``finished``), or it has
been quiet for ``linger_s``. Should a call follow all the same, a later settlement holds all of
them. A request that never had a local call is never known here, so nothing waits for it.

A reading that is lost only makes the window longer. A counter that was lost, or a window grown
too long, is a gap: nobody is charged, and a request that was in flight in it is never settled: it
keeps its provisional receipt.

On the request path are ``began`` and ``ended`` only; the sums are done when a window closes.
"""

__all__ = ["EnergyMeter", "MeterTotals", "Options"]

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from metabolic.account.energy import Occupancy, settle
from metabolic.core.hardware import Origin
from metabolic.core.ports import Clock, Meter, MeterReading
from metabolic.core.receipt import Settlement, Share, Window


class Options(Struct, frozen=True, kw_only=True):
    """Lengths of time.

    ``window_s`` between readings; ``linger_s`` of quiet after which a request counts as over;
    ``longest_s`` beyond which a window is a gap; ``forget_s`` after which a settled request that
    nobody finished is forgotten.
    """

    window_s: float = 1.0
    linger_s: float = 2.0
    longest_s: float = 15.0
    forget_s: float = 120.0


class MeterTotals(Struct, frozen=True, kw_only=True):
    """Sums since the start; ``energy_j == attributed_j + unattributed_j``.

    ``gaps`` are windows that could not be shared, ``lost_readings`` readings that failed,
    ``settled`` settlements handed on, ``unsettled`` requests that a gap has kept from it.
    """

    energy_j: float = 0.0
    attributed_j: float = 0.0
    unattributed_j: float = 0.0
    windows: int = 0
    gaps: int = 0
    lost_readings: int = 0
    settled: int = 0
    unsettled: int = 0


class _Flight:
    """One call: its engine, and when it began and ended (``None``: still in flight)."""

    __slots__ = ("began_s", "call", "ended_s", "pid", "request")

    def __init__(self, call: str, pid: int | None, began_s: float) -> None:
        self.call = call
        self.request = call.rpartition("/")[0]
        self.pid = pid
        self.began_s = began_s
        self.ended_s: float | None = None


class _Account:
    """What a request has been charged so far; made on the request path, so it begins empty."""

    open = 0
    finished = False
    settled = False
    broken = False
    quiet_s = 0.0
    origin: Origin = "measured"
    low_ratio = 1.0
    high_ratio = 1.0
    shares: tuple[Share, ...] = ()

    def charge(self, share: Share, window: Window) -> None:
        """Add a window's share to what its call has been charged."""
        old = next((one for one in self.shares if one.call == share.call), None)
        others = tuple(one for one in self.shares if one is not old)
        if old is not None:
            known = [cpu_s for cpu_s in (old.cpu_s, share.cpu_s) if cpu_s is not None]
            share = Share(
                call=share.call,
                energy_j=old.energy_j + share.energy_j,
                cpu_s=sum(known) if known else None,
            )
        self.shares = (*others, share)
        if window.origin == "modelled":
            self.origin = "modelled"
        self.low_ratio = min(self.low_ratio, window.low_ratio)
        self.high_ratio = max(self.high_ratio, window.high_ratio)


class EnergyMeter:
    """Keeps one meter's windows, the calls in flight, and what each request was charged."""

    def __init__(
        self,
        meter: Meter,
        *,
        clock: Clock,
        settled: Callable[[Settlement], None],
        closed: Callable[[Window], None] | None = None,
        options: Options | None = None,
    ) -> None:
        """Take the meter (and close it later); ``settled`` and ``closed`` are told of each."""
        self._meter = meter
        self._clock = clock
        self._settled = settled
        self._closed = closed
        self._options = options or Options()
        self._live: dict[str, _Flight] = {}
        self._ended: list[_Flight] = []
        self._accounts: dict[str, _Account] = {}
        self._pids: dict[int, float] = {}
        self._before: MeterReading | None = None
        self._before_s = 0.0
        self._totals: MeterTotals = MeterTotals()

    @property
    def totals(self) -> MeterTotals:
        """Sums since the start."""
        return self._totals

    @property
    def in_flight(self) -> int:
        """How many calls are in flight."""
        return len(self._live)

    def counters(self) -> tuple[tuple[str, float], ...]:
        """Return the totals by name, for metrics."""
        totals = self._totals
        return tuple((name, float(getattr(totals, name))) for name in totals.__struct_fields__)

    def watch(self, pid: int) -> None:
        """Count the CPU seconds of an engine's process from now on; dear only the first time."""
        if pid in self._pids:
            return
        self._pids[pid] = self._clock.monotonic_s()
        reading = self._meter.read((pid,)) if self._before is not None else None
        if reading is not None and self._before is not None:
            cpu_s = (*self._before.cpu_s, *reading.cpu_s)
            self._before = replace(self._before, cpu_s=cpu_s)

    def began(self, call_id: str, pid: int | None = None) -> None:
        """Note that a call, ``<request>/<call>``, is in flight on a local engine."""
        if call_id in self._live:
            return
        if pid is not None and pid not in self._pids:
            self.watch(pid)
        flight = _Flight(call_id, pid, self._clock.monotonic_s())
        self._live[call_id] = flight
        account = self._accounts.get(flight.request)
        if account is None:
            account = self._accounts[flight.request] = _Account()
        account.open += 1
        account.settled = False

    def ended(self, call_id: str) -> None:
        """Note its end; an unknown call is none of ours."""
        flight = self._live.pop(call_id, None)
        if flight is None:
            return
        flight.ended_s = self._clock.monotonic_s()
        self._ended.append(flight)
        self._accounts[flight.request].open -= 1

    def finished(self, request_id: str) -> bool:
        """Note that no call will follow; return whether a settlement will."""
        account = self._accounts.get(request_id)
        if account is None:
            return False
        account.finished = True
        return not account.broken

    def start(self) -> None:
        """Read the meter for the first time: the first window begins."""
        self._before = self._meter.read(tuple(self._pids))
        self._before_s = self._clock.monotonic_s()

    async def run(self) -> None:
        """Close a window every ``window_s``, until cancelled."""
        if self._before is None:
            self.start()
        while True:
            await self._clock.sleep(self._options.window_s)
            self.close_window()

    def close_window(self) -> Window | None:
        """Read the meter, share the window, settle what is over; ``None``: lost, or a gap."""
        now_s = self._clock.monotonic_s()
        after = self._meter.read(tuple(self._pids))
        before, from_s = self._before, self._before_s
        if after is None:
            self._totals = replace(self._totals, lost_readings=self._totals.lost_readings + 1)
            if now_s - from_s > self._options.longest_s:
                self._gap(None, now_s)
            return None
        window = None
        if before is not None and now_s - from_s <= self._options.longest_s:
            window = settle(
                meter=self._meter.name,
                before=before,
                after=after,
                occupancies=self._occupancies(from_s, now_s),
                seconds=now_s - from_s,
            )
        if window is None:
            self._gap(after, now_s)
            return None
        self._keep(window)
        self._step(after, now_s)
        if self._closed is not None:
            self._closed(window)
        return window

    def flush(self) -> None:
        """Close the last window and settle all requests, ended or not; the meter stays open."""
        for call_id in tuple(self._live):
            self.ended(call_id)
        for account in self._accounts.values():
            account.finished = True
        if self.close_window() is None:
            self._gap(self._before, self._clock.monotonic_s())

    def close(self) -> None:
        """Flush, and close the meter."""
        self.flush()
        self._meter.close()

    def _occupancies(self, from_s: float, to_s: float) -> tuple[Occupancy, ...]:
        """Return how long each call was in flight within the window."""
        return tuple(
            Occupancy(
                call=flight.call,
                pid=flight.pid,
                seconds=(to_s if flight.ended_s is None else flight.ended_s)
                - max(from_s, flight.began_s),
            )
            for flight in (*self._live.values(), *self._ended)
        )

    def _keep(self, window: Window) -> None:
        """Add a window to the totals and to the accounts of its requests."""
        totals = self._totals
        self._totals = replace(
            totals,
            energy_j=totals.energy_j + window.energy_j,
            attributed_j=totals.attributed_j + (window.energy_j - window.unattributed_j),
            unattributed_j=totals.unattributed_j + window.unattributed_j,
            windows=totals.windows + 1,
        )
        for share in window.shares:
            self._accounts[share.call.rpartition("/")[0]].charge(share, window)

    def _gap(self, after: MeterReading | None, now_s: float) -> None:
        """Let a window go: whoever was in flight in it cannot be settled any more."""
        flights = (*self._live.values(), *self._ended)
        if self._before is not None or flights:
            self._totals = replace(self._totals, gaps=self._totals.gaps + 1)
        for flight in flights:
            self._accounts[flight.request].broken = True
        self._step(after, now_s)

    def _step(self, after: MeterReading | None, now_s: float) -> None:
        """Begin the next window at ``after``, and settle what is over."""
        passed_s = now_s - self._before_s
        ended, self._ended = self._ended, []
        for flight in ended:
            self._accounts[flight.request].quiet_s = -passed_s
        self._before, self._before_s = after, now_s
        for request, account in tuple(self._accounts.items()):
            if account.open == 0:
                account.quiet_s += passed_s
                self._over(request, account)
        if after is not None and len(after.cpu_s) < len(self._pids):
            alive = {pid for pid, _ in after.cpu_s}
            busy = {flight.pid for flight in self._live.values()}
            self._pids = {p: s for p, s in self._pids.items() if p in alive or p in busy}

    def _over(self, request: str, account: _Account) -> None:
        """Settle a request without open calls if it is over, and forget it if it may be."""
        if not account.settled and (account.finished or account.quiet_s >= self._options.linger_s):
            account.settled = True
            self._settle(request, account)
        if account.settled and (account.finished or account.quiet_s >= self._options.forget_s):
            del self._accounts[request]

    def _settle(self, request: str, account: _Account) -> None:
        """Hand on what a request was charged, unless a gap has swallowed part of it."""
        totals = self._totals
        if account.broken:
            self._totals = replace(totals, unsettled=totals.unsettled + 1)
            return
        self._totals = replace(totals, settled=totals.settled + 1)
        self._settled(
            Settlement(
                id=request,
                shares=account.shares,
                origin=account.origin,
                low_ratio=account.low_ratio,
                high_ratio=account.high_ratio,
                meter=self._meter.name,
            )
        )
