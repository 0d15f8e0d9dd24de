"""The line on a real engine and a real model, with the official client.

Two deployments of the smallest model, so that one can die while the other answers.
"""

import concurrent.futures
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from metabolic.testing.gateway import Running, gateway_in_thread

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

HI: list[Any] = [{"role": "user", "content": "Say hello to Anna in one short sentence."}]
MODEL = "smollm2-135m-instruct"
CONFIG = """
[server]
port = 0
[models]
dir = "{folder}"
[ledger]
kind = "memory"
[engines]
threads = 1
context_tokens = 1024
[[deployment]]
name = "first"
kind = "local"
model = "{model}"
[[deployment]]
name = "second"
kind = "local"
model = "{model}"
"""


@pytest.fixture(scope="module")
def line(real_models: dict[str, Path]) -> Iterator[Running]:
    """A gateway over two real engines, both up."""
    folder = real_models[MODEL].parent
    with gateway_in_thread(CONFIG.format(folder=folder, model=MODEL)) as running:
        wait(lambda: set(states(running).values()) == {"warm"}, running)
        yield running


@pytest.fixture
def client(line: Running) -> Iterator[openai.OpenAI]:
    """The official client, without retries of its own."""
    with openai.OpenAI(base_url=line.base_url, api_key="x", max_retries=0, timeout=120) as made:
        yield made


def states(running: Running) -> dict[str, str]:
    """Return each deployment's state."""
    return {load.deployment: load.state for load in running.server.app.runtime.loads()}


def pids(running: Running) -> dict[str, int]:
    """Return the engines' processes."""
    runtime: Any = running.server.app.runtime
    return {info.deployment: info.pid for info in runtime._local.info() if info.pid}


def wait(condition: Any, running: Running, *, limit_s: float = 120.0) -> None:
    """Wait until a condition holds."""
    end_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end_s, states(running)
        time.sleep(0.02)


def ask(running: Running, model: str = "auto", **more: Any) -> Any:
    """Ask with a client of its own, so that threads share nothing."""
    with openai.OpenAI(
        base_url=running.base_url, api_key="x", max_retries=0, timeout=120
    ) as client:
        return client.chat.completions.create(
            model=model, messages=HI, max_tokens=16, temperature=0, **more
        )


@pytest.mark.parametrize("model", ["auto", "first"])
def test_a_real_answer_has_a_receipt(client: openai.OpenAI, line: Running, model: str) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model=model, messages=HI, max_tokens=24, temperature=0
    )
    answer = raw.parse()
    assert answer.choices[0].message.content
    assert answer.choices[0].logprobs is None
    assert answer.usage is not None
    assert 0 < answer.usage.completion_tokens <= 24
    assert raw.headers["metabolic-deployment"] in {"first", "second"}
    assert float(raw.headers["metabolic-energy-j"]) > 0
    assert raw.headers["metabolic-energy-origin"] in {"measured", "derived", "modelled"}
    receipt: Any = client.get(f"/receipts/{raw.headers['metabolic-decision']}", cast_to=object)
    assert receipt["energy"]["low_j"] <= receipt["energy"]["energy_j"]
    assert receipt["usage"]["output_tokens"] == answer.usage.completion_tokens
    assert line.server.app.inference.in_flight == 0


@pytest.mark.parametrize("delivery", ["hold", "stream"])
def test_a_real_stream(client: openai.OpenAI, delivery: str) -> None:
    stream = client.chat.completions.create(
        model="first",
        messages=HI,
        max_tokens=16,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
        extra_headers={"metabolic-delivery": delivery},
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text
    assert chunks[-1].usage is not None
    told: Any = (chunks[-1].model_extra or {})["metabolic"]
    assert told["deployment"] == "first"


def test_the_same_text_streamed_and_whole(client: openai.OpenAI) -> None:
    def text(*, stream: bool) -> str:
        answer: Any = client.chat.completions.create(
            model="second", messages=HI, max_tokens=16, temperature=0, seed=1, stream=stream
        )
        if stream:
            return "".join(chunk.choices[0].delta.content or "" for chunk in answer)
        return answer.choices[0].message.content

    assert text(stream=True) == text(stream=False)


def test_a_stream_whose_engine_is_killed_is_gone_on_with(line: Running) -> None:
    """Greedily: what the client reads is what it would have read."""
    wait(lambda: set(states(line).values()) == {"warm"}, line)
    prompt: Any = [{"role": "user", "content": "Write a long story about a cat and a dog."}]

    def stream(made: openai.OpenAI, model: str) -> Any:
        return made.chat.completions.create(
            model=model,
            messages=prompt,
            max_tokens=150,
            temperature=0,
            stream=True,
            extra_headers={"metabolic-delivery": "stream"},
        )

    with openai.OpenAI(base_url=line.base_url, api_key="x", max_retries=0, timeout=120) as made:
        whole = "".join(one.choices[0].delta.content or "" for one in stream(made, "first"))
        chunks, victim = [], ""
        for chunk in stream(made, "auto"):
            chunks.append(chunk)
            if len(chunks) == 5:
                loads = line.server.app.runtime.loads()
                victim = next(one.deployment for one in loads if one.running)
                os.kill(pids(line)[victim], signal.SIGKILL)
    text = "".join(one.choices[0].delta.content or "" for one in chunks)
    told: Any = (chunks[-1].model_extra or {})["metabolic"]
    assert text == whole
    assert told["continued"] is True
    assert victim
    assert told["deployment"] != victim
    assert len({one.id for one in chunks}) == 1
    wait(lambda: set(states(line).values()) == {"warm"}, line)


def test_an_engine_killed_under_load_costs_no_answer(line: Running) -> None:
    wait(lambda: set(states(line).values()) == {"warm"}, line)
    victim = pids(line)["first"]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(ask, line) for _ in range(24)]
        wait(lambda: any(load.running for load in line.server.app.runtime.loads()), line)
        os.kill(victim, signal.SIGKILL)
        for answer in answers:
            assert answer.result().choices[0].message.content
    wait(lambda: set(states(line).values()) == {"warm"}, line)
    assert pids(line)["first"] != victim
    assert ask(line, "first").choices


def test_with_every_engine_killed_the_gateway_answers_or_says_why(line: Running) -> None:
    wait(lambda: set(states(line).values()) == {"warm"}, line)
    before = pids(line)
    for pid in before.values():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    status, said = 200, None
    try:
        said = ask(line).choices[0].message.content
    except openai.APIStatusError as error:
        status, said = error.status_code, error.body
    assert status in {200, 502, 503, 504}
    assert said
    wait(lambda: set(states(line).values()) == {"warm"}, line)
    assert ask(line).choices[0].message.content


def test_nothing_of_the_engines_is_left_when_the_gateway_stops(
    real_models: dict[str, Path],
) -> None:
    folder = real_models[MODEL].parent
    with gateway_in_thread(CONFIG.format(folder=folder, model=MODEL)) as running:
        wait(lambda: "warm" in states(running).values(), running)
        ended = list(pids(running).values())
    for pid in ended:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
