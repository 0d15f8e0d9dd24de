"""What the child asks of llama.cpp: loopback, a key, nothing fetched, the size it was given."""

import os
import sys
from types import SimpleNamespace

import pytest

from metabolic.engines import lifeline, llamacpp_server


class Params(SimpleNamespace):
    """Stands in for the wheel's parameters."""

    def __init__(self) -> None:
        super().__init__(
            model=SimpleNamespace(), cpuparams=SimpleNamespace(), cpuparams_batch=SimpleNamespace()
        )


@pytest.fixture
def params(monkeypatch: pytest.MonkeyPatch) -> Params:
    """Stand in for the wheel; the server made of it is its own parameters."""
    made = Params()
    kinds = SimpleNamespace(
        COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE="simple", COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE="draft"
    )
    wheel = SimpleNamespace(
        CommonParams=lambda: made, Server=lambda given: given, common_speculative_type=kinds
    )
    monkeypatch.setitem(sys.modules, "xllamacpp", wheel)
    return made


def serve(*more: str, key: str = "secret") -> None:
    needed = ["--model", "m.gguf", "--alias", "small", "--parent", "1"]
    llamacpp_server._serve(llamacpp_server._parser().parse_args([*needed, *more]), key)


def test_it_listens_on_loopback_only_and_wants_the_key(params: Params) -> None:
    serve()
    assert params.hostnames == ["127.0.0.1"]
    assert params.port == 0
    assert params.api_keys == ["secret"]
    assert params.cors_origins == ""
    assert not params.cors_credentials


def test_it_fetches_nothing_shows_no_page_and_offers_metrics_and_slots(params: Params) -> None:
    serve()
    assert params.offline
    assert not params.ui
    assert params.endpoint_metrics
    assert params.endpoint_slots
    assert not params.endpoint_props


def test_the_context_is_given_to_every_slot(params: Params) -> None:
    serve("--context", "2048", "--slots", "3", "--threads", "2")
    assert (params.n_ctx, params.n_parallel) == (6144, 3)
    assert params.cpuparams.n_threads == params.cpuparams_batch.n_threads == 2


def test_the_model_is_known_by_the_deployments_name(params: Params) -> None:
    serve()
    assert params.model.path == "m.gguf"
    assert params.model_alias == {"small"}


def test_options_reach_llamacpp(params: Params) -> None:
    serve("--prompt-cache-bytes", str(64 * 1024 * 1024), "--no-repack", "--embeddings")
    assert params.cache_ram_mib == 64
    assert params.no_extra_bufts
    assert params.embedding


def test_what_drafts_reaches_llamacpp(params: Params) -> None:
    serve()
    assert not hasattr(params, "speculative")
    look_up, model = (
        SimpleNamespace(),
        SimpleNamespace(
            mparams=SimpleNamespace(),
            cpuparams=SimpleNamespace(),
            cpuparams_batch=SimpleNamespace(),
        ),
    )
    params.speculative = SimpleNamespace(ngram_simple=look_up, draft=model)
    serve("--draft", "ngram", "--draft-tokens", "16", "--draft-match", "10")
    assert params.speculative.types == ["simple"]
    assert (look_up.size_n, look_up.size_m) == (10, 16)
    serve("--draft", "draft", "--draft-model", "s.gguf", "--draft-tokens", "3", "--threads", "2")
    assert params.speculative.types == ["draft"]
    assert (model.mparams.path, model.n_max, model.cpuparams.n_threads) == ("s.gguf", 3, 2)


def test_without_a_key_no_key_is_wanted(params: Params) -> None:
    serve(key="")
    assert params.api_keys == []


def test_the_first_line_of_the_pipe_is_read_and_no_more() -> None:
    theirs, ours = os.pipe()
    os.write(ours, b"secret\nrest")
    assert lifeline.first_line(theirs) == "secret"
    assert os.read(theirs, 100) == b"rest"
    os.close(ours)
    assert lifeline.first_line(theirs) == ""
    os.close(theirs)


def test_an_announcement_is_one_line_of_json() -> None:
    theirs, ours = os.pipe()
    lifeline.announce(ours, url="http://127.0.0.1:1")
    assert os.read(theirs, 100) == b'{"url": "http://127.0.0.1:1"}\n'
    os.close(ours)
    os.close(theirs)
