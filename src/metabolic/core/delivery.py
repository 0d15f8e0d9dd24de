"""How an answer leaves, and who else is asked while it is made."""

__all__ = ["Delivery", "DeliveryRules", "Hedge"]

from typing import Literal

from msgspec import Struct

from metabolic.core.checkpoint import Checkpoint

Delivery = Literal["stream", "hold", "window", "hedge", "replace"]
"""``stream`` as it comes, from one stage; ``hold`` until it is checked; ``window`` held until its
first tokens tell, then as it comes; ``hedge`` held, a further stage asked beside it; ``replace`` as
it comes, and taken back where a further stage answers instead."""


class Hedge(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A second call beside a stage's own, of which the first good answer is taken.

    It is opened ``after_s`` seconds after the stage was, or earlier when the draft is below the
    threshold of ``doubt``. ``deployment`` is a replica of the stage's own; ``None`` is the stage
    that follows. ``late`` waits for first bytes only: once they have come nobody else is asked,
    and who gives them first goes on alone.
    """

    after_s: float
    deployment: str | None = None
    doubt: Checkpoint | None = None
    late: bool = False


class DeliveryRules(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What windows and hedges go by.

    A window is ``window_tokens`` long where no checkpoint was learned, and opens at the stage's own
    threshold or at ``min_confidence``. A hedge comes after ``hedge_after_s``, or, where that
    is ``None``, after ``hedge_after_ratio`` of the time the draft should take; or in doubt after
    ``hedge_doubt_tokens`` (0: doubt is not looked for). ``late_ratio``: a replica is asked too when
    first bytes take so many times as long as they should (``None``: never), and never before
    ``late_least_s``.
    """

    window_tokens: int = 16
    min_confidence: float | None = None
    hedge_after_s: float | None = None
    hedge_after_ratio: float = 0.5
    hedge_doubt_tokens: int = 8
    late_ratio: float | None = None
    late_least_s: float = 0.5
