"""Logs whose rows are JSON, or become it: which path holds which column.

Each format says where its columns are, in order of preference. The first format whose marks are
in a row is taken; ``rows``, our own neutral one, comes last.
"""

__all__ = ["FORMATS", "Format", "format_named", "format_of"]

from collections.abc import Mapping
from typing import cast

from msgspec import Struct

Paths = Mapping[str, tuple[str, ...]]


class Format(Struct, frozen=True, kw_only=True):
    """One kind of row: ``paths`` by column; ``marks`` are paths of which one of each must exist.

    ``fresh_input``: its input tokens do not hold the cached ones.
    """

    name: str
    marks: tuple[tuple[str, ...], ...]
    paths: Paths
    fresh_input: bool = False


_USAGE: dict[str, tuple[str, ...]] = {
    "input_tokens": ("prompt_tokens", "input_tokens"),
    "cached_tokens": (
        "prompt_tokens_details.cached_tokens",
        "input_tokens_details.cached_tokens",
        "cached_tokens",
    ),
    "read_tokens": ("cache_read_input_tokens",),
    "written_tokens": ("cache_creation_input_tokens",),
    "output_tokens": ("completion_tokens", "output_tokens"),
    "reasoning_tokens": (
        "completion_tokens_details.reasoning_tokens",
        "output_tokens_details.reasoning_tokens",
        "reasoning_tokens",
    ),
}


def _under(*roots: str) -> dict[str, tuple[str, ...]]:
    """Return the paths of a usage block below any of the roots."""
    return {
        column: tuple(f"{root}.{leaf}" for root in roots for leaf in leaves)
        for column, leaves in _USAGE.items()
    }


def _beginning(*roots: str) -> dict[str, tuple[str, ...]]:
    """Return the paths of how a conversation begins."""
    return {
        "first": tuple(f"{root}[0].content" for root in roots),
        "second": tuple(f"{root}[1].content" for root in roots),
        "role": tuple(f"{root}[0].role" for root in roots),
    }


_LABELS: dict[str, tuple[str, ...]] = {
    "quality": ("quality", "metadata.quality"),
    "shadow_model": ("shadow_model", "metadata.shadow_model"),
    "shadow_quality": ("shadow_quality", "metadata.shadow_quality"),
    "shadow_output_tokens": ("shadow_output_tokens", "metadata.shadow_output_tokens"),
    "propensity": ("propensity", "metadata.propensity"),
    "lane": ("lane", "metadata.lane"),
}

_OPENAI = Format(
    name="openai",
    marks=(
        ("response.usage", "usage", "response.body.usage", "response.error", "error"),
        ("model", "response.model", "response.body.model", "request.model", "body.model"),
    ),
    paths=_LABELS
    | _under("response.usage", "response.body.usage", "usage")
    | {
        "time": ("response.created", "response.body.created", "created", "created_at", "timestamp"),
        "request": ("response.id", "response.body.id", "id", "custom_id"),
        "model": (
            "response.model",
            "response.body.model",
            "model",
            "request.model",
            "body.model",
        ),
        "session": (
            "session_id",
            "metadata.session_id",
            "request.metadata.session_id",
            "conversation_id",
            "request.conversation",
            "request.prompt_cache_key",
        ),
        "task": ("metadata.task_id", "request.metadata.task_id", "task_id"),
        "tenant": ("user", "request.user", "request.safety_identifier"),
        "seconds": ("duration_s", "latency_s"),
        "status": ("status_code", "response.status_code", "status"),
        "error": ("error.code", "error.type", "response.error.type", "error"),
        "tools": ("request.tools", "body.tools", "tools"),
        **_beginning("request.messages", "messages", "body.messages"),
        "text": (
            "request.messages[#-1].content",
            "body.messages[#-1].content",
            "messages[#-1].content",
            "request.input",
            "request.prompt",
            "prompt",
        ),
        "prompt": (
            "prompt_hash",
            "request.messages",
            "body.messages",
            "messages",
            "request.input",
            "request.prompt",
            "prompt",
        ),
    },
)

_LITELLM = Format(
    name="litellm",
    marks=(("startTime", "start_time"), ("spend", "response_cost"), ("model",)),
    paths=_LABELS
    | _under("metadata.usage_object", "response.usage")
    | {
        "input_tokens": ("prompt_tokens",),
        "output_tokens": ("completion_tokens",),
        "cached_tokens": (
            "metadata.usage_object.prompt_tokens_details.cached_tokens",
            "response.usage.prompt_tokens_details.cached_tokens",
            "metadata.additional_usage_values.prompt_tokens_details.cached_tokens",
            "metadata.additional_usage_values.cache_read_input_tokens",
        ),
        "read_tokens": (),
        "written_tokens": (),
        "time": ("startTime", "start_time"),
        "end": ("endTime", "end_time"),
        "request": ("request_id", "id"),
        "model": ("model", "model_group"),
        "session": ("session_id", "metadata.session_id", "litellm_session_id"),
        "task": ("metadata.task_id", "metadata.agent_id"),
        "tenant": ("end_user", "user", "team_id", "api_key"),
        "reported_usd": ("spend", "response_cost"),
        "from_cache": ("cache_hit",),
        "status": ("metadata.status", "status"),
        "error": ("metadata.error_information.error_code",),
        "tools": ("proxy_server_request.tools",),
        **_beginning("messages", "proxy_server_request.messages"),
        "text": ("messages[#-1].content", "proxy_server_request.messages[#-1].content"),
        "prompt": ("prompt_hash", "messages[0].content", "proxy_server_request.messages"),
    },
)

_ENVOY = Format(
    name="envoy",
    marks=(("response_code", "status"), ("path", "uri", "request_uri", ":path")),
    paths=_under("usage")
    | {
        "input_tokens": ("gen_ai.usage.input_tokens", "llm_input_token", "input_tokens"),
        "output_tokens": ("gen_ai.usage.output_tokens", "llm_output_token", "output_tokens"),
        "cached_tokens": ("llm_cached_input_token", "cached_tokens"),
        "time": ("start_time", "time", "timestamp", "time_iso8601", "@timestamp"),
        "model": ("response_model", "model", "gen_ai.response.model"),
        "request": ("request_id", "x_request_id"),
        "session": ("session_id", "x_session_id"),
        "task": ("metabolic_task", "task_id"),
        "tenant": ("user", "remote_user"),
        "milliseconds": ("duration",),
        "seconds": ("request_time",),
        "status": ("response_code", "status"),
    },
)

_USAGE_EXPORT = Format(
    name="openai-usage",
    marks=(("num_model_requests", "n_requests", "num_requests"),),
    paths={
        "time": ("start_time", "start_time_iso", "timestamp"),
        "model": ("model",),
        "requests": ("num_model_requests", "n_requests", "num_requests"),
        "input_tokens": ("input_tokens", "n_context_tokens_total"),
        "cached_tokens": ("input_cached_tokens", "n_cached_context_tokens_total"),
        "output_tokens": ("output_tokens", "n_generated_tokens_total"),
        "tenant": ("user_id", "project_id", "api_key_id"),
        "reported_usd": ("cost_usd", "amount.value"),
    },
)

_ROWS = Format(
    name="rows",
    marks=(("model",), ("input_tokens", "output_tokens", "cost_usd", "status")),
    paths=_LABELS
    | {
        "time": ("at_s", "time"),
        "request": ("id",),
        "session": ("session",),
        "task": ("task",),
        "tenant": ("tenant",),
        "model": ("model",),
        "requests": ("requests",),
        "input_tokens": ("input_tokens",),
        "cached_tokens": ("cached_tokens",),
        "output_tokens": ("output_tokens",),
        "reasoning_tokens": ("reasoning_tokens",),
        "reported_usd": ("cost_usd",),
        "seconds": ("seconds",),
        "status": ("status",),
        "from_cache": ("from_cache",),
        "tools": ("tools",),
        "prompt": ("prompt_hash", "prompt"),
        "first": ("prefix",),
        "text": ("prompt",),
        "energy_j": ("energy_j",),
    },
)

FORMATS = (_USAGE_EXPORT, _LITELLM, _OPENAI, _ENVOY, _ROWS)
"""In the order they are tried."""


def format_named(name: str) -> Format:
    """Return a format by name. Raises ``KeyError``."""
    return {one.name: one for one in FORMATS}[name]


def format_of(rows: list[dict[str, object]]) -> Format | None:
    """Return the first format whose marks most of these rows bear; ``None`` if none does."""
    for one in FORMATS:
        bearing = sum(_bears(row, one) for row in rows)
        if bearing and 2 * bearing > len(rows):
            return one
    return None


def _bears(row: dict[str, object], one: Format) -> bool:
    """Say whether a row has one of each of the format's marks."""
    return all(any(_has(row, path) for path in choices) for choices in one.marks)


def _has(row: object, path: str) -> bool:
    """Say whether a dotted path, or the name as a whole, leads to something."""
    if isinstance(row, dict) and path in row:
        return True
    for name in path.split("."):
        if not isinstance(row, dict) or name not in row:
            return False
        row = cast("dict[str, object]", row)[name]
    return row is not None
