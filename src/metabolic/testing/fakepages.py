"""What a fake engine's state looks like on its own pages, under its own names."""

__all__ = ["page"]

from typing import Any

import msgspec

from metabolic.core.engine import EngineTraits, MetricNames
from metabolic.testing.enginesim import EngineSim

_encode = msgspec.json.encode
_LABELS = {
    "vllm": '{{engine="0",model_name="{model}"}}',
    "sglang": '{{model_name="{model}",tp_rank="0"}}',
    "tensorrt-llm": '{{model_name="{model}",engine_type="trtllm"}}',
}


def page(traits: EngineTraits, sim: EngineSim, *, path: str, model: str) -> bytes | None:
    """Return the page at ``path``; ``None``: this engine has none there."""
    if path == traits.metrics_path:
        return _metrics(traits, sim, model)
    if traits.state_path is None or path != traits.state_path.partition("?")[0]:
        return None
    made: Any = None
    match traits.name:
        case "llamacpp":
            made = _slots(sim)
        case "sglang":
            made = _loads(sim)
        case "ollama":
            made = {"models": [{"name": model, "size_vram": 1 << 30, "context_length": 4096}]}
        case "lmstudio":
            made = {"data": [{"id": model, "state": "loaded", "max_context_length": 4096}]}
        case "llama-swap":
            made = {"running": [{"model": model, "state": "ready"}]}
        case _:
            made = [{"numActiveRequests": sim.running, "numQueuedRequests": sim.waiting}]
    return _encode(made)


def _metrics(traits: EngineTraits, sim: EngineSim, model: str) -> bytes:
    """Return a Prometheus page of every figure the engine has a name for."""
    labels = _LABELS.get(traits.name, "").format(model=model)
    figures = _figures(sim)
    lines: list[str] = []
    for field in MetricNames.__struct_fields__:
        name: str | None = getattr(traits.metrics, field)
        if name is None:
            continue
        if field == "accepted_per_position":
            lines += [f"# TYPE {name.removesuffix('_total')} counter"]
            inner = labels.strip("{}")
            where = f'{{{inner}{"," if inner else ""}position="0"}}'
            lines += [f"{name}{where} {float(sim.accepted)}"]
        elif field in {"ttft_s", "itl_s", "queue_s"}:
            lines += [f"# TYPE {name} histogram", f"{name}_sum{labels} 0.0"]
            lines += [f"{name}_count{labels} {float(sim.requests)}"]
        else:
            kind = "counter" if name.endswith(("_total", "_sum")) else "gauge"
            lines += [f"# TYPE {name} {kind}", f"{name}{labels} {figures[field]}"]
    return ("\n".join(lines) + "\n").encode()


def _figures(sim: EngineSim) -> dict[str, float]:
    queries = sim.prefix_queries
    return {
        "running": float(sim.running),
        "waiting": float(sim.waiting),
        "kv_used_ratio": sim.kv_used_ratio,
        "kv_used_tokens": float(sim.kv_used),
        "kv_total_tokens": float(sim.kv_tokens),
        "preemptions": float(sim.preemptions),
        "prefix_queries": float(queries),
        "prefix_hits": float(sim.prefix_hits),
        "prefix_hit_ratio": sim.prefix_hits / queries if queries else 0.0,
        "prompt_tokens": float(sim.prompt_tokens),
        "output_tokens": float(sim.output_tokens),
        "drafts": float(sim.drafts),
        "draft_tokens": float(sim.drafted),
        "accepted_tokens": float(sim.accepted),
        "accept_length": 1 + sim.accepted / sim.drafts if sim.drafts else 1.0,
    }


def _slots(sim: EngineSim) -> list[dict[str, Any]]:
    """Return llama.cpp's slots: the context is split over them."""
    held = (*sim.held(), *([0] * sim.slots))[: sim.slots]
    return [
        {
            "id": index,
            "n_ctx": sim.kv_tokens // sim.slots,
            "is_processing": index < sim.running,
            "n_past": tokens,
        }
        for index, tokens in enumerate(held)
    ]


def _loads(sim: EngineSim) -> dict[str, Any]:
    core = {
        "dp_rank": 0,
        "num_running_reqs": sim.running,
        "num_waiting_reqs": sim.waiting,
        "num_used_tokens": sim.kv_used,
        "max_total_num_tokens": sim.kv_tokens,
        "token_usage": sim.kv_used_ratio,
    }
    return {"loads": [core]}
