"""What was learned of one request beside its live answer: labels and costs, never text."""

__all__ = ["ShadowRow"]

from msgspec import Struct

from metabolic.core.certificate import Labeller


class ShadowRow(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One request that was answered by its upstream and, in the background, by a cheaper tier.

    ``deployment`` gave the draft, ``reference`` is the upstream; ``served`` says whether the policy
    would have given the draft to the client, ``chosen`` whether it would have asked for it at all:
    a draft that was only drawn for its label is neither. ``loss`` is in [-1, 1], 1 where the
    reference's answer is better (``None``: nobody could say), as ``labeller`` found.

    ``base_*`` is what the upstream's answer took, ``routed_*`` what the policy would have taken
    (discarded drafts and the prompt cache it would have lost included), ``draft_*`` the draft
    alone, ``spent_*`` what measuring took. Joules are those of this machine; ``None`` is unknown.
    ``propensity`` is the probability with which this request was looked at, ``draft_propensity``
    that with which this deployment was asked; ``session`` is a hash.
    """

    id: str
    at_s: float
    session: str
    tenant: str | None = None
    lane: str = "other"
    model: str = ""
    reference: str
    deployment: str | None = None
    chosen: bool = False
    served: bool = False
    score: float | None = None
    loss: float | None = None
    labeller: Labeller | None = None
    propensity: float = 1.0
    draft_propensity: float = 1.0
    input_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    lost_cached_tokens: int = 0
    base_usd: float | None = None
    base_energy_j: float | None = None
    routed_usd: float | None = None
    routed_energy_j: float | None = None
    draft_usd: float | None = None
    draft_energy_j: float | None = None
    spent_usd: float = 0.0
    spent_energy_j: float = 0.0
    base_s: float | None = None
    routed_s: float | None = None
    policy_id: str = ""
