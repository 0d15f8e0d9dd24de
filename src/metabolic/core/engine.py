"""What differs between the engines people run, as values: endpoints, metrics, speculation."""

__all__ = ["EngineTraits", "Granularity", "MetricNames", "Readings", "SpeculationControl"]

from typing import Literal

from msgspec import Struct

from metabolic.core.fleet import Capability
from metabolic.core.speculation import Granularity

Readings = Literal["prometheus", "slots", "loads", "ps", "none"]
"""How an engine tells its state: a Prometheus page, llama.cpp's ``/slots`` beside one, SGLang's
``/v1/loads`` beside one, Ollama's ``/api/ps``, or not at all."""


class MetricNames(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What an engine calls the figures of its metrics page, as they are on the wire.

    ``None`` is a figure it does not have. Names ending in ``_total`` are counters: take deltas.
    ``kv_used_ratio`` is a share in [0, 1]; ``kv_used_tokens`` over ``kv_total_tokens`` is that
    share where only tokens are told; ``kv_max_ratio`` and so on never are guessed.
    """

    running: str | None = None
    waiting: str | None = None
    kv_used_ratio: str | None = None
    kv_used_tokens: str | None = None
    kv_total_tokens: str | None = None
    preemptions: str | None = None
    prefix_queries: str | None = None
    prefix_hits: str | None = None
    prefix_hit_ratio: str | None = None
    prompt_tokens: str | None = None
    output_tokens: str | None = None
    ttft_s: str | None = None
    itl_s: str | None = None
    queue_s: str | None = None
    drafts: str | None = None
    draft_tokens: str | None = None
    accepted_tokens: str | None = None
    accepted_per_position: str | None = None
    accept_length: str | None = None


class SpeculationControl(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """How an engine's speculation is switched, and what it may cost.

    ``field`` is the request's field (``request``) and ``off`` the JSON that switches it off;
    ``path`` the API's (``process_api``). ``methods`` are the engine's own names. ``lossless`` is
    false where a setting of it changes what is answered. ``per_request`` names the answer's field
    that tells what was drafted and accepted.
    """

    granularity: Granularity = "none"
    methods: tuple[str, ...] = ()
    field: str | None = None
    off: str | None = None
    path: str | None = None
    per_request: str | None = None
    lossless: bool = True


class EngineTraits(Struct, frozen=True, kw_only=True, gc=False):
    """One engine or API: only what differs from plain OpenAI.

    ``backend`` is the adapter that speaks its dialect. ``paths`` replace those under the base
    URL's prefix; ``{model}`` in one is the upstream's model name, and ``origin_paths`` says that
    they count from the origin. ``auth`` is the header that takes the key (``authorization`` takes
    it as a bearer). ``health`` is a path from the origin, ``None``: only the list of models tells.
    ``capabilities`` are those taken for granted until a table says otherwise. ``logprobs`` and
    ``stream_usage`` say whether it takes these fields at all; ``drops`` are fields it refuses.
    ``output_limit`` is its name for the limit on tokens. ``thinking`` says how thinking is
    switched: by ``reasoning_effort``, or by ``enable_thinking`` of its chat template.
    ``cached_tokens`` and ``busy`` say where it tells of cached tokens and how it says that it is
    busy, for people. ``continues``: it goes on
    from a last assistant message when these fields (name, JSON) are set; ``None``: it begins anew.
    ``pool`` marks one that balances replicas itself. ``proven`` says what this was tried on.
    """

    name: str
    title: str
    backend: str = "openai"
    paths: tuple[tuple[str, str], ...] = ()
    origin_paths: bool = False
    api_version: str | None = None
    auth: str = "authorization"
    headers: tuple[tuple[str, str], ...] = ()
    health: str | None = "/health"
    capabilities: tuple[Capability, ...] = ()
    logprobs: bool = True
    stream_usage: bool = True
    drops: tuple[str, ...] = ()
    output_limit: str | None = None
    thinking: Literal["effort", "template"] = "effort"
    readings: Readings = "none"
    metrics_path: str | None = None
    state_path: str | None = None
    metrics: MetricNames = MetricNames()
    speculation: SpeculationControl = SpeculationControl()
    cached_tokens: str | None = "usage.prompt_tokens_details.cached_tokens"
    busy: str = "429 with Retry-After"
    continues: tuple[tuple[str, str], ...] | None = None
    pool: bool = False
    proven: Literal["engine", "fake", "client"] = "fake"
    quirks: tuple[str, ...] = ()
