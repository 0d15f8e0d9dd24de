"""Every example configuration is loaded as it stands, and routed through fakes of its engines."""

import contextlib
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import openai
import pytest

from metabolic.config import load, parse
from metabolic.testing.fakeanswers import TEXT
from metabolic.testing.fakeengines import FakeEngine
from metabolic.testing.fakeserver import FakeServer, serve_in_thread
from metabolic.testing.gateway import Running, gateway_in_thread

EXAMPLES = Path(__file__).parents[1] / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.toml"))
ROUTED = [name for name in NAMES if name != "quickstart"]
KEYS = {"OPENAI_API_KEY": "upstream-key", "ANTHROPIC_API_KEY": "upstream-key"}
TABLE = re.compile(r"^(?=\[)", re.MULTILINE)


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the keys that examples take from the environment."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("name", NAMES)
def test_it_loads_as_it_stands(name: str) -> None:
    config = load(EXAMPLES / f"{name}.toml")
    assert config.deployments or config.models.fleet != "none"


def test_the_fleets_people_have_are_all_there() -> None:
    assert {"laptop", "gpu-server", "mixed", "jetson", "kubernetes"} <= set(NAMES)


def over_fakes(text: str, stack: contextlib.ExitStack) -> str:
    """Return an example with each deployment's address replaced by that of a fake of its engine."""
    made: list[str] = []
    for table in TABLE.split(text):
        if table.startswith("[[deployment]]"):
            made.append(over_fake(table, stack))
        elif table.startswith("[server]"):
            without = re.sub(r"^port = .*\n", "", table, flags=re.MULTILINE)
            made.append(re.sub(r"^host = .*", "port = 0", without, flags=re.MULTILINE))
        elif not table.startswith("[ledger]"):
            made.append(table)
    if "[server]" not in text:
        made.append("[server]\nport = 0\n")
    return "\n".join([*made, '[ledger]\nkind = "memory"\n'])


def over_fake(table: str, stack: contextlib.ExitStack) -> str:
    """Return one deployment over a fake; a local model is a llama.cpp server somewhere."""
    if 'kind = "local"' in table:
        table = table.replace(
            'kind = "local"', 'kind = "server"\nengine = "llamacpp"\nbase_url = ""'
        )
        table = re.sub(r"^model = ", "upstream_model = ", table, flags=re.MULTILINE)
    engine = re.search(r'^engine = "(.+)"', table, flags=re.MULTILINE)
    name = "openai" if engine is None else engine[1]
    key = "upstream-key" if "api_key" in table else None
    make: Any = partial(FakeEngine, name, api_key=key)
    fake: FakeServer = stack.enter_context(serve_in_thread(make))
    return re.sub(r'^base_url = ".*"', f'base_url = "{fake.base_url}"', table, flags=re.MULTILINE)


@pytest.fixture(params=ROUTED)
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    """A gateway with an example's configuration, over fakes."""
    text = (EXAMPLES / f"{request.param}.toml").read_text("utf-8")
    with contextlib.ExitStack() as stack:
        changed = over_fakes(text, stack)
        assert [one.name for one in parse(changed, source="changed").deployments] == [
            one.name for one in load(EXAMPLES / f"{request.param}.toml").deployments
        ]
        yield stack.enter_context(gateway_in_thread(changed))


def test_it_is_routed_through(running: Running) -> None:
    config = running.server.app.runtime.config
    with openai.OpenAI(base_url=running.base_url, api_key="test", max_retries=0) as client:
        names, identity = [one.name for one in config.deployments], ""
        for model in [*names, "auto", *(one.name for one in config.virtuals)]:
            raw = client.chat.completions.with_raw_response.create(
                model=model,
                messages=[{"role": "user", "content": "What is the capital of France?"}],
            )
            assert raw.parse().choices[0].message.content == TEXT
            who = raw.headers["metabolic-deployment"]
            assert who == model if model in names else who in names
            identity = raw.headers["x-request-id"]
        receipt: Any = client.get(f"/receipts/{identity}", cast_to=object)
        assert receipt["usage"]["output_tokens"] > 0
