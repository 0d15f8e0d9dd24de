"""What is known of deployments lane by lane: additive counts, cuts, pins and the table of them."""

__all__ = ["Arm", "Cut", "LanePin", "LaneTable", "Tally"]

from msgspec import Struct


class Tally(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What one deployment (at one variant) did on one lane: sums only, so that tallies add up.

    ``labels`` are labelled answers given alone (not kept or escalated by a gate), ``correct`` the
    good ones among them, in parts where the label is a score. ``answers`` are all those given,
    ``failed`` the malformed ones among them. ``usd`` and ``energy_j`` are sums over ``priced`` and
    ``metered`` answers: what is not known is not counted. ``output_tokens`` is the sum over the
    ``counted`` answers that told it, ``foreseen_tokens`` of what the classifier foresaw for these.
    """

    lane: str
    deployment: str
    variant: str | None = None
    labels: float = 0.0
    correct: float = 0.0
    answers: int = 0
    failed: int = 0
    usd: float = 0.0
    priced: int = 0
    energy_j: float = 0.0
    metered: int = 0
    output_tokens: int = 0
    foreseen_tokens: int = 0
    counted: int = 0


class Cut(Struct, frozen=True, kw_only=True, gc=False):
    """A lane that was split in two by a question about what the classifiers saw."""

    lane: str
    question: str


class LanePin(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """An operator's word: this lane is answered by this deployment (at this variant)."""

    lane: str
    deployment: str
    variant: str | None = None


class LaneTable(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The table decisions go by; part of a policy, so that a record names the one it was made by.

    A lane counts as known from ``min_labels`` labels. ``explore_ratio`` of the answers on a known
    lane go to a rival that may be adequate; 0 explores nothing. ``version`` names the counts, cuts
    and pins by their digest: whatever is learned makes another one.
    """

    epoch: int = 0
    tallies: tuple[Tally, ...] = ()
    cuts: tuple[Cut, ...] = ()
    pins: tuple[LanePin, ...] = ()
    explore_ratio: float = 0.0
    min_labels: int = 20
    version: str = ""


class Arm(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One deployment that could have been drawn, and with which probability, above 0."""

    deployment: str
    propensity: float
    variant: str | None = None
