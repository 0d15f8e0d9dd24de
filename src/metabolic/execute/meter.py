"""Close the windows of one energy meter, and share what it read among the calls in flight.

Every second the meter is read; the joules since the last reading are shared among the calls that
were in flight (``account.energy.settle``) by the work of their tokens. Engines report tokens when a
call ends, so a window in which calls compete waits for them, ``patience_s`` at most; then what is
known so far has to do. Windows are shared in order.

A reading that is lost only makes the window longer. A counter that was lost, or a window grown
too long, is a gap: nobody is charged, and a request that was in flight in it is never settled.

On the request path are ``began`` and ``ended`` only; the sums are done when a window closes.
"""

__all__ = ["EnergyMeter", "MeterTotals", "Options"]

from collections import deque
from collections.abc import Callable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from metabolic.account.energy import settle
from metabolic.core.fleet import Deployment
from metabolic.core.ports import Clock, Meter, MeterReading
from metabolic.core.receipt import Settlement, Window
from metabolic.core.request import Usage
from metabolic.execute.learning import Learner
from metabolic.execute.settling import Account, Accounts, Call
from metabolic.execute.waking import Sample


class Options(Struct, frozen=True, kw_only=True):
    """Lengths of time.

    ``window_s`` between readings; ``patience_s`` for which a window waits for calls to report
    their tokens; ``linger_s`` of quiet after which a request counts as over; ``longest_s`` beyond
    which a window is a gap; ``forget_s`` after which a settled request that nobody finished is
    forgotten.
    """

    window_s: float = 1.0
    patience_s: float = 3.0
    linger_s: float = 2.0
    longest_s: float = 15.0
    forget_s: float = 120.0


class MeterTotals(Struct, frozen=True, kw_only=True):
    """Sums since the start; ``energy_j == attributed_j + unattributed_j``.

    ``idle_j`` is the part of ``attributed_j`` that would have been drawn idle. ``gaps`` are windows
    that could not be shared, ``lost_readings`` readings that failed, ``settled`` settlements handed
    on, ``unsettled`` requests that a gap has kept from it.
    """

    energy_j: float = 0.0
    attributed_j: float = 0.0
    unattributed_j: float = 0.0
    idle_j: float = 0.0
    windows: int = 0
    gaps: int = 0
    lost_readings: int = 0
    settled: int = 0
    unsettled: int = 0


class _Held(Struct, frozen=True):
    """A window that was read and is yet to be shared; ``ending`` are the calls that end in it."""

    before: MeterReading
    after: MeterReading
    from_s: float
    to_s: float
    calls: tuple[Call, ...]
    ending: tuple[Call, ...]


class EnergyMeter:
    """Keeps one meter's windows and the calls in flight on the devices it covers."""

    def __init__(  # noqa: PLR0913 - the shell is where everything meets
        self,
        meter: Meter,
        *,
        clock: Clock,
        settled: Callable[[Settlement], None],
        closed: Callable[[Window], None] | None = None,
        options: Options | None = None,
        accounts: Accounts | None = None,
        fleet: Mapping[str, Deployment] | None = None,
    ) -> None:
        """Take the meter (and close it later); ``settled`` and ``closed`` are told of each.

        ``accounts`` are shared with other meters; ``fleet`` says what deployments are like.
        """
        self._options = options or Options()
        self._meter = meter
        self._clock = clock
        self._closed = closed
        self.name, self.domain = meter.name, meter.domain
        self.accounts = accounts or Accounts(
            settled, linger_s=self._options.linger_s, forget_s=self._options.forget_s
        )
        self.learner = Learner(fleet or {}, domain=meter.domain)
        self._live: dict[str, Call] = {}
        self._calls = 0
        self._ended: list[Call] = []
        self._held: deque[_Held] = deque()
        self._pids: dict[int, float] = {}
        self._before: MeterReading | None = None
        self._before_s = 0.0
        self._totals = MeterTotals()

    @property
    def totals(self) -> MeterTotals:
        """Sums since the start; settlements are those of all meters that share the accounts."""
        accounts = self.accounts
        return replace(self._totals, settled=accounts.settled, unsettled=accounts.unsettled)

    @property
    def in_flight(self) -> int:
        """How many calls are in flight."""
        return len(self._live)

    def sample(self, pid: int | None) -> Sample | None:
        """Read the meter out of turn, with a process's CPU seconds; ``None``: it is lost."""
        reading = self._meter.read(() if pid is None else (pid,))
        if reading is None:
            return None
        return Sample(reading=reading, in_flight=self.in_flight, calls=self._calls)

    def counters(self) -> tuple[tuple[str, float], ...]:
        """Return the totals by name, for metrics."""
        totals = self.totals
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

    def began(
        self,
        call_id: str,
        pid: int | None = None,
        deployment: str = "",
        prompt_tokens: float = 0.0,
    ) -> None:
        """Note that a call, ``<request>/<call>``, is in flight on a local engine.

        ``prompt_tokens`` is a guess that holds until the engine reports.
        """
        if call_id in self._live:
            return
        if pid is not None and pid not in self._pids:
            self.watch(pid)
        call = Call(call_id, pid, self._clock.monotonic_s(), deployment, prompt_tokens)
        self._live[call_id] = call
        self._calls += 1
        open_accounts = self.accounts.open
        account = open_accounts.get(call.request)
        if account is None:
            account = open_accounts[call.request] = Account()
        account.due += 1
        account.settled = False

    def ended(self, call_id: str, usage: Usage | None = None, first_s: float | None = None) -> bool:
        """Note its end, its tokens, and when the first came; return whether it was ours."""
        call = self._live.pop(call_id, None)
        if call is None:
            return False
        call.ended_s = self._clock.monotonic_s()
        call.usage = usage
        call.first_s = first_s
        self._ended.append(call)
        return True

    def finished(self, request_id: str) -> bool:
        """Note that no call will follow; return whether a settlement will."""
        return self.accounts.finished(request_id)

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
        """Read the meter and share what can be; return the last window shared, if any was."""
        now_s = self._clock.monotonic_s()
        after = self._meter.read(tuple(self._pids))
        before, from_s = self._before, self._before_s
        if after is None:
            self._totals = replace(self._totals, lost_readings=self._totals.lost_readings + 1)
            if now_s - from_s > self._options.longest_s:
                self._gap(None, now_s)
            return None
        if before is None or now_s - from_s > self._options.longest_s or not _fits(before, after):
            self._gap(after, now_s)
            return None
        if now_s > from_s:
            self._hold(before, after, now_s)
        return self._share(now_s)

    def flush(self) -> None:
        """Close the last window and settle all requests, ended or not; the meter stays open."""
        self.end_all()
        self.close_window()
        now_s = self._clock.monotonic_s()
        if self._ended and now_s > self._before_s:
            self._gap(self._before, now_s)
        ended, self._ended = self._ended, []
        self._share(now_s, patience_s=-1.0)
        for call in ended:  # no time has passed since the last window: nothing is to be shared
            self.accounts.done(call.request, now_s)
        self.accounts.step(now_s, self.name)

    def end_all(self) -> None:
        """Take every call to have ended, and every request to be over."""
        for call_id in tuple(self._live):
            self.ended(call_id)
        self.accounts.finish_all()

    def close(self) -> None:
        """Flush, and close the meter."""
        self.flush()
        self._meter.close()

    def _hold(self, before: MeterReading, after: MeterReading, now_s: float) -> None:
        """Keep a window that was read, and begin the next."""
        calls = (*self._live.values(), *self._ended)
        ending, self._ended = tuple(self._ended), []
        self._held.append(_Held(before, after, self._before_s, now_s, calls, ending))
        self._begin(after, now_s)

    def _begin(self, after: MeterReading | None, now_s: float) -> None:
        """Begin the next window at ``after``, and forget processes that are gone."""
        self._before, self._before_s = after, now_s
        if after is not None and len(after.cpu_s) < len(self._pids):
            alive = {pid for pid, _ in after.cpu_s}
            busy = {call.pid for call in self._live.values()}
            self._pids = {p: s for p, s in self._pids.items() if p in alive or p in busy}

    def _share(self, now_s: float, *, patience_s: float | None = None) -> Window | None:
        """Share the windows that need not wait, in order; settle what is over."""
        if patience_s is None:
            patience_s = self._options.patience_s
        window = None
        while self._held:
            held = self._held[0]
            if now_s - held.to_s < patience_s and self.learner.competes(held.calls):
                break
            self._held.popleft()
            window = self._shared(held, now_s)
        self.accounts.step(now_s, self.name)
        return window

    def _shared(self, held: _Held, now_s: float) -> Window | None:
        """Share one window, charge its calls, and learn from it."""
        occupancies, in_flight_s = self.learner.weigh(held.calls, held.from_s, held.to_s)
        window = settle(
            meter=self.name,
            before=held.before,
            after=held.after,
            occupancies=occupancies,
            seconds=held.to_s - held.from_s,
            in_flight_s=in_flight_s,
            by_cpu=self.learner.by_cpu,
        )
        if window is not None:
            self._keep(window)
            self.learner.learn(window, in_flight_s, with_cpu=held.before.busy_cpu_s is not None)
        for call in held.ending:
            account = self.accounts.open[call.request]
            self.learner.settled(call, account)
            self.accounts.done(call.request, now_s)
        if window is not None and self._closed is not None:
            self._closed(window)
        return window

    def _keep(self, window: Window) -> None:
        """Add a window to the totals and to the accounts of its requests."""
        totals = self._totals
        self._totals = replace(
            totals,
            energy_j=totals.energy_j + window.energy_j,
            attributed_j=totals.attributed_j + (window.energy_j - window.unattributed_j),
            unattributed_j=totals.unattributed_j + window.unattributed_j,
            idle_j=totals.idle_j + sum(share.idle_j for share in window.shares),
            windows=totals.windows + 1,
        )
        for share in window.shares:
            self.accounts.open[share.call.rpartition("/")[0]].charge(share, window)

    def _gap(self, after: MeterReading | None, now_s: float) -> None:
        """Let a window go: whoever was in flight in it cannot be settled any more."""
        self._share(now_s, patience_s=-1.0)
        calls = (*self._live.values(), *self._ended)
        if self._before is not None or calls:
            self._totals = replace(self._totals, gaps=self._totals.gaps + 1)
        for call in calls:
            self.accounts.open[call.request].broken = True
        ended, self._ended = self._ended, []
        for call in ended:
            self.accounts.done(call.request, now_s)
        self._begin(after, now_s)
        self.accounts.step(now_s, self.name)


def _fits(before: MeterReading, after: MeterReading) -> bool:
    """Say whether a counter has gone on: the same one, and not back."""
    return before.epoch_id == after.epoch_id and 0 <= after.energy_j - before.energy_j < float(
        "inf"
    )
