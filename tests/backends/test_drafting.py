"""The field by which a request switches speculation, and what answers say of drafts."""

import json
from typing import Any

import pytest

from metabolic.backends.drafting import field_of
from metabolic.backends.reader import Reader
from metabolic.backends.traits import NAMES, find
from metabolic.backends.wire import reply_of, upstream_body
from metabolic.core.attempt import Call
from metabolic.core.request import Request
from metabolic.core.speculation import Drafts

BODY: dict[str, Any] = {"model": "auto", "messages": [], "num_draft_tokens": 9, "draft_model": "x"}
REQUEST = Request(id="r", dialect="chat", model="auto", body=json.dumps(BODY).encode())


def _sent(engine: str, tokens: int | None, draft_model: str | None = None) -> dict[str, Any]:
    call = Call(id="c0", stage=0, deployment="d", num_speculative_tokens=tokens)
    field = field_of(find(engine).speculation, draft_model)
    body = upstream_body(REQUEST, call, model="m", streamed=False, drafting=field)
    found: dict[str, Any] = json.loads(body)
    return found


@pytest.mark.parametrize(("tokens", "sent"), [(4, 4), (0, 0), (None, 9)])
def test_mlx_is_told_how_many_tokens_to_draft(tokens: int | None, sent: int) -> None:
    assert _sent("mlx-lm", tokens)["num_draft_tokens"] == sent


def test_lm_studio_is_told_which_model_drafts_or_none() -> None:
    assert _sent("lmstudio", 4, "small")["draft_model"] == "small"
    assert "draft_model" not in _sent("lmstudio", 0, "small")
    assert _sent("lmstudio", 4)["draft_model"] == "x"


@pytest.mark.parametrize("name", [one for one in NAMES if one not in {"mlx-lm", "lmstudio"}])
def test_no_other_engine_is_told_anything(name: str) -> None:
    sent = _sent(name, 0)
    assert sent["num_draft_tokens"] == BODY["num_draft_tokens"]


TIMINGS = {"predicted_n": 60, "predicted_ms": 2500.0, "draft_n": 50, "draft_n_accepted": 48}
DRAFTS = Drafts(drafted_tokens=50, accepted_tokens=48, decode_s=2.5)
CALL = Call(id="c0", stage=0, deployment="d")


def _answer(timings: dict[str, Any]) -> bytes:
    choice = {"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}
    return json.dumps({"choices": [choice], "timings": timings}).encode()


def test_llama_cpps_timings_say_what_was_drafted_and_kept() -> None:
    assert reply_of(_answer(TIMINGS), REQUEST, CALL).drafts == DRAFTS
    assert reply_of(_answer({"predicted_n": 60}), REQUEST, CALL).drafts is None


def test_so_does_the_last_event_of_a_stream() -> None:
    reader = Reader(REQUEST, CALL)
    chunk = {"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]}
    for event in (chunk, {"choices": [], "usage": {"completion_tokens": 60}, "timings": TIMINGS}):
        reader.feed(b"data: " + json.dumps(event).encode() + b"\n\n")
    reader.feed(b"data: [DONE]\n\n")
    assert reader.reply().drafts == DRAFTS
