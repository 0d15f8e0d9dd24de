"""Bytes in OpenAI's shapes, and the surgery that adds the metabolic object."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.core.errors import NoCandidate, Overloaded, Refused, RequestError, UnknownModel
from metabolic.edge import render

META = b'{"decision":"d1","energy_j":1.5}'


def data_of(event: bytes) -> Any:
    return json.loads(event.removeprefix(b"data:"))


def test_an_error_is_openais_envelope() -> None:
    status, body = render.error(RequestError("no", param="n"))
    assert status == 400
    assert json.loads(body) == {
        "error": {"message": "no", "type": "invalid_request_error", "param": "n", "code": None}
    }


@pytest.mark.parametrize(
    ("exc", "status", "code"),
    [
        (UnknownModel("x", param="model"), 404, "model_not_found"),
        (NoCandidate("none"), 503, "no_candidate"),
        (Overloaded("busy", retry_after_s=3), 429, "upstream_overloaded"),
    ],
)
def test_every_error_has_its_status_and_code(exc: Any, status: int, code: str) -> None:
    found, body = render.error(exc)
    assert (found, json.loads(body)["error"]["code"]) == (status, code)


def test_a_refusal_is_passed_on_verbatim_if_it_is_an_envelope() -> None:
    said = b'{"error": {"message":"too long","code":"context_length_exceeded"}}'
    assert render.error(Refused("x", status=400, body=said)) == (400, said)
    for foreign in (b"<html>", b"", b'{"error":"text"}', b'{"detail":[]}'):
        status, body = render.error(Refused("refused with 422", status=422, body=foreign))
        assert status == 422
        assert json.loads(body)["error"]["message"] == "refused with 422"


def test_an_error_event_is_one_event_even_if_the_envelope_has_lines() -> None:
    event = render.error_event(Refused("x", status=400, body=b'{\n"error": {\r\n}}\n'))
    assert event.endswith(b"\n\n")
    assert event.count(b"\n") == 2
    assert data_of(event) == {"error": {}}


def test_what_is_replaced_is_named_by_the_id_of_its_first_chunk() -> None:
    shown = b': hi\n\ndata: {"id":"chatcmpl-1","created":7,"model":"m","choices":[{}]}\n\n'
    event = render.replaced(shown)
    assert event.endswith(b"\n\n")
    assert data_of(event) == {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 7,
        "model": "m",
        "choices": [],
        "metabolic": {"replaced": "chatcmpl-1"},
    }
    assert not render.holds_finish(event)


def test_what_has_no_id_is_replaced_all_the_same() -> None:
    for shown in (b"", b": hi\n\n", b"data: nonsense\n\n", b'data: {"id":7}\n\n'):
        assert data_of(render.replaced(shown))["metabolic"] == {"replaced": ""}


def test_models_are_listed_in_order() -> None:
    listed = json.loads(render.models(["auto", "small"], 1_700_000_000))
    assert listed["object"] == "list"
    assert [item["id"] for item in listed["data"]] == ["auto", "small"]
    assert json.loads(render.model("auto", 3)) == {
        "id": "auto",
        "created": 3,
        "object": "model",
        "owned_by": "metabolic",
    }


@pytest.mark.parametrize(
    ("event", "wanted"),
    [
        (b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n', True),
        (b'data: {"choices":[{"delta":{},"finish_reason": "length"}]}\n\n', True),
        (b'data: {"choices":[{"delta":{},"finish_reason":null}]}\n\n', False),
        (b'data: {"choices":[{"delta":{},"finish_reason": null}]}\n\n', False),
        (b'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\n', True),
        (b'data: {"choices":[{"delta":{"content":"a"}}],"usage":null}\n\n', False),
        (b'data: {"choices":[{"delta":{"content":"\\"finish_reason\\":\\"stop\\""}}]}\n\n', False),
        (b": comment finish_reason usage\n\n", False),
        (b"data: [DONE]\n\n", False),
        (b'data: {"finish_reason" "usage"\n\n', False),
        (b'data: {"x":1}\n\ndata: {"choices":[{"finish_reason":"stop"}]}\n\n', True),
        (b'data: {"choices":\r\ndata: [{"finish_reason":"stop"}]}\r\n\r\n', True),
    ],
)
def test_the_event_to_hold_back_is_known(event: bytes, wanted: bool) -> None:  # noqa: FBT001
    assert render.holds_finish(event) is wanted


def test_the_metabolic_object_goes_into_the_last_event() -> None:
    first = b'data: {"id":"1","choices":[]}\n\n'
    event = render.with_metabolic(first + b'data: {"id":"2"}\n\n', META)
    assert event.startswith(first)
    assert data_of(event[len(first) :]) == {"id": "2", "metabolic": json.loads(META)}


@pytest.mark.parametrize(
    "event",
    [
        b"data: {}\n\n",
        b"data:{ }\n\n",
        b'data: {"a":{}}\n\n',
        b'data: {"a":{}}\r\n\r\n',
        b'data: {"a":1}\n: comment }\n\n',
        b'event: x\ndata: {"a":\ndata: 1}\n\n',
        b"data: {\ndata: }\n\n",
        b'data: {"a":1}\n\n: trailing comment }\n\n',
    ],
)
def test_it_goes_into_any_form_of_event(event: bytes) -> None:
    found = render.with_metabolic(event, META)
    lines = [line for line in found.splitlines() if line.startswith(b"data:")]
    assert json.loads(lines[-1][5:])["metabolic"] == json.loads(META)
    assert found.endswith((b"\n\n", b"\r\n\r\n"))


@pytest.mark.parametrize("event", [b"data: [DONE]\n\n", b": hi }\n\n", b"data: [{}]\n\n", b""])
def test_an_event_without_an_object_stays(event: bytes) -> None:
    assert render.with_metabolic(event, META) == event


def test_a_whole_body_gets_it_too_and_an_array_does_not() -> None:
    assert json.loads(render.body_with_metabolic(b'{"a":[1]}\n', META))["a"] == [1]
    assert json.loads(render.body_with_metabolic(b" { } ", META)) == {"metabolic": json.loads(META)}
    assert render.body_with_metabolic(b"[1]", META) == b"[1]"


SHORT = st.text(max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | SHORT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SHORT, inner, max_size=3),
    max_leaves=6,
)
NAMES = SHORT.filter(lambda name: name != "metabolic")


@given(st.dictionaries(NAMES, JSON, max_size=4), JSON, st.sampled_from([None, 1]), st.booleans())
def test_the_surgery_equals_real_json(
    body: Any,
    meta: Any,
    indent: int | None,
    ascii_only: bool,  # noqa: FBT001
) -> None:
    text = json.dumps(body, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "replace")
    meta_text = json.dumps(meta, indent=indent).encode()
    wanted = {**json.loads(text), "metabolic": meta}
    assert json.loads(render.body_with_metabolic(text, meta_text)) == wanted
    event = b"".join(b"data: " + line + b"\n" for line in text.split(b"\n")) + b"\n"
    found = render.with_metabolic(b"data: {}\n\n" + event, meta_text)
    assert data_of(found.removeprefix(b"data: {}\n\n")) == wanted
