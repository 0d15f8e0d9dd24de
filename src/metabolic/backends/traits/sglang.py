"""SGLang's server."""

__all__ = ["TRAITS"]

from metabolic.core.engine import EngineTraits, MetricNames, SpeculationControl

TRAITS = EngineTraits(
    name="sglang",
    title="SGLang",
    thinking="template",
    capabilities=("chat", "completions", "json", "json_schema", "logprobs", "tools"),
    readings="loads",
    metrics_path="/metrics",
    state_path="/v1/loads?include=core,memory,spec,queues",
    metrics=MetricNames(
        running="sglang:num_running_reqs",
        waiting="sglang:num_queue_reqs",
        kv_used_ratio="sglang:token_usage",
        kv_used_tokens="sglang:num_used_tokens",
        kv_total_tokens="sglang:max_total_num_tokens",
        preemptions="sglang:num_retracted_reqs",
        prefix_hit_ratio="sglang:cache_hit_rate",
        prompt_tokens="sglang:prompt_tokens_total",
        output_tokens="sglang:generation_tokens_total",
        ttft_s="sglang:time_to_first_token_seconds",
        itl_s="sglang:inter_token_latency_seconds",
        queue_s="sglang:queue_time_seconds",
        accept_length="sglang:spec_accept_length",
    ),
    speculation=SpeculationControl(
        granularity="batch_schedule",
        methods=("EAGLE", "EAGLE3", "NEXTN", "STANDALONE", "NGRAM", "DFLASH", "DSPARK"),
        path="/set_internal_state",
        per_request="meta_info.spec_accept_rate",
    ),
    continues=(("continue_final_message", "true"),),
    quirks=(
        "it goes on with an answer: continue_final_message",
        "/set_internal_state takes two thresholds that change what is answered: not used",
        "cached tokens are told only with --enable-cache-report",
        "/metrics needs --enable-metrics",
    ),
)
"""Source: SGLang 0.5.23, srt/metrics/collector.py, srt/server_args.py, managers/scheduler.py."""
