"""The child process: llama.cpp's own HTTP server on one model, on loopback.

Started as ``python -m metabolic.engines.llamacpp_server``; see ``llamacpp`` for the parent and
``lifeline`` for what ties the two. Loading holds the interpreter, so nothing in Python runs
meanwhile: the default action of SIGTERM ends it, and the kernel ends it with its parent.
"""

__all__ = ["main"]

import argparse
import importlib
import sys
from typing import Any

from metabolic.engines import lifeline

_MIB = 1024 * 1024
_WARNINGS = 2
"""llama.cpp's log level: errors and warnings, nothing per request."""


def main(arguments: list[str] | None = None) -> None:
    """Load the model, serve it, and end with the parent."""
    asked = _parser().parse_args(arguments)
    lifeline.hold(parent=asked.parent)
    key = lifeline.first_line()
    out = lifeline.claim_stdout()
    watching = lifeline.watch()
    try:
        server = _serve(asked, key)
    except ImportError as exc:
        sys.exit(f"{exc}: install metabolic[local]")
    except RuntimeError as exc:  # the cause is in llama.cpp's own lines above
        sys.exit(f"llama.cpp: {exc}")
    lifeline.announce(out, url=server.listening_address)
    watching.join()


def _parser() -> argparse.ArgumentParser:
    """Return the parser of the child's arguments."""
    parser = argparse.ArgumentParser(prog="metabolic.engines.llamacpp_server")
    parser.add_argument("--model", required=True, help="path of the GGUF file")
    parser.add_argument("--alias", required=True, help="name the API knows the model by")
    parser.add_argument("--parent", required=True, type=int, help="process to die with")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--context", type=int, default=4096, help="tokens per slot")
    parser.add_argument("--slots", type=int, default=1, help="requests served at once")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--prompt-cache-bytes", type=int, default=0)
    parser.add_argument("--no-repack", action="store_true", help="less memory, slower prompts")
    parser.add_argument("--embeddings", action="store_true")
    parser.add_argument("--draft", choices=("ngram", "draft"), help="speculate: how")
    parser.add_argument("--draft-tokens", type=int, default=4, help="the most to draft at once")
    parser.add_argument("--draft-match", type=int, default=12, help="tokens that were there before")
    parser.add_argument("--draft-model", help="path of the smaller model's GGUF file")
    return parser


def _serve(asked: argparse.Namespace, key: str) -> Any:  # noqa: ANN401 - the wheel has no types
    """Return the running server; the constructor returns when the model is loaded."""
    xllamacpp: Any = importlib.import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    _network(params, asked, key)
    params.model.path = asked.model
    params.model_alias = {asked.alias}
    params.n_parallel = asked.slots
    params.n_ctx = asked.context * asked.slots
    params.cpuparams.n_threads = asked.threads
    params.cpuparams_batch.n_threads = asked.threads
    params.cache_ram_mib = asked.prompt_cache_bytes // _MIB
    params.no_extra_bufts = asked.no_repack
    params.embedding = asked.embeddings
    if asked.draft is not None:
        _speculate(xllamacpp, params, asked)
    params.verbosity = _WARNINGS
    return xllamacpp.Server(params)


def _speculate(xllamacpp: Any, params: Any, asked: argparse.Namespace) -> None:  # noqa: ANN401
    """Have it draft: from the text so far, or by a smaller model of the same vocabulary."""
    kinds, how = xllamacpp.common_speculative_type, params.speculative
    if asked.draft == "ngram":
        how.types = [kinds.COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE]
        how.ngram_simple.size_n = asked.draft_match
        how.ngram_simple.size_m = asked.draft_tokens
        return
    how.types = [kinds.COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE]
    how.draft.mparams.path = asked.draft_model or ""
    how.draft.n_max = asked.draft_tokens
    how.draft.cpuparams.n_threads = asked.threads
    how.draft.cpuparams_batch.n_threads = asked.threads


def _network(params: Any, asked: argparse.Namespace, key: str) -> None:  # noqa: ANN401
    """Listen on loopback only, for holders of the key only; no page, no downloads, no origins."""
    params.hostnames = ["127.0.0.1"]
    params.port = asked.port
    params.api_keys = [key] if key else []
    params.cors_origins = ""
    params.cors_credentials = False
    params.offline = True
    params.ui = False
    params.endpoint_metrics = True
    params.endpoint_slots = True
    params.endpoint_props = False


if __name__ == "__main__":
    main(sys.argv[1:])
