"""``[speculation]`` and ``[deployment.speculation]``: who drafts, and by which rule."""

__all__ = ["DraftTable", "SpeculationTable"]

from typing import Annotated, Literal

from msgspec import Meta, Struct

_Tokens = Annotated[int, Meta(ge=1, le=64)]
_Ratio = Annotated[float, Meta(ge=0, le=1)]


class SpeculationTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[speculation]``: how it is decided whether to draft.

    ``rule``: ``gate`` weighs what drafting has gained so far against what it costs, ``headroom``
    is on for complex queries on a cool machine, ``off`` never drafts. ``local`` adds twins of the
    local models: with n-grams of the text so far, or with ``draft_model`` of the catalogue (it
    must share their vocabulary); they run only where they pay for their memory.
    ``explore_ratio`` of the answers try what nobody is sure of.
    """

    rule: Literal["gate", "headroom", "off"] = "gate"
    local: Literal["off", "ngram", "draft", "both"] = "off"
    draft_model: str | None = None
    num_speculative_tokens: _Tokens = 4
    explore_ratio: _Ratio = 0.02


class DraftTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[deployment.speculation]``: this deployment can draft, and how it is switched.

    ``twin_of`` names the deployment that it is with speculation on; without, it switches as its
    engine can. ``method`` is ``ngram``, ``draft`` or the engine's own name. ``draft_model`` is an
    id of the catalogue for ``local``, else what a request is to name (LM Studio).
    ``draft_cost_ratio`` is the time to draft a token over that of writing one.
    """

    method: Annotated[str, Meta(min_length=1)] = "draft"
    twin_of: str | None = None
    num_speculative_tokens: _Tokens = 4
    draft_cost_ratio: _Ratio = 0.0
    draft_model: str | None = None
