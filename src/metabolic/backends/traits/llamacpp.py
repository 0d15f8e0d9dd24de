"""llama.cpp's server."""

__all__ = ["TRAITS"]

from metabolic.core.engine import EngineTraits, MetricNames, SpeculationControl

TRAITS = EngineTraits(
    name="llamacpp",
    title="llama.cpp",
    thinking="template",
    capabilities=("chat", "completions", "json", "json_schema", "logprobs", "tools"),
    readings="slots",
    metrics_path="/metrics",
    state_path="/slots",
    metrics=MetricNames(
        running="llamacpp:requests_processing",
        waiting="llamacpp:requests_deferred",
        prompt_tokens="llamacpp:prompt_tokens_total",
        output_tokens="llamacpp:tokens_predicted_total",
        drafts="llamacpp:spec_decode_num_drafts_total",
        draft_tokens="llamacpp:spec_decode_num_draft_tokens_total",
        accepted_tokens="llamacpp:spec_decode_num_accepted_tokens_total",
        accepted_per_position="llamacpp:spec_decode_num_accepted_tokens_per_pos_total",
    ),
    speculation=SpeculationControl(
        granularity="startup",
        methods=(
            "draft-simple",
            "draft-mtp",
            "draft-eagle3",
            "ngram-cache",
            "ngram-simple",
            "ngram-map-k",
            "ngram-map-k4v",
            "ngram-mod",
        ),
        per_request="timings.draft_n, timings.draft_n_accepted",
    ),
    cached_tokens="usage.prompt_tokens_details.cached_tokens, else timings.cache_n",
    busy="503 while the model loads; it queues otherwise",
    proven="engine",
    continues=(),
    quirks=(
        "it goes on from a last assistant message, refused (400) while thinking is on",
        "speculative.* in a request is echoed and has no effect",
        "the metrics page has no KV share: it is derived from /slots",
        "/metrics needs --metrics; the context is split over the slots",
    ),
)
"""Source: llama.cpp, tools/server (README and server-schema); its KV share was removed in #13660,
its counters of drafts came with #26389."""
