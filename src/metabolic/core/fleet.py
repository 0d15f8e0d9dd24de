"""Who can answer, how busy each is, and all of it at one moment."""

__all__ = [
    "Capability",
    "Deployment",
    "Endpoint",
    "FleetSpec",
    "LaunchSpec",
    "Load",
    "Model",
    "Price",
    "Situation",
    "SituationRef",
    "State",
    "Tier",
    "Variant",
]

from typing import Literal

from msgspec import Struct

from metabolic.core.hardware import Origin
from metabolic.core.metabolic import MetabolicState
from metabolic.core.speculation import Drafter, Drafting, Launch

Tier = Literal["tiny", "small", "medium", "large"]
"""By active parameters: tiny < 1e9 ≤ small < 7e9 ≤ medium < 20e9 ≤ large."""

State = Literal["absent", "stopped", "starting", "warm", "asleep", "failed"]

Capability = Literal[
    "chat",
    "completions",
    "embeddings",
    "tools",
    "json",
    "json_schema",
    "vision",
    "logprobs",
    "reasoning",
]


class Model(Struct, frozen=True, kw_only=True, gc=False):
    """Weights: what is known of them; ``None`` where it is not published."""

    id: str
    tier: Tier
    total_parameters: int | None = None
    active_parameters: int | None = None
    context_tokens: int | None = None
    layers: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    quantisation: str | None = None
    licence: str | None = None
    file_bytes: int | None = None


class Price(Struct, frozen=True, kw_only=True, gc=False):
    """What a remote API asks per token."""

    input_usd_per_token: float
    output_usd_per_token: float
    cached_usd_per_token: float | None = None
    cache_write_usd_per_token: float | None = None


class Variant(Struct, frozen=True, kw_only=True, gc=False):
    """The same weights at another effort or output budget; the prompt cache stays warm.

    ``thinking`` switches thinking on or off where the model can; ``thinking_tokens`` is its budget.
    ``output_ratio`` is what it writes over what the deployment does (``None``: unknown). ``body``
    is a JSON object of further fields for the upstream.
    """

    name: str
    reasoning_effort: str | None = None
    max_output_tokens: int | None = None
    thinking: bool | None = None
    thinking_tokens: int | None = None
    output_ratio: float | None = None
    body: str | None = None


class Deployment(Struct, frozen=True, kw_only=True, gc=False):
    """A model somewhere that can answer.

    Speeds are tokens per second of one sequence on an idle device; ``active_w`` is the power
    above idle while it works on one sequence; both with their origin, ``None`` when unknown.
    ``tasks`` restricts it to task types where it is proven, ``()`` is all. ``load_s`` and
    ``memory_bytes`` are what it takes to wake it. ``device`` is the meter it draws from; ``None``
    for a remote API. ``usd_per_hour`` is what the machine is rented for; ``None`` is not rented.
    ``drafting`` is how it speculates, ``None`` if it does not.

    ``kind``: ``local`` is a process of ours; ``server`` one engine that others started, of which
    several may be replicas; ``pool`` balances replicas of its own; ``remote`` bills per token.
    """

    name: str
    model: Model
    kind: Literal["local", "remote", "pool", "server"] = "remote"
    device: str | None = None
    capabilities: tuple[Capability, ...] = ("chat",)
    price: Price | None = None
    prefill_tokens_per_s: float | None = None
    decode_tokens_per_s: float | None = None
    speed_origin: Origin | None = None
    active_w: float | None = None
    active_w_origin: Origin | None = None
    load_s: float | None = None
    memory_bytes: int | None = None
    tasks: tuple[str, ...] = ()
    variants: tuple[Variant, ...] = ()
    slots: int = 1
    usd_per_hour: float | None = None
    drafting: Drafter | None = None


class FleetSpec(Struct, frozen=True, kw_only=True, gc=False):
    """All deployments, sorted by name; ``id`` is the digest of the rest."""

    id: str
    deployments: tuple[Deployment, ...]


class LaunchSpec(Struct, frozen=True, kw_only=True, gc=False):
    """What a local engine is started with; sized by the supervisor from free memory.

    ``context_tokens`` is per slot.
    """

    deployment: str
    model_path: str
    context_tokens: int = 4096
    slots: int = 1
    threads: int = 1
    embeddings: bool = False
    start_timeout_s: float = 120.0
    speculation: Launch | None = None


class Load(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """How busy a deployment is; ``None`` is unknown. ``age_s`` is how old this is.

    ``energy_ratio`` is what its estimated joules are to be multiplied by, as metered of late;
    ``batch_exponent`` how its device's power grows with the answers in flight.

    What an engine says of itself: ``kv_capacity_tokens`` its cache holds, ``prefix_hit_ratio`` of
    prompt tokens found in it, ``acceptance_ratio`` of drafted tokens kept, ``preemptions_per_s``.
    What its answers have shown of late: the next token takes ``tpot_s`` plus
    ``tpot_per_answer_s x running ^ 0.8``, the first ``ttft_s`` plus ``ttft_per_token_s`` for each
    fresh token of the prompt. ``limit`` is how many answers admission lets it work on at once,
    ``wake_s`` what its last starts took, ``wake_j`` the joules of it above what it draws asleep.
    ``drafting`` is what is known of its drafting, for answers like the one that is asked for.
    ``leaving``: it is to sleep soon, and gets no work that a replica can do.
    """

    deployment: str
    state: State = "warm"
    running: int = 0
    waiting: int = 0
    kv_used_ratio: float | None = None
    healthy: bool | None = None
    age_s: float = 0.0
    energy_ratio: float | None = None
    batch_exponent: float | None = None
    kv_capacity_tokens: int | None = None
    prefix_hit_ratio: float | None = None
    acceptance_ratio: float | None = None
    preemptions_per_s: float | None = None
    tpot_s: float | None = None
    tpot_per_answer_s: float | None = None
    ttft_s: float | None = None
    ttft_per_token_s: float | None = None
    limit: int | None = None
    wake_s: float | None = None
    drafting: Drafting | None = None
    wake_j: float | None = None
    wake_j_origin: Origin | None = None
    leaving: bool = False


class Situation(Struct, frozen=True, kw_only=True, gc=False):
    """Machine, fleet and load at one moment; ``hardware_id`` is the digest of the readings."""

    at_s: float
    metabolic: MetabolicState
    fleet: FleetSpec
    load: tuple[Load, ...] = ()
    hardware_id: str | None = None


class SituationRef(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A ``Situation`` as a record keeps it: large parts by digest, the load itself."""

    at_s: float
    metabolic_id: str
    fleet_id: str
    load: tuple[Load, ...] = ()
    hardware_id: str | None = None


class Endpoint(Struct, frozen=True, kw_only=True, gc=False):
    """Where a deployment listens; never stored, never logged: it may hold a key.

    ``model`` is the name the upstream knows the model by. ``pid`` is the process of a local
    engine, whose CPU seconds the meter reads. ``engine`` names what differs there from OpenAI's
    API (``metabolic.backends.traits``).
    """

    deployment: str
    base_url: str
    model: str
    api_key: str | None = None
    backend: str = "openai"
    pid: int | None = None
    engine: str = "openai"

    def __repr__(self) -> str:
        """Show all but the key."""
        return f"Endpoint({self.deployment!r}, {self.base_url!r}, {self.model!r}, pid={self.pid})"
