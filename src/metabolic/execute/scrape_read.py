"""What engines say of their load, read from their own words: names differ, the meaning does not.

An engine is known by the prefix of its metrics, so an OpenAI-compatible endpoint needs no setting;
where the configuration names the engine, the names of its traits are looked for first. What a
name does not say is ``None``. Counters are returned as they stand: rates are the scraper's.

Source of the names: vLLM 0.33, SGLang 0.5, llama.cpp server, TGI 3, TensorRT-LLM: their released
code and documentation.
"""

__all__ = ["DIALECTS", "Dialect", "Observed", "loads", "metrics", "ollama", "slots"]

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from metabolic.core.engine import MetricNames
from metabolic.core.exposition import Sample, parse


class Observed(Struct, frozen=True, kw_only=True):
    """One reading of an engine; ``None`` is what it does not say.

    From ``prefix_queries`` on they are counters since its start, but for the last two. ``drafted``
    and ``accepted`` are tokens, ``drafts`` the steps that drafted; ``accept_length`` is the mean of
    tokens that a step writes.
    """

    engine: str
    running: int | None = None
    waiting: int | None = None
    kv_used_ratio: float | None = None
    kv_capacity_tokens: int | None = None
    asleep: bool | None = None
    prefix_queries: float | None = None
    prefix_hits: float | None = None
    preemptions: float | None = None
    drafted: float | None = None
    accepted: float | None = None
    drafts: float | None = None
    hit_ratio: float | None = None
    accept_length: float | None = None


class Dialect(Struct, frozen=True, kw_only=True):
    """The metric names of one engine; the first that is there counts, ``()``: it has none.

    ``blocks`` are the labels that hold the number of cache blocks and the tokens of one.
    """

    engine: str
    prefix: str
    running: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    kv_used: tuple[str, ...] = ()
    kv_capacity: tuple[str, ...] = ()
    blocks: tuple[str, str, str] | None = None
    asleep: tuple[str, ...] = ()
    prefix_queries: tuple[str, ...] = ()
    prefix_hits: tuple[str, ...] = ()
    preemptions: tuple[str, ...] = ()
    drafted: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    drafts: tuple[str, ...] = ()
    accept_length: tuple[str, ...] = ()
    hit_ratio: tuple[str, ...] = ()


DIALECTS = (
    Dialect(
        engine="vllm",
        prefix="vllm:",
        running=("vllm:num_requests_running",),
        waiting=("vllm:num_requests_waiting",),
        kv_used=("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
        blocks=("vllm:cache_config_info", "num_gpu_blocks", "block_size"),
        asleep=("vllm:engine_sleep_state",),
        prefix_queries=("vllm:prefix_cache_queries_total", "vllm:prefix_cache_queries"),
        prefix_hits=("vllm:prefix_cache_hits_total", "vllm:prefix_cache_hits"),
        preemptions=("vllm:num_preemptions_total", "vllm:num_preemptions"),
        drafted=("vllm:spec_decode_num_draft_tokens_total",),
        accepted=("vllm:spec_decode_num_accepted_tokens_total",),
        drafts=("vllm:spec_decode_num_drafts_total",),
    ),
    Dialect(
        engine="sglang",
        prefix="sglang:",
        running=("sglang:num_running_reqs",),
        waiting=("sglang:num_queue_reqs",),
        kv_used=("sglang:token_usage",),
        kv_capacity=("sglang:max_total_num_tokens",),
        preemptions=("sglang:num_retracted_requests_total", "sglang:num_retracted_reqs_total"),
        hit_ratio=("sglang:cache_hit_rate",),
        drafts=("sglang:spec_verify_calls_total",),
        accept_length=("sglang:spec_accept_length",),
    ),
    Dialect(
        engine="llamacpp",
        prefix="llamacpp:",
        running=("llamacpp:requests_processing",),
        waiting=("llamacpp:requests_deferred",),
        drafted=("llamacpp:spec_decode_num_draft_tokens_total", "llamacpp:n_drafted_total"),
        accepted=("llamacpp:spec_decode_num_accepted_tokens_total", "llamacpp:n_accepted_total"),
        drafts=("llamacpp:spec_decode_num_drafts_total",),
    ),
    Dialect(
        engine="tgi",
        prefix="tgi_",
        running=("tgi_batch_current_size",),
        waiting=("tgi_queue_size",),
        kv_capacity=("tgi_batch_current_max_tokens",),
    ),
    Dialect(
        engine="trtllm",
        prefix="trtllm_",
        running=("trtllm_num_requests_running",),
        waiting=("trtllm_num_requests_waiting",),
        kv_used=("trtllm_kv_cache_utilization", "trtllm_kv_cache_usage"),
        hit_ratio=("trtllm_kv_cache_hit_rate",),
    ),
)
"""The engines whose metrics are understood."""


_NAMED = (
    ("running", "running"),
    ("waiting", "waiting"),
    ("kv_used", "kv_used_ratio"),
    ("kv_capacity", "kv_total_tokens"),
    ("prefix_queries", "prefix_queries"),
    ("prefix_hits", "prefix_hits"),
    ("preemptions", "preemptions"),
    ("drafted", "draft_tokens"),
    ("accepted", "accepted_tokens"),
    ("drafts", "drafts"),
    ("accept_length", "accept_length"),
    ("hit_ratio", "prefix_hit_ratio"),
)
"""What a dialect calls a figure, and what an engine's traits call it."""


def metrics(text: str, names: MetricNames | None = None) -> Observed | None:
    """Return what an engine's ``/metrics`` say; ``None``: no engine that is known.

    ``names`` are those of the engine's traits and come first. Replicas of one endpoint (labels)
    are added up; shares are averaged.
    """
    for dialect in DIALECTS:
        if dialect.prefix in text:
            named: dict[str, list[Sample]] = {}
            for sample in parse(text, prefix=dialect.prefix):
                named.setdefault(sample.name, []).append(sample)
            if named:
                return _observed(dialect if names is None else _with(dialect, names), named)
    return None


def _with(dialect: Dialect, names: MetricNames) -> Dialect:
    """Return a dialect that looks for an engine's own names first."""
    found: dict[str, tuple[str, ...]] = {}
    for ours, theirs in _NAMED:
        name: str | None = getattr(names, theirs)
        if name is not None:
            found[ours] = (name, *getattr(dialect, ours))
    return replace(dialect, **found) if found else dialect


def _observed(dialect: Dialect, named: Mapping[str, list[Sample]]) -> Observed:
    """Return a reading by the names of a dialect."""
    sleeping = _mean(named, dialect.asleep)
    awake = next((s for s in named.get("vllm:engine_sleep_state", ()) if _is_awake(s)), None)
    if awake is not None:  # one series a state, 1 where the engine is
        sleeping = 1.0 - awake.value
    return Observed(
        engine=dialect.engine,
        running=_whole(_sum(named, dialect.running)),
        waiting=_whole(_sum(named, dialect.waiting)),
        kv_used_ratio=_share(_mean(named, dialect.kv_used)),
        kv_capacity_tokens=_whole(_sum(named, dialect.kv_capacity)) or _blocks(dialect, named),
        asleep=None if sleeping is None else sleeping > 0,
        prefix_queries=_sum(named, dialect.prefix_queries),
        prefix_hits=_sum(named, dialect.prefix_hits),
        preemptions=_sum(named, dialect.preemptions),
        drafted=_sum(named, dialect.drafted),
        accepted=_sum(named, dialect.accepted),
        drafts=_sum(named, dialect.drafts),
        accept_length=_mean(named, dialect.accept_length),
        hit_ratio=_share(_mean(named, dialect.hit_ratio)),
    )


def _is_awake(sample: Sample) -> bool:
    """Say whether a sample is the one for being awake."""
    return sample.label("sleep_state") == "awake"


def _values(named: Mapping[str, list[Sample]], names: Iterable[str]) -> list[float]:
    """Return the finite values of the first name that is there."""
    for name in names:
        if name in named:
            return [s.value for s in named[name] if s.value - s.value == 0.0]
    return []


def _sum(named: Mapping[str, list[Sample]], names: Iterable[str]) -> float | None:
    """Return the sum over labels; ``None`` without any."""
    values = _values(named, names)
    return sum(values) if values else None


def _mean(named: Mapping[str, list[Sample]], names: Iterable[str]) -> float | None:
    """Return the mean over labels; ``None`` without any."""
    values = _values(named, names)
    return sum(values) / len(values) if values else None


def _blocks(dialect: Dialect, named: Mapping[str, list[Sample]]) -> int | None:
    """Return tokens of cache: blocks times the tokens of one, as the labels of a sample say."""
    if dialect.blocks is None:
        return None
    name, count, size = dialect.blocks
    total = 0
    for sample in named.get(name, ()):
        blocks, tokens = sample.label(count) or "", sample.label(size) or ""
        if blocks.isdecimal() and tokens.isdecimal():
            total += int(blocks) * int(tokens)
    return total or None


def _whole(value: float | None) -> int | None:
    """Return a count; ``None`` for what is none."""
    return None if value is None or value < 0 else int(value)


def _share(value: float | None) -> float | None:
    """Return a share in [0, 1]; ``None`` for what is none."""
    return None if value is None or value < 0 else min(1.0, value)


class _Next(Struct):
    """What llama.cpp says a slot does next."""

    n_decoded: int = 0


class _Slot(Struct):
    """One slot of llama.cpp, old and new spelling."""

    n_ctx: int = 0
    is_processing: bool | None = None
    state: int = 0
    n_past: int = 0
    n_prompt_tokens: int = 0
    next_token: _Next | list[_Next] | None = None

    def busy(self) -> bool:
        """Say whether it works on an answer."""
        return self.state != 0 if self.is_processing is None else self.is_processing

    def tokens(self) -> int:
        """Return the tokens its cache holds for the answer it works on."""
        after = self.next_token
        if isinstance(after, list):
            after = after[0] if after else None
        decoded = 0 if after is None else after.n_decoded
        return min(self.n_ctx, max(self.n_past, self.n_prompt_tokens + decoded))


def slots(body: bytes) -> Observed | None:
    """Return what llama.cpp's ``/slots`` say: busy ones, and the cache they have filled."""
    try:
        found = msgspec.json.decode(body, type=list[_Slot])
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None
    if not found:
        return None
    busy = [one for one in found if one.busy()]
    capacity = sum(one.n_ctx for one in found)
    return Observed(
        engine="llamacpp",
        running=len(busy),
        kv_used_ratio=_share(sum(one.tokens() for one in busy) / capacity) if capacity else None,
        kv_capacity_tokens=capacity or None,
    )


class _RankLoad(Struct):
    """One rank of SGLang."""

    num_running_reqs: int = 0
    num_waiting_reqs: int = 0
    num_used_tokens: int | None = None
    max_total_num_tokens: int | None = None
    token_usage: float | None = None


class _Loads(Struct):
    """SGLang's ``/v1/loads``."""

    loads: list[_RankLoad] = []


def loads(body: bytes) -> Observed | None:
    """Return what SGLang's ``/v1/loads`` say, all ranks together."""
    try:
        found = msgspec.json.decode(body, type=_Loads).loads
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None
    if not found:
        return None
    shares = [one.token_usage for one in found if one.token_usage is not None]
    capacity = [one.max_total_num_tokens for one in found if one.max_total_num_tokens is not None]
    return Observed(
        engine="sglang",
        running=sum(one.num_running_reqs for one in found),
        waiting=sum(one.num_waiting_reqs for one in found),
        kv_used_ratio=_share(sum(shares) / len(shares)) if shares else None,
        kv_capacity_tokens=sum(capacity) or None,
    )


class _Loaded(Struct):
    """One model that Ollama holds in memory."""

    name: str = ""
    model: str = ""
    context_length: int | None = None


class _Ps(Struct):
    """Ollama's ``/api/ps``."""

    models: list[_Loaded]


def ollama(body: bytes, model: str) -> Observed | None:
    """Return what Ollama's ``/api/ps`` say of one model: loaded with how much context, or asleep.

    Ollama tells neither what is running nor what waits.
    """
    try:
        found = msgspec.json.decode(body, type=_Ps).models
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None
    names = {model, f"{model}:latest"}
    ours = next((one for one in found if {one.name, one.model} & names), None)
    return Observed(
        engine="ollama",
        asleep=ours is None,
        kv_capacity_tokens=None if ours is None else ours.context_length,
    )
