"""A GPU's energy counter that never falls, whatever the driver's does.

NVML counts millijoules since the driver was loaded, in 64 bits: it does not wrap in the life of a
GPU. When it falls, the driver was loaded anew; when it leaps beyond what the GPU can draw, it is
wrong. Either way the joules in between are unknown, and a new epoch begins.
"""

__all__ = ["EnergyCounter"]

from metabolic.account.energy import counter_delta

_ANY_LIMIT_W = 2_000.0
"""Stands in for a power limit that is not told; no GPU of 2026 draws more."""

_UPDATED_EVERY_S = 0.5
"""The counter moves in steps of 10 to 100 ms, so over shorter times a step may look too large."""


class EnergyCounter:
    """Sums the steps forward of a counter in joules."""

    __slots__ = ("_last", "epoch", "total_j")

    def __init__(self) -> None:
        """Begin at nothing."""
        self._last: tuple[float, float] | None = None
        self.total_j = 0.0
        self.epoch = 0

    def advance(self, at_s: float, energy_j: float, *, limit_w: float | None = None) -> float:
        """Return the joules so far, given what the counter reads at ``at_s`` (monotonic)."""
        last, self._last = self._last, (at_s, energy_j)
        if last is not None:
            step = counter_delta(
                last[1],
                energy_j,
                range_j=None,
                seconds=max(at_s - last[0], _UPDATED_EVERY_S),
                limit_w=limit_w or _ANY_LIMIT_W,
            )
            if step is None:
                self.epoch += 1
            else:
                self.total_j += step
        return self.total_j

    def lose(self) -> None:
        """Say that what comes next cannot be compared with what was."""
        if self._last is not None:
            self._last = None
            self.epoch += 1
