"""What an audit says: figures with interval and origin, tables, and a verdict."""

__all__ = [
    "Audit",
    "BadRow",
    "Chain",
    "Figure",
    "LaneEvidence",
    "ModelSpend",
    "Origin",
    "PolicyOutcome",
    "Source",
    "TaskShare",
    "Verdict",
    "Waste",
]

from typing import Literal

from msgspec import Struct

from metabolic.core.hardware import Origin


class Source(Struct, frozen=True, kw_only=True):
    """One file: rows used, bad rows, and lines about something else (``other``)."""

    path: str
    format: str
    rows: int
    bad: int
    other: int = 0


class BadRow(Struct, frozen=True, kw_only=True):
    """Rows of one file that were not used for one reason, with the first lines."""

    path: str
    reason: str
    rows: int
    lines: tuple[int, ...]


class Figure(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A number with its 95 % interval (``None``: exact, or unknown), unit and origin."""

    name: str
    value: float | None
    unit: str
    origin: Origin
    low: float | None = None
    high: float | None = None
    note: str = ""


class ModelSpend(Struct, frozen=True, kw_only=True):
    """What one model took: calls, tokens, dollars, and the price they were counted with."""

    model: str
    calls: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    usd: float | None
    usd_origin: Origin
    price: str
    failed: int
    joules_low: float | None = None
    joules_high: float | None = None


class TaskShare(Struct, frozen=True, kw_only=True):
    """One task type: its share of calls and dollars, and of simple and of complex prompts."""

    task: str
    calls: int
    share_ratio: float
    usd: float | None
    simple_ratio: float | None = None
    complex_ratio: float | None = None


class Chain(Struct, frozen=True, kw_only=True):
    """A kind of chain of calls: how many, how long, what one takes; median and 95 % quantile.

    ``multiplier`` is the mean dollars of one over the mean of a single short call of this log.
    """

    kind: str
    count: int
    calls_p50: float
    calls_p95: float
    usd_mean: float | None
    usd_p50: float | None
    usd_p95: float | None
    multiplier: float | None = None
    paper: str = ""


class Waste(Struct, frozen=True, kw_only=True):
    """Calls that need not have been, or need not have been so long; they may overlap."""

    kind: str
    calls: int
    tokens: int
    usd: float | None
    note: str = ""


class LaneEvidence(Struct, frozen=True, kw_only=True):
    """What is known of moving one lane to one model.

    ``loss`` is the mean quality lost (given answer less the other's), with its simultaneous 95 %
    interval; ``None`` without labels. ``saving_usd`` is on this log, net of the cache.
    ``labels_needed`` would settle on which side of ε the loss lies. ``foreseen_low`` to
    ``foreseen_high`` is the share of good answers that a learned router foresees from the other
    model as well: modelled, where nothing was labelled and the log has text.
    """

    lane: str
    model: str
    calls: int
    labels: int
    loss: float | None
    loss_low: float
    loss_high: float
    saving_usd: float
    adequate: Literal["yes", "no", "unknown"]
    labels_needed: int | None = None
    foreseen_low: float | None = None
    foreseen_high: float | None = None


class PolicyOutcome(Struct, frozen=True, kw_only=True):
    """A policy on this log: dollars, joules (range) and what it saves against now, net."""

    policy: str
    usd: float
    saving_ratio: float | None
    saving_low: float
    saving_high: float
    joules_low: float | None
    joules_high: float | None
    carbon_low_g: float | None
    carbon_high_g: float | None
    loss: float | None = None
    note: str = ""


class Verdict(Struct, frozen=True, kw_only=True):
    """What to do, in one word and in one sentence, and why."""

    word: Literal["switch", "do not switch", "measure first", "cannot tell"]
    sentence: str
    reasons: tuple[str, ...] = ()


class Audit(Struct, frozen=True, kw_only=True):
    """All an audit has to say; no prompt, no answer, no name of a person."""

    version: str
    made_s: float
    prices_as_of: str
    epsilon: float
    rows: int
    calls: int
    from_s: float | None
    to_s: float | None
    has_text: bool
    has_hashes: bool
    has_tokens: bool
    has_labels: bool
    sources: tuple[Source, ...]
    bad: tuple[BadRow, ...]
    figures: tuple[Figure, ...]
    models: tuple[ModelSpend, ...]
    tasks: tuple[TaskShare, ...]
    chains: tuple[Chain, ...]
    waste: tuple[Waste, ...]
    lanes: tuple[LaneEvidence, ...]
    policies: tuple[PolicyOutcome, ...]
    verdict: Verdict
    unknown: tuple[str, ...]
    seconds: float
    hours: tuple[float, ...] = ()
