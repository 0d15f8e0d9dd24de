"""When a draft that is still being written may be given up."""

__all__ = ["Checkpoint"]

from msgspec import Struct


class Checkpoint(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """After ``tokens`` tokens, a draft as unsure as this will not be kept: stop it and escalate.

    Unsure is a mean log-probability of those tokens below ``min_logprob`` (nats, at most 0).
    ``lane`` ``"*"`` holds for every lane. ``rows`` is the number of kept drafts it was learned
    from; 0 is a guess. At ``release_logprob`` or above a draft that is delivered by a window may
    leave (``None``: nothing is said of that here).
    """

    deployment: str
    tokens: int
    min_logprob: float
    lane: str = "*"
    rows: int = 0
    release_logprob: float | None = None
