"""The budget of hedges: a share of requests that forgets slowly."""

__all__ = ["Hedges"]

from metabolic.core.attempt import Run
from metabolic.core.request import Ask

_MEMORY = 200.0
"""How many requests the share looks back on."""


class Hedges:
    """Says who may have a second call opened, and counts for whom one was.

    The share begins at 0 and is that of the latest few hundred requests, so that a burst may pass
    and the long run keeps to the budget. Requests under way at the same time may pass it together;
    those after them then wait longer.
    """

    __slots__ = ("always", "most", "share")

    def __init__(self, *, most: float, always: bool) -> None:
        """``most`` is the share; ``always``: every request may want one, asked for or not."""
        self.most, self.always = most, always
        self.share = 0.0

    def may(self, ask: Ask) -> bool:
        """Say whether a request that wants a hedge may have one."""
        return (self.always or ask.delivery == "hedge") and self.share < self.most

    def saw(self, run: Run) -> None:
        """Take note of one request."""
        hedged = len(run.attempts) > 1 and any(one.call.role == "hedge" for one in run.attempts)
        self.share += (float(hedged) - self.share) / _MEMORY
