"""The choice and its reasons."""

__all__ = ["Candidate", "Decision", "Estimate", "Plan", "Policy", "Belief", "Speculation", "Stage"]

from typing import Literal

from msgspec import Struct

from metabolic.core.certificate import Certificate
from metabolic.core.checking import Checking
from metabolic.core.checkpoint import Checkpoint
from metabolic.core.delivery import Delivery, DeliveryRules, Hedge
from metabolic.core.lanes import Arm, LaneTable
from metabolic.core.metabolic import Profile
from metabolic.core.speculation import Granularity


class Belief(Struct, frozen=True, kw_only=True, gc=False):
    """What is known of one deployment on one task lane.

    ``p_correct``: share of good answers; ``p_accept``: share of drafts kept at the profile's
    threshold; ``p_correct_accepted``: share of good answers among the kept. ``evidence`` is the
    number of labelled rows behind it; 0 is a prior. ``lane`` ``"*"`` holds for every lane.
    """

    deployment: str
    lane: str
    p_correct: float
    p_accept: float | None = None
    p_correct_accepted: float | None = None
    evidence: int = 0


class Policy(Struct, frozen=True, kw_only=True, gc=False):
    """How to choose; ``id`` is the digest of the rest.

    ``max_strong_share_ratio`` caps a tenant's share of requests that go to the largest models
    first: words that make a query look hard must not buy more than that (``None``: no cap).
    ``kind``: ``net_cost`` minimises expected net cost within the profile's quality loss,
    ``best`` takes the best single deployment, ``cheapest`` the cheapest. ``reference`` names the
    always-used alternative for receipts (``None``: the best single by belief). ``score`` names the
    scorer that judges drafts, with its version; ``certificates`` of another one are not in force,
    nor are those of a lane in ``alarms``, which has drifted. ``usd_per_kwh`` and ``g_per_kwh`` hold
    the facility's overhead; ``market_g_per_kwh`` is that of the electricity that was bought,
    ``embodied_g_per_h`` of the machine's making by the hour, ``water_l_per_kwh`` its water
    (``None``: unknown). ``checkpoints`` are where drafts that no certificate covers may be given
    up early. ``lanes`` is the table learned from traffic (``None``: none is in force).
    ``delivery`` is what windows and hedges go by.

    ``speculation_rule`` is what drafting is decided by, ``speculation_explore_ratio`` the share of
    answers on which it is tried out where nobody is sure.

    ``checking`` is what validators take for a draft (``None``: nobody says), ``wait_usd_per_h``
    what an hour that a client waits is worth: queues, waking and slow models then have a price.
    """

    id: str
    profile: Profile
    preference: float | None = None
    kind: Literal["net_cost", "best", "cheapest"] = "net_cost"
    usd_per_kwh: float = 0.15
    g_per_kwh: float = 473.0
    usd_per_kg_co2e: float = 0.0
    cpu_w_per_core: float = 4.0
    beliefs: tuple[Belief, ...] = ()
    reference: str | None = None
    max_stages: int = 3
    stage_timeout_s: float = 300.0
    seed: int = 0
    max_strong_share_ratio: float | None = None
    score: str = ""
    certificates: tuple[Certificate, ...] = ()
    alarms: tuple[str, ...] = ()
    market_g_per_kwh: float | None = None
    embodied_g_per_h: float | None = None
    water_l_per_kwh: float | None = None
    checkpoints: tuple[Checkpoint, ...] = ()
    lanes: LaneTable | None = None
    delivery: DeliveryRules = DeliveryRules()
    speculation_rule: Literal["gate", "headroom", "off"] = "gate"
    speculation_explore_ratio: float = 0.0
    checking: Checking | None = None
    wait_usd_per_h: float = 0.0


class Estimate(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What an answer from one deployment would take now; ``None`` is unknown.

    ``energy_j`` is the average share, ``marginal_energy_j`` what the meter would not read without
    this request; both are for local devices only. ``net_usd`` adds tokens, lost prompt cache,
    electricity, carbon, ``wait_usd`` (the client's time, queue and waking included) and
    ``check_usd`` (validating the draft, which takes ``check_s``): the figure that is minimised.
    ``gate_usd`` and ``gate_s`` come on top where its draft is gated (a judge is asked).
    """

    input_tokens: int
    output_tokens: int
    ttft_s: float | None = None
    tpot_s: float | None = None
    energy_j: float | None = None
    marginal_energy_j: float | None = None
    limiting_device_w: float | None = None
    cost_usd: float | None = None
    carbon_g: float | None = None
    lost_cache_usd: float = 0.0
    p_correct: float = 0.5
    p_accept: float | None = None
    p_correct_accepted: float | None = None
    evidence: int = 0
    net_usd: float = 0.0
    wait_usd: float = 0.0
    check_usd: float = 0.0
    check_s: float = 0.0
    gate_usd: float = 0.0
    gate_s: float = 0.0


class Candidate(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One deployment (at one variant) judged: fit, or rejected with a reason."""

    deployment: str
    variant: str | None = None
    estimate: Estimate | None = None
    rejected: str | None = None


class Speculation(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Whether drafting pays here and now, and whether it could be switched.

    ``deployment`` is who drafts (in the place of ``twin_of``), ``how`` it is switched;
    ``applied``: it is as wanted, else ``hindered`` says why. The figures of the
    gate: ``gain_ratio`` is the speed-up (tokens of a step ``tau_ratio`` over its time
    ``1 + verify_ratio + draft_ratio``) with its probable least and most, ``energy_ratio`` the
    joules a token over those without; ``key`` the kind of answers they were learned from, in
    ``steps`` of the model.
    """

    wanted: bool
    num_speculative_tokens: int = 4
    why: str = ""
    deployment: str | None = None
    twin_of: str | None = None
    how: Granularity | Literal["twin"] = "none"
    applied: bool | None = None
    hindered: str | None = None
    regime: str | None = None
    key: str | None = None
    gain_ratio: float | None = None
    gain_low_ratio: float | None = None
    gain_high_ratio: float | None = None
    energy_ratio: float | None = None
    tau_ratio: float | None = None
    verify_ratio: float | None = None
    draft_ratio: float | None = None
    steps: float = 0.0


class Stage(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One step of a cascade.

    ``min_confidence`` is the lowest confidence at which its draft is kept; ``None`` keeps any
    well-formed draft (the last stage, or one that is not gated). ``rule`` other than
    ``confidence``: by ``agreement`` a draft is kept when it says in the end what the one before it
    said, and ``never`` is one that is only compared with. ``expected_s`` is how long it should take
    from its opening; known where the client has a deadline, and then one that would miss it is
    skipped if there is a draft to give. At ``checkpoints`` a draft that is too unsure is given up
    while it is being written, or let out early (by a window). ``hedge`` is who is asked beside it.

    ``num_speculative_tokens`` is what the engine is asked to draft (0: nothing; ``None``: it is
    not asked).
    """

    kind: Literal["model", "skill"] = "model"
    deployment: str
    variant: str | None = None
    min_confidence: float | None = None
    timeout_s: float = 300.0
    rule: Literal["confidence", "agreement", "never"] = "confidence"
    expected_s: float | None = None
    checkpoints: tuple[Checkpoint, ...] = ()
    hedge: Hedge | None = None
    num_speculative_tokens: int | None = None


class Plan(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One cascade that was considered: its stages and what it is expected to cost and to give."""

    stages: tuple[str, ...]
    expected_net_usd: float
    expected_energy_j: float | None
    p_correct: float
    p_escalate: float = 0.0


class Decision(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The choice and all its reasons.

    ``stages`` are tried in order; ``fallbacks`` only when all of them fail, nearest in quality
    first. ``plans`` are the best few considered, cheapest first. ``abstained`` says why no
    cascade was built, if none was. ``delivery`` is how the answer leaves. ``certified``:
    ``certificate``, by its id, bounds what this decision loses. ``lane`` is the one of the
    table that was gone by. ``arms`` are those an exploring decision could have drawn,
    ``propensity`` the chance of what it did choose; without arms nothing was left to chance.
    ``evidence`` is the version of the table of lanes.
    """

    stages: tuple[Stage, ...]
    fallbacks: tuple[Stage, ...] = ()
    delivery: Delivery = "hold"
    candidates: tuple[Candidate, ...] = ()
    plans: tuple[Plan, ...] = ()
    reference: str | None = None
    abstained: str | None = None
    speculation: Speculation | None = None
    certified: bool = False
    certificate: str | None = None
    reasons: tuple[str, ...] = ()
    policy_id: str = ""
    decision_version: int = 1
    lane: str | None = None
    arms: tuple[Arm, ...] = ()
    propensity: float | None = None
    evidence: str | None = None
