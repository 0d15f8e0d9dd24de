"""Hugging Face's text-generation-inference; it is in maintenance only."""

__all__ = ["TRAITS"]

from metabolic.core.engine import EngineTraits, MetricNames, SpeculationControl

TRAITS = EngineTraits(
    name="tgi",
    title="Text Generation Inference",
    capabilities=("chat", "completions", "json_schema", "logprobs", "tools"),
    readings="prometheus",
    metrics_path="/metrics",
    metrics=MetricNames(
        running="tgi_batch_current_size",
        waiting="tgi_queue_size",
        output_tokens="tgi_request_generated_tokens_sum",
        prompt_tokens="tgi_request_input_length_sum",
        itl_s="tgi_request_mean_time_per_token_duration",
        queue_s="tgi_request_queue_duration",
    ),
    speculation=SpeculationControl(granularity="startup", methods=("medusa", "ngram")),
    output_limit="max_tokens",
    cached_tokens=None,
    busy="429 with error_type overloaded",
    continues=(("continue_final_message", "true"), ("add_generation_prompt", "false")),
    quirks=(
        "it goes on with an answer from 3.0: continue_final_message",
        "errors are {error, error_type} without an envelope",
        "usage of a stream comes only with stream_options",
    ),
)
"""Source: text-generation-inference 3, docs, "Metrics" and "Messages API"."""
