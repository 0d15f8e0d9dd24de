"""What each request has been charged so far, over all meters, and when it is settled.

A request is settled when every call of it has ended, the windows with these ends have been shared
(of whichever meters they drew from), and it is over: somebody said so (``finished``), or it has
been quiet for ``linger_s``. Should a call follow all the same, a later settlement holds all of
them. A request that never had a metered call is never known here, so nothing waits for it. One
that was in flight in a gap is never settled: it keeps its provisional receipt.
"""

__all__ = ["Account", "Accounts", "Call"]

from collections.abc import Callable

from metabolic.core.hardware import Origin
from metabolic.core.receipt import Settlement, Share, Window
from metabolic.core.request import Usage

_Charge = tuple[float, float | None, float, "_Meter"]
"""Joules, CPU seconds and idle joules of one call, and the meter that read them."""


class Call:
    """One call: its engine, when it began and ended, and the tokens it reported.

    ``ended_s`` ``None``: still in flight. ``usage`` ``None``: it did not report, or not yet.
    """

    ended_s: float | None = None
    first_s: float | None = None
    usage: Usage | None = None

    def __init__(
        self, call: str, pid: int | None, began_s: float, deployment: str, prompt_tokens: float
    ) -> None:
        """Begin now."""
        self.call = call
        self.request = call.rpartition("/")[0]
        self.pid = pid
        self.began_s = began_s
        self.deployment = deployment
        self.prompt_tokens = prompt_tokens


class _Meter:
    """What one meter's windows of a request were: origin and bounds."""

    __slots__ = ("high_ratio", "low_ratio", "name", "origin")

    def __init__(self, window: Window) -> None:
        self.name = window.meter
        self.origin: Origin = window.origin
        self.low_ratio = window.low_ratio
        self.high_ratio = window.high_ratio

    def widen(self, window: Window) -> None:
        """Take the weaker origin and the wider bounds."""
        if window.origin == "modelled":
            self.origin = "modelled"
        self.low_ratio = min(self.low_ratio, window.low_ratio)
        self.high_ratio = max(self.high_ratio, window.high_ratio)


class Account:
    """A request's calls and charges; made on the request path, so it begins empty.

    ``due`` are the calls that are in flight or whose last window has not been shared.
    """

    due = 0
    finished = False
    settled = False
    broken = False
    quiet_since_s = 0.0
    charges: dict[str, _Charge] | None = None
    meters: dict[str, _Meter] | None = None

    def charge(self, share: Share, window: Window) -> None:
        """Add a window's share to what its call has been charged."""
        if self.charges is None or self.meters is None:
            self.charges, self.meters = {}, {}
        meter = self.meters.get(window.meter)
        if meter is None:
            meter = self.meters[window.meter] = _Meter(window)
        else:
            meter.widen(window)
        old = self.charges.get(share.call)
        if old is None:
            self.charges[share.call] = (share.energy_j, share.cpu_s, share.idle_j, meter)
            return
        cpu_s = share.cpu_s if old[1] is None else old[1] + (share.cpu_s or 0.0)
        energy_j, idle_j = old[0] + share.energy_j, old[2] + share.idle_j
        self.charges[share.call] = (energy_j, cpu_s, idle_j, meter)

    def active_j(self, call: str) -> float | None:
        """Return the joules above idle a call was charged so far; ``None``: none, or a gap."""
        charge = None if self.broken or self.charges is None else self.charges.get(call)
        return None if charge is None else charge[0] - charge[2]

    def settlement(self, request: str, meter: str) -> Settlement:
        """Return what was charged; ``meter`` is named where nothing was."""
        meters = tuple((self.meters or {}).values())
        several = len(meters) > 1
        return Settlement(
            id=request,
            shares=tuple(_share(call, *charge, own=several) for call, charge in self._each()),
            origin="modelled" if any(one.origin == "modelled" for one in meters) else "measured",
            low_ratio=min([one.low_ratio for one in meters], default=1.0),
            high_ratio=max([one.high_ratio for one in meters], default=1.0),
            meter="+".join(sorted(one.name for one in meters)) or meter,
        )

    def _each(self) -> list[tuple[str, _Charge]]:
        """Return the charges by call."""
        return list((self.charges or {}).items())


def _share(
    call: str, energy_j: float, cpu_s: float | None, idle_j: float, meter: _Meter, *, own: bool
) -> Share:
    """Return a call's charge as a share; its ``own`` meter is named where there are several."""
    if not own:
        return Share(call=call, energy_j=energy_j, cpu_s=cpu_s, idle_j=idle_j)
    return Share(
        call=call,
        energy_j=energy_j,
        cpu_s=cpu_s,
        idle_j=idle_j,
        meter=meter.name,
        origin=meter.origin,
        low_ratio=meter.low_ratio,
        high_ratio=meter.high_ratio,
    )


class Accounts:
    """The accounts of all requests with metered calls; shared by all meters."""

    def __init__(
        self, settled: Callable[[Settlement], None], *, linger_s: float, forget_s: float
    ) -> None:
        """Hand settlements to ``settled``."""
        self._settled = settled
        self._linger_s = linger_s
        self._forget_s = forget_s
        self.open: dict[str, Account] = {}
        self.settled = 0
        self.unsettled = 0

    def finished(self, request_id: str) -> bool:
        """Note that no call will follow; return whether a settlement will."""
        account = self.open.get(request_id)
        if account is None:
            return False
        account.finished = True
        return not account.broken

    def finish_all(self) -> None:
        """Note that no request has any call to come."""
        for account in self.open.values():
            account.finished = True

    def done(self, request: str, now_s: float) -> None:
        """Note that a call's last window was shared, or lost."""
        account = self.open[request]
        account.due -= 1
        account.quiet_since_s = now_s

    def step(self, now_s: float, meter: str) -> None:
        """Settle what is over; ``meter`` has closed a window."""
        for request, account in tuple(self.open.items()):
            if account.due == 0:
                self._over(request, account, now_s - account.quiet_since_s, meter)

    def _over(self, request: str, account: Account, quiet_s: float, meter: str) -> None:
        """Settle a request without calls if it is over, and forget it if it may be."""
        if not account.settled and (account.finished or quiet_s >= self._linger_s):
            account.settled = True
            if account.broken:
                self.unsettled += 1
            else:
                self.settled += 1
                self._settled(account.settlement(request, meter))
        if account.settled and (account.finished or quiet_s >= self._forget_s):
            del self.open[request]
