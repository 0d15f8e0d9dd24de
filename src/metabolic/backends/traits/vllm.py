"""vLLM's OpenAI server."""

__all__ = ["TRAITS"]

from metabolic.core.engine import EngineTraits, MetricNames, SpeculationControl

TRAITS = EngineTraits(
    name="vllm",
    title="vLLM",
    thinking="template",
    capabilities=("chat", "completions", "json", "json_schema", "logprobs", "tools"),
    readings="prometheus",
    metrics_path="/metrics",
    metrics=MetricNames(
        running="vllm:num_requests_running",
        waiting="vllm:num_requests_waiting",
        kv_used_ratio="vllm:kv_cache_usage_perc",
        preemptions="vllm:num_preemptions_total",
        prefix_queries="vllm:prefix_cache_queries_total",
        prefix_hits="vllm:prefix_cache_hits_total",
        prompt_tokens="vllm:prompt_tokens_total",
        output_tokens="vllm:generation_tokens_total",
        ttft_s="vllm:time_to_first_token_seconds",
        itl_s="vllm:inter_token_latency_seconds",
        queue_s="vllm:request_queue_time_seconds",
        drafts="vllm:spec_decode_num_drafts_total",
        draft_tokens="vllm:spec_decode_num_draft_tokens_total",
        accepted_tokens="vllm:spec_decode_num_accepted_tokens_total",
        accepted_per_position="vllm:spec_decode_num_accepted_tokens_per_pos_total",
    ),
    speculation=SpeculationControl(
        granularity="batch_schedule",
        methods=("ngram", "ngram_gpu", "suffix", "eagle", "eagle3", "mtp", "dflash", "dspark"),
        per_request="metrics.speculative_decoding",
    ),
    busy="503 or a queue; it does not say 429",
    continues=(("continue_final_message", "true"), ("add_generation_prompt", "false")),
    quirks=(
        "it goes on with an answer: continue_final_message, without a generation prompt",
        "cached tokens are told only with --enable-prompt-tokens-details",
        "tools need --enable-auto-tool-choice and --tool-call-parser",
        "/sleep and /wake_up exist with VLLM_SERVER_DEV_MODE=1",
    ),
)
"""Source: vLLM 0.33.0, v1/metrics/loggers.py and config/speculative.py."""
