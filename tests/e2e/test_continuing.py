"""A stream whose deployment dies half-way: the client sees one answer, or an honest end."""

from collections.abc import Iterator
from typing import Any

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
