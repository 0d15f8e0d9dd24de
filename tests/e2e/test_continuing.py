"""A stream whose deployment dies half-way: the client sees one answer, or an honest end."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from metabolic.testing.fakeserver import FakeServer, serve_in_thread
from metabolic.testing.gateway import Running, config_for, gateway_in_thread

HI: list[Any] = [{"role": "user", "content": "Hi there"}]
STREAM = {"metabolic-delivery": "stream"}
TEXT = "Grüße an 東京 🎉🎉 und\n\n  Ελλάδα:  ein Wort , zwei\tWörter 🇩🇪\nEnde .\n"
"""White space of all kinds, and characters of two, three and four bytes."""

MORE = """
[routing]
stall_timeout_s = 0.3
"""


class Server(FakeServer):
    """Says the same whatever its model is named."""

    def says(self, model: str) -> tuple[str, float]:
        return TEXT, -0.05


@pytest.fixture(scope="module")
def upstream() -> Iterator[Server]:
    with serve_in_thread(Server) as server:
        assert isinstance(server, Server)
        yield server


def _gateway(upstream: Server, models: list[str], *, engine: str, more: str = MORE) -> Any:
    fleet = {f"one{number}": (upstream.base_url, model) for number, model in enumerate(models)}
    text = config_for(fleet, more=more)
    return gateway_in_thread(text.replace("upstream_model", f'engine = "{engine}"\nupstream_model'))


def _read(gateway: Running, model: str, **more: Any) -> tuple[str, list[Any]]:
    """Return the text and the chunks of a streamed answer."""
    with openai.OpenAI(base_url=gateway.base_url, api_key="x", max_retries=0) as client:
        chunks = list(
            client.chat.completions.create(
                model=model, messages=HI, stream=True, extra_headers=STREAM, **more
            )
        )
    text = "".join(one.choices[0].delta.content or "" for one in chunks if one.choices)
    return text, chunks


def test_a_stream_cut_anywhere_is_one_answer(upstream: Server) -> None:
    """At every 61st byte: inside heads, white space and characters of several bytes."""
    cuts = list(range(200, 3400, 61))
    models = [f"fault:cutbytes{count}-once" for count in cuts]
    with _gateway(upstream, models, engine="vllm") as gateway:
        gone_on = 0
        for number in range(len(cuts)):
            name = f"one{number}"
            try:
                text, chunks = _read(gateway, name, stream_options={"include_usage": True})
            except openai.APIError:
                continue  # nothing had been said yet
            assert text == TEXT
            assert len({(one.id, one.created) for one in chunks}) == 1
            assert [one.choices[0].finish_reason for one in chunks if one.choices][-1] == "stop"
            roles = [one.choices[0].delta.role for one in chunks if one.choices]
            assert roles.count("assistant") == 1
            usage = chunks[-1].usage
            assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
            gone_on += chunks[-1].metabolic.get("continued", False)
    assert gone_on > len(cuts) / 2


def test_every_dialect_of_clients_sees_one_answer(upstream: Server) -> None:
    models = [f"fault:cut7-once#d{number}" for number in range(3)]
    with _gateway(upstream, models, engine="vllm") as gateway:
        with openai.OpenAI(base_url=gateway.base_url, api_key="x", max_retries=0) as client:
            events = list(
                client.responses.create(model="one0", input="Hi", stream=True, extra_headers=STREAM)
            )
            words = list(
                client.completions.create(
                    model="one1", prompt="Once upon", stream=True, extra_headers=STREAM
                )
            )
        address = gateway.base_url.removesuffix("/v1")
        with (
            anthropic.Anthropic(base_url=address, api_key="x", max_retries=0) as claude,
            claude.messages.stream(
                model="one2", messages=HI, max_tokens=64, extra_headers=STREAM
            ) as stream,
        ):
            said = "".join(stream.text_stream)
    assert "".join(one.delta for one in events if one.type == "response.output_text.delta") == TEXT
    assert events[-1].type == "response.completed"
    assert "".join(one.choices[0].text for one in words if one.choices) == TEXT
    assert said == TEXT


def test_a_limit_on_tokens_holds_over_both_calls(upstream: Server) -> None:
    with _gateway(upstream, ["fault:cut6-once#limit"], engine="vllm") as gateway:
        text, chunks = _read(gateway, "one0", max_tokens=9)
    assert chunks[-1].choices[0].finish_reason == "length"
    assert TEXT.startswith(text)
    assert len(text.split()) in {8, 9}  # white space that is written again is a token here
    asked = [json.loads(one.body) for one in upstream.seen if one.model.endswith("#limit")]
    assert [one["max_tokens"] for one in asked] == [9, 4]


@pytest.mark.parametrize(
    ("engine", "model", "more"),
    [
        ("openai", "fault:cut7-once#a", MORE),
        ("vllm", "fault:cut7#b", MORE),
        ("vllm", "fault:cut7-once#c", MORE + "continuation = false\n"),
    ],
)
def test_otherwise_the_stream_ends_honestly(
    upstream: Server, engine: str, model: str, more: str
) -> None:
    asked = len(upstream.seen)
    with _gateway(upstream, [model], engine=engine, more=more) as gateway:
        with pytest.raises(openai.APIError):
            _read(gateway, "one0")
        assert gateway.server.app.inference.in_flight == 0
    posts = [one for one in upstream.seen[asked:] if one.method == "POST"]
    assert len(posts) == (2 if model == "fault:cut7#b" else 1)


def test_a_stall_is_gone_on_with_and_both_calls_are_billed(upstream: Server) -> None:
    with _gateway(upstream, ["fault:stall9-once#s"], engine="vllm") as gateway:
        text, chunks = _read(gateway, "one0")
        told: Any = (chunks[-1].model_extra or {})["metabolic"]
        with openai.OpenAI(base_url=gateway.base_url, api_key="x") as client:
            receipt: Any = client.get(f"/receipts/{told['decision']}", cast_to=object)
            metrics = client._client.get(gateway.base_url.removesuffix("/v1") + "/metrics").text
    assert text == TEXT
    first, second = receipt["attempts"]
    assert first["failure"]["kind"] == "timed_out"
    assert first["usage"]["output_tokens"] == 8
    assert second["role"] == "continued"
    assert (
        'metabolic_attempts_total{deployment="one0",outcome="ok",role="continued"} 1.0' in metrics
    )
