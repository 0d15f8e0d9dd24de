"""Drafting: who can do it, what it did for one answer, and what is known of it."""

__all__ = ["Drafter", "Drafting", "Drafts", "Granularity", "Launch"]

from typing import Literal

from msgspec import Struct

Granularity = Literal["request", "process_api", "batch_schedule", "startup", "none"]
"""How finely speculation can be switched: by a field of the request, by an API of the process, by
the engine's own schedule over its batch (so by how many requests it is given), only at start-up
(so by a twin), or not at all."""


class Drafts(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What an engine reported of drafting for one answer.

    ``decode_s`` is how long it wrote, without the prompt; ``drafts`` how often it drafted; ``None``
    is unknown. Rejected tokens are in ``drafted_tokens`` and in no bill of tokens: their time is in
    the answer's joules.
    """

    drafted_tokens: int
    accepted_tokens: int
    decode_s: float | None = None
    drafts: int | None = None


class Launch(Struct, frozen=True, kw_only=True, gc=False):
    """What a local engine is started with to speculate: from the text so far, or by a model.

    ``draft_path`` is the smaller model's file, for ``draft``. ``match_tokens`` in a row must have
    been there before for ``ngram`` to go on with what followed, up to ``num_speculative_tokens``.
    """

    method: Literal["ngram", "draft"]
    num_speculative_tokens: int
    draft_path: str | None = None
    match_tokens: int = 12


class Drafter(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """How a deployment speculates.

    ``method`` is ``ngram`` (the text so far), ``draft`` (a model) or the engine's own name for it.
    ``twin_of`` names the deployment that this one is, with speculation on; ``None`` is one that
    switches by itself as finely as ``granularity`` says. ``draft_cost_ratio`` is the time to draft
    a token over that of writing one. ``reports``: its answers say what was drafted, and
    those that say nothing drafted nothing. ``extra_bytes`` is the memory beyond its twin's.
    """

    method: str
    granularity: Granularity = "startup"
    twin_of: str | None = None
    num_speculative_tokens: int = 4
    draft_cost_ratio: float = 0.0
    reports: bool = False
    extra_bytes: int | None = None


class Drafting(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What is known of one deployment's drafting for answers like the one asked for.

    ``key`` says which: task, temperature and context. ``accepted_ratio`` and ``drafted_ratio`` are
    tokens for each step; ``low_ratio`` is what the first probably exceeds. ``token_cost_ratio`` is
    what one drafted token costs over a step that drafts nothing, ``None``: nobody has seen.
    ``steps`` stand behind it.
    """

    key: str
    accepted_ratio: float
    low_ratio: float
    high_ratio: float
    drafted_ratio: float
    token_cost_ratio: float | None = None
    steps: float = 0.0
