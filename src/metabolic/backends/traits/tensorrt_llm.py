"""TensorRT-LLM's trtllm-serve."""

__all__ = ["TRAITS"]

from metabolic.core.engine import EngineTraits, MetricNames, SpeculationControl

TRAITS = EngineTraits(
    name="tensorrt-llm",
    title="TensorRT-LLM",
    thinking="template",
    capabilities=("chat", "completions", "json", "json_schema", "tools"),
    readings="prometheus",
    metrics_path="/prometheus/metrics",
    state_path="/metrics",
    metrics=MetricNames(
        ttft_s="trtllm_time_to_first_token_seconds",
        itl_s="trtllm_time_per_output_token_seconds",
        queue_s="trtllm_request_queue_time_seconds",
    ),
    speculation=SpeculationControl(
        granularity="batch_schedule",
        methods=("EAGLE", "EAGLE3", "MTP", "NGRAM", "DRAFT_TARGET"),
    ),
    busy="429 or a queue, as it is configured",
    quirks=(
        "/metrics is JSON about the last iterations, and empties as it is read: one reader only",
        "the Prometheus page is at /prometheus/metrics, with return_perf_metrics",
    ),
)
"""Source: TensorRT-LLM 1.3, tensorrt_llm/serve/openai_server.py and metrics/collector.py."""
