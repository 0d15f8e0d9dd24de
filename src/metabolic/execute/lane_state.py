"""What the keeper of the table of lanes is told, what it keeps over a restart, what it shows."""

__all__ = ["Feedback", "LaneNote", "LaneRules", "LaneState", "LaneVersion", "LaneView", "Peer"]

from msgspec import Struct

from metabolic.core.lanes import Cut, Tally


class Feedback(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """What a client thinks of the answer to request ``id``: one of the three others.

    ``score`` is in [0, 1]; ``preferred`` is ``draft``, ``reference`` or ``tie``.
    """

    id: str
    correct: bool | None = None
    score: float | None = None
    preferred: str | None = None


class LaneRules(Struct, frozen=True, kw_only=True):
    """What bounds an epoch of ``epoch_s`` seconds; meanings as in ``[lanes]``."""

    route: bool = False
    explore_ratio: float = 0.02
    explore_per_epoch: int = 100
    min_labels: int = 20
    labels_per_epoch: int = 64
    epoch_s: float = 300.0


class LaneNote(Struct, frozen=True, kw_only=True):
    """One split or merge, and when."""

    at_s: float
    epoch: int
    text: str


class LaneVersion(Struct, frozen=True, kw_only=True):
    """One version of the table that was in force, from ``at_s`` on; ``id`` names its content."""

    id: str
    at_s: float
    epoch: int
    labels: float
    lanes: int


class Peer(Struct, frozen=True, kw_only=True):
    """The counts of one gateway as it shares them: sums since ever, so the latest replaces all."""

    replica: str
    epoch: int
    tallies: tuple[Tally, ...] = ()


class LaneState(Struct, frozen=True, kw_only=True):
    """All that is kept over a restart.

    ``left_out`` are labels and lanes beyond the bounds. ``labels_bytes`` of the file of labels are
    in the counts. Answers that came up to ``at_s`` (seconds since the epoch) are too: of those of
    the last minutes before it, the ones in ``recent``, by request. ``explored`` counts answers of
    rivals, ``splits`` and ``merges`` what became of lanes, all since ever.
    """

    epoch: int = 0
    tallies: tuple[Tally, ...] = ()
    cuts: tuple[Cut, ...] = ()
    notes: tuple[LaneNote, ...] = ()
    left_out: int = 0
    replica: str = ""
    labels_bytes: int = 0
    at_s: float = 0.0
    recent: tuple[str, ...] = ()
    versions: tuple[LaneVersion, ...] = ()
    explored: int = 0
    splits: int = 0
    merges: int = 0


class LaneView(Struct, frozen=True, kw_only=True):
    """The table for who watches it: real lanes only, this gateway's and its peers' counts.

    ``explored`` are rivals' answers since ever, ``explore_left`` those this epoch still allows.
    """

    tallies: tuple[Tally, ...]
    epoch: int
    version: str
    explored: int
    explore_left: int
    splits: int
    merges: int
    left_out: int
    peers: int
