"""The bill of one request, and the record it is kept in."""

__all__ = [
    "RECORD_SCHEMA",
    "AttemptBill",
    "Baseline",
    "Carbon",
    "Cost",
    "Energy",
    "Receipt",
    "Record",
    "Settlement",
    "Share",
    "Window",
]

from typing import Literal

from msgspec import Struct

from metabolic.core.attempt import Answer, Attempt, Claim, Event, Failure
from metabolic.core.checking import Checks
from metabolic.core.decision import Decision
from metabolic.core.fleet import SituationRef
from metabolic.core.hardware import Origin
from metabolic.core.request import Ask, Usage
from metabolic.core.signals import Signals
from metabolic.core.speculation import Drafts
from metabolic.core.task import AgentTask

RECORD_SCHEMA = 1


class Energy(Struct, frozen=True, kw_only=True, gc=False):
    """Joules with bounds and origin; ``provisional`` until the last meter window closed.

    ``idle_j`` is the part of ``energy_j`` that the machine would have drawn idle, shared by the
    time calls were in flight; ``None`` before the meter has spoken, and where it is not known.
    """

    energy_j: float
    low_j: float
    high_j: float
    origin: Origin
    status: Literal["provisional", "settled"] = "provisional"
    meter: str | None = None
    idle_j: float | None = None


class Cost(Struct, frozen=True, kw_only=True, gc=False):
    """Dollars: tokens paid to remote APIs, and electricity of local devices (``None``: unknown).

    ``rent_usd`` is the part of rented hours that the calls took; ``None`` where nothing is rented.
    ``checks_usd`` is what validating the drafts cost; ``None`` where nothing was checked.
    """

    tokens_usd: float = 0.0
    electricity_usd: float | None = None
    origin: Origin = "derived"
    rent_usd: float | None = None
    checks_usd: float | None = None

    @property
    def total_usd(self) -> float:
        """Dollars of all kinds; electricity that is not known counts as none."""
        known = self.tokens_usd + (self.electricity_usd or 0.0) + (self.rent_usd or 0.0)
        return known + (self.checks_usd or 0.0)


class Carbon(Struct, frozen=True, kw_only=True, gc=False):
    """Grams of CO2e at the location's intensity, with the same bounds as the energy.

    ``intensity_g_per_kwh`` holds the facility's overhead. ``market_g`` is the same energy at the
    intensity of the electricity that was bought, ``embodied_g`` the part of the machine's making
    that the calls' time stands for, ``water_l`` the water of the electricity: each apart, never
    added, ``None`` where its factor is not configured.
    """

    carbon_g: float
    low_g: float
    high_g: float
    intensity_g_per_kwh: float
    origin: Origin
    market_g: float | None = None
    embodied_g: float | None = None
    water_l: float | None = None


class Baseline(Struct, frozen=True, kw_only=True, gc=False):
    """What one always-used deployment would have taken; always modelled, and named so."""

    deployment: str
    energy_j: float | None
    cost_usd: float | None
    origin: Origin = "modelled"


class AttemptBill(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The bill of one call: what it was, what it used, what it cost. No text.

    ``claims`` is the full list of what the validators held against evidence, ``doubtful`` and
    ``validator`` their word and their names. ``drafts`` are what speculation drafted and
    what of it was kept.
    """

    call: str
    deployment: str
    variant: str | None = None
    role: str
    seconds: float
    ttft_s: float | None
    usage: Usage
    cpu_s: float | None
    energy: Energy | None
    tokens_usd: float | None
    confidence: float | None
    well_formed: bool | None
    reasons: tuple[str, ...]
    failure: Failure | None
    doubtful: bool = False
    validator: str = ""
    claims: tuple[Claim, ...] = ()
    drafts: Drafts | None = None


class Receipt(Struct, frozen=True, kw_only=True, gc=False):
    """The bill of one request; ``agent_task`` is the task so far, this request included.

    ``energy`` is what local devices drew (``None``: nothing local, or unknown); ``remote_energy``
    what remote APIs are modelled to have drawn. The two are never added. ``baselines`` are
    modelled: the best single deployment and the largest. ``checks`` is what validating the drafts
    took, beside the energy and never added to it (``None``: nothing was checked, or nobody says).
    """

    id: str
    at_s: float
    status: Literal["provisional", "settled"]
    task: str
    level: str
    answer: Answer | None
    failure: Failure | None
    seconds: float
    attempts: tuple[AttemptBill, ...]
    usage: Usage
    cpu_s: float | None
    energy: Energy | None
    remote_energy: Energy | None
    cost: Cost
    carbon: Carbon | None
    baselines: tuple[Baseline, ...]
    agent_task: AgentTask | None = None
    checks: Checks | None = None


class Share(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One call's part of a closed window: joules and the engine's CPU seconds (``None``: unknown).

    ``call`` is ``<request id>/<call id>``; ``idle_j`` the part of ``energy_j`` that would have
    been drawn idle. Within a settlement of several meters ``meter`` names the share's own, with
    its origin and bounds; ``None`` is the settlement's.
    """

    call: str
    energy_j: float
    cpu_s: float | None = None
    idle_j: float = 0.0
    meter: str | None = None
    origin: Origin | None = None
    low_ratio: float | None = None
    high_ratio: float | None = None


class Window(Struct, frozen=True, kw_only=True, gc=False):
    """One closed meter interval: ``sum(shares) + unattributed_j == energy_j``.

    Times are seconds since the epoch. ``origin`` says whether the meter was read or modelled;
    ``low_ratio`` and ``high_ratio`` bound the true energy as multiples of the figure.
    """

    meter: str
    from_s: float
    to_s: float
    energy_j: float
    shares: tuple[Share, ...]
    unattributed_j: float
    origin: Origin
    low_ratio: float = 1.0
    high_ratio: float = 1.0


class Settlement(Struct, frozen=True, kw_only=True, gc=False):
    """What the meters said of one request after its last window closed, per call."""

    id: str
    shares: tuple[Share, ...]
    origin: Origin
    low_ratio: float
    high_ratio: float
    meter: str


class Record(Struct, frozen=True, kw_only=True, gc=False):
    """The audit line of one request: enough to fold it again, without any text.

    ``effects_digest`` is the digest of every effect in order, which replay must find again.
    ``receipt`` is the provisional one; a ``Settlement`` stored later settles it.
    """

    schema: int
    decision_version: int
    ask: Ask
    signals: Signals
    situation: SituationRef
    decision: Decision
    events: tuple[Event, ...]
    effects_digest: str
    attempts: tuple[Attempt, ...]
    receipt: Receipt
