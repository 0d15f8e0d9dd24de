"""What decisions read: fleet and policy as they were prepared, and one request against them."""

__all__ = ["Known", "Prepared", "Rates", "View"]

from msgspec import Struct

from metabolic.core.decision import Belief, Policy
from metabolic.core.fleet import Deployment, Load, Variant
from metabolic.core.metabolic import MetabolicState
from metabolic.core.request import Ask
from metabolic.core.signals import Signals
from metabolic.decide.assurance import Held
from metabolic.decide.evidence_table import LaneIndex
from metabolic.decide.impacts import Strain


class Rates(Struct, frozen=True):
    """A price list, a speed or an energy: per fresh input, cached input and output token."""

    fresh: float
    cached: float
    output: float

    def of(self, fresh: int, cached: int, output: int) -> float:
        """Return the sum over so many tokens of each kind."""
        return fresh * self.fresh + cached * self.cached + output * self.output


class Known(Struct, frozen=True, kw_only=True):
    """A deployment, and what can be said of it before any request comes.

    ``usd``, ``seconds`` and ``energy_j`` are what tokens take; ``None`` is unknown. ``energy_j``
    is what a meter here would see; ``modelled_j`` is by size alone, for those nothing better is
    known of: unknown is never free. A variant is named ``deployment:variant``; ``base`` is its
    deployment as it is.
    """

    deployment: Deployment
    name: str
    variant: Variant | None = None
    base: "Known | None" = None
    local: bool
    priors: tuple[float, float, float]
    size: int
    capabilities: frozenset[str]
    beliefs: dict[str, Belief]
    usd: Rates | None
    seconds: Rates | None
    energy_j: Rates | None
    modelled_j: Rates


class Prepared(Struct, frozen=True, kw_only=True):
    """Fleet and policy, indexed: the deployments by name, and the price of a joule.

    ``devices`` are those it draws from here, ``smallest`` its smallest local model. ``held`` are
    the certificates by lane, ``replicas`` all equals of each; empty costs nothing. ``lanes`` is the
    table of lanes, if one is in force. ``drafters`` are who drafts in a deployment's place,
    ``variants`` deployment and variant by the name of every variant.
    """

    fleet_id: str
    policy: Policy
    known: tuple[Known, ...]
    usd_per_j: float
    devices: frozenset[str] = frozenset()
    smallest: str | None = None
    held: dict[str, Held] = {}
    replicas: dict[str, tuple[str, ...]] = {}
    lanes: LaneIndex | None = None
    variants: dict[str, tuple[str, str]] = {}
    drafters: dict[str, tuple[Deployment, ...]] = {}


class View(Struct, frozen=True, kw_only=True):
    """One request against the prepared fleet: what is the same for all deployments.

    ``warm`` and ``learned`` are by deployment. ``writes`` is what deployments and variants have
    shown to write, over what is foreseen. ``strain`` is ``None`` on a calm machine.
    ``leaving`` are replicas that are to sleep soon.
    """

    ask: Ask
    signals: Signals
    policy: Policy
    metabolic: MetabolicState
    output_tokens: int
    prefix_tokens: int
    usd_per_j: float
    prepared: Prepared
    strain: Strain | None
    warm: dict[str, int]
    learned: dict[str, tuple[float, int]]
    writes: dict[str, float] = {}
    load: tuple[Load, ...] = ()
    leaving: frozenset[str] = frozenset()
