"""Answers that leave early, are raced for or taken back: a real gateway over fake upstreams."""

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from metabolic.replay.verify import verify
from metabolic.testing.fakeanswers import TEXT
from metabolic.testing.fakeserver import FakeServer
from metabolic.testing.gateway import Running, config_for, gateway_in_thread

HI: list[Any] = [{"role": "user", "content": "Hi there"}]
DRAFTS = {
    "sure": "fake",
    "unsure": "doubt:x",
    "creeping": "slow:10#a",
    "cutting": "fault:cut5",
}
"""Cheap deployments, each with a virtual model of its name with ``+``, over it and ``strong``."""

BETTER = "a better answer"


def _fleet(upstream: FakeServer) -> str:
    strong = f"say:{BETTER}"
    text = ""
    for name, model in {**DRAFTS, "strong": strong, "slow-strong": "slow:30#b"}.items():
        dollars = 20 if "strong" in name else 1
        text += (
            f'[[deployment]]\nname = "{name}"\nbase_url = "{upstream.base_url}"\n'
            f'upstream_model = "{model}"\ncapabilities = ["chat", "json", "logprobs", "tools"]\n'
            f"input_usd_per_million_tokens = {dollars}\n"
            f"output_usd_per_million_tokens = {dollars}\n"
        )
        right, kept = (0.95, "") if dollars > 1 else (0.8, "p_accept = 0.7\n")
        text += f'[[belief]]\ndeployment = "{name}"\np_correct = {right}\nevidence = 900\n{kept}'
        text += "p_correct_accepted = 0.97\n" if kept else ""
    for name in DRAFTS:
        text += f'[[virtual]]\nname = "{name}+"\nallowed = ["{name}", "strong"]\n'
    text += '[[virtual]]\nname = "race"\nallowed = ["creeping", "slow-strong"]\n'
    text += '[[virtual]]\nname = "shown"\nallowed = ["unsure", "strong"]\ndelivery = "replace"\n'
    return text + "[delivery]\nwindow_tokens = 4\nhedge_after_s = 0.02\nhedge_max_share = 1.0\n"


@pytest.fixture(scope="module")
def cascades(upstream: FakeServer) -> Iterator[Running]:
    """A gateway with a cascade for each draft."""
    with gateway_in_thread(config_for({}, more=_fleet(upstream))) as running:
        yield running


def ask(
    gateway: Running, model: str, delivery: str | None, *, path="chat/completions", **more: object
) -> tuple[int, list[Any], str]:
    """Return status, the JSON of all events in order, and the text of the body."""
    headers = {} if delivery is None else {"metabolic-delivery": delivery}
    body = {"model": model, "messages": HI, "stream": True, **more}
    with httpx.Client(base_url=gateway.base_url, timeout=20) as line:
        answer = line.post(f"/{path}", json=body, headers=headers)
    events = [
        json.loads(one[5:])
        for one in answer.text.split("\n")
        if one.startswith("data:") and "[DONE]" not in one
    ]
    return answer.status_code, events, answer.text


def said(events: list[Any]) -> list[str]:
    """Return the answers a client has seen, one for each that was not taken back before it."""
    texts = [""]
    for one in events:
        if one.get("metabolic", {}).get("replaced") is not None:
            texts.append("")
        for choice in one.get("choices", ()):
            texts[-1] += choice["delta"].get("content") or ""
    return texts


def runtime(gateway: Running) -> Any:
    return gateway.server.app.runtime


def receipt(gateway: Running, events: list[Any]) -> Any:
    return runtime(gateway).receipt(events[-1]["metabolic"]["decision"])


def test_a_replaced_draft_is_seen_and_then_taken_back_by_name(cascades: Running) -> None:
    status, events, text = ask(cascades, "unsure+", "replace")
    assert status == 200
    assert said(events) == [TEXT, BETTER]
    marker = next(one for one in events if one.get("metabolic", {}).get("replaced") is not None)
    assert marker["choices"] == []
    assert marker["object"] == "chat.completion.chunk"
    assert marker["metabolic"]["replaced"] == events[0]["id"] == marker["id"]
    assert events[-1]["metabolic"]["deployment"] == "strong"
    assert text.rstrip().endswith("data: [DONE]")
    # Only the last answer has an end: a client that stops at the first would miss the other.
    finishes = [c["finish_reason"] for one in events for c in one["choices"] if c["finish_reason"]]
    assert finishes == ["stop"]
    bill = receipt(cascades, events)
    assert [one.usage.output_tokens for one in bill.attempts] == [60, 3]
    assert bill.cost.tokens_usd == pytest.approx(sum(one.tokens_usd for one in bill.attempts))


def test_a_good_draft_is_not_taken_back(cascades: Running) -> None:
    _, events, _ = ask(cascades, "sure+", "replace")
    assert said(events) == [TEXT]
    assert events[-1]["metabolic"]["deployment"] == "sure"


def test_a_shown_draft_whose_upstream_dies_is_replaced(cascades: Running) -> None:
    status, events, text = ask(cascades, "cutting+", "replace")
    assert status == 200
    assert len(said(events)) == 2
    assert said(events)[1] == BETTER
    assert '"error"' not in text


def test_the_official_client_reads_a_stream_that_is_replaced(cascades: Running) -> None:
    with openai.OpenAI(base_url=cascades.base_url, api_key="none", max_retries=0) as client:
        chunks = client.chat.completions.create(
            model="shown", messages=HI, stream=True
        )  # a virtual model may ask for it, for clients that are known to understand
        texts = [""]
        for chunk in chunks:
            extra = getattr(chunk, "metabolic", None) or {}
            if "replaced" in extra:
                texts.append("")
            texts[-1] += "".join(one.delta.content or "" for one in chunk.choices)
    assert texts == [TEXT, BETTER]


def test_a_plain_client_gets_one_answer(cascades: Running) -> None:
    _, events, _ = ask(cascades, "unsure+", None)
    assert said(events) == [BETTER]


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("messages", {"max_tokens": 9}),
        ("responses", {"input": "Hi", "messages": None}),
        ("completions", {"prompt": "Hi"}),
    ],
)
def test_dialects_that_cannot_take_back_refuse_and_say_why(
    cascades: Running, upstream: FakeServer, path: str, more: dict[str, object]
) -> None:
    seen = len(upstream.seen)
    status, events, text = ask(cascades, "sure+", "replace", path=path, **more)
    assert status == 400
    assert "metabolic-delivery" in text
    assert "taken back" in text
    assert events == []
    assert len(upstream.seen) == seen


@pytest.mark.parametrize(
    ("path", "more"),
    [("messages", {"max_tokens": 99}), ("responses", {"input": "Hi", "messages": None})],
)
def test_a_default_that_a_dialect_cannot_carry_is_left_out(
    cascades: Running, path: str, more: dict[str, object]
) -> None:
    status, events, text = ask(cascades, "shown", None, path=path, **more)
    assert status == 200
    assert BETTER in "".join(
        one.get("delta", {}).get("text", "") if path == "messages" else str(one.get("delta", ""))
        for one in events
        if isinstance(one.get("delta", ""), str) or "text" in one.get("delta", {})
    )
    assert "word01" not in text


@pytest.mark.parametrize("path", ["messages", "responses", "chat/completions"])
@pytest.mark.parametrize("delivery", ["window", "hedge"])
def test_windows_and_hedges_work_in_every_dialect(
    cascades: Running, path: str, delivery: str
) -> None:
    more: dict[str, object] = {"max_tokens": 99} if path == "messages" else {}
    if path == "responses":
        more = {"input": "Hi", "messages": None}
    status, _, text = ask(cascades, "sure+", delivery, path=path, **more)
    assert status == 200
    assert text.count("word01") >= 1
    assert "better" not in text


def test_a_window_lets_a_sure_draft_out_before_it_is_whole(cascades: Running) -> None:
    body = {"model": "creeping+", "messages": HI, "stream": True}
    headers = {"metabolic-delivery": "window"}
    began_s = time.monotonic()
    with (
        httpx.Client(base_url=cascades.base_url, timeout=20) as client,
        client.stream("POST", "/chat/completions", json=body, headers=headers) as answer,
    ):
        lines = answer.iter_lines()
        first = next(lines)
        first_s = time.monotonic() - began_s
        rest = list(lines)
    assert first.startswith("data:")
    assert "[DONE]" in rest[-2:] or any("[DONE]" in one for one in rest)
    assert first_s < 0.5 * (time.monotonic() - began_s)  # 4 of 60 tokens, 10 ms each


def test_a_window_holds_a_draft_in_doubt_and_another_answers(cascades: Running) -> None:
    _, events, _ = ask(cascades, "unsure+", "window")
    assert said(events) == [BETTER]
    assert events[-1]["metabolic"]["escalations"] == 1


def test_a_window_of_json_is_held(cascades: Running) -> None:
    _, events, _ = ask(cascades, "sure+", "window", response_format={"type": "json_object"})
    record = runtime(cascades).receipt(events[-1]["metabolic"]["decision"])
    assert record.answer.deployment == "sure"
    decision = runtime(cascades).decision(record.id)
    assert decision.delivery == "hold"
    assert any("window: held" in one for one in decision.reasons)


def test_the_slower_of_two_is_cancelled_at_its_upstream_and_charged(
    cascades: Running, upstream: FakeServer
) -> None:
    gone = len(upstream.gone)
    _, events, _ = ask(cascades, "creeping+", "hedge")
    assert said(events) == [BETTER]
    bill = receipt(cascades, events)
    won, lost = sorted(bill.attempts, key=lambda one: one.failure is not None)
    assert (won.role, lost.role) == ("hedge", "answer")
    assert lost.failure.code == "lost"
    assert lost.usage.output_tokens is not None
    assert lost.tokens_usd > 0
    assert bill.cost.tokens_usd == pytest.approx(won.tokens_usd + lost.tokens_usd)
    end_s = time.monotonic() + 5
    while len(upstream.gone) == gone and time.monotonic() < end_s:
        time.sleep(0.001)
    assert upstream.gone[-1].model == "slow:10#a"


def test_a_hedge_of_an_answer_in_one_piece_is_charged_its_prompt_at_least(
    cascades: Running,
) -> None:
    with httpx.Client(base_url=cascades.base_url, timeout=20) as line:
        answer = line.post(
            "/chat/completions",
            json={"model": "creeping+", "messages": HI},
            headers={"metabolic-delivery": "hedge"},
        )
    assert answer.json()["choices"][0]["message"]["content"] == BETTER
    bill = runtime(cascades).receipt(answer.headers["metabolic-decision"])
    lost = next(one for one in bill.attempts if one.failure is not None)
    assert lost.tokens_usd > 0


def test_a_client_that_leaves_a_race_cancels_both_within_100_ms(
    cascades: Running, upstream: FakeServer
) -> None:
    for _ in range(5):
        seen, gone = len(upstream.seen), len(upstream.gone)
        body = json.dumps({"model": "race", "messages": HI, "stream": True}).encode()
        line = socket.create_connection(("127.0.0.1", cascades.port), timeout=10)
        head = "host: x\r\nmetabolic-delivery: hedge\r\n"
        length = f"content-length: {len(body)}\r\n\r\n"
        line.sendall(f"POST /v1/chat/completions HTTP/1.1\r\n{head}{length}".encode() + body)
        end_s = time.monotonic() + 5
        while len(upstream.seen) < seen + 2 and time.monotonic() < end_s:
            time.sleep(0.001)
        left_s = time.monotonic()
        line.close()
        while len(upstream.gone) < gone + 2 and time.monotonic() < end_s:
            time.sleep(0.0005)
        assert max(one.at_s for one in upstream.gone[-2:]) - left_s < 0.1


def test_every_record_of_these_folds_again_bit_for_bit(cascades: Running) -> None:
    found = verify(runtime(cascades)._ledger)
    assert found.checked > 10
    assert (found.differing, found.unreadable) == (0, 0)
    assert found.equal == found.checked
