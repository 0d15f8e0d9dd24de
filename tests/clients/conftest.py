"""One gateway over a fake of every engine, each pinned by its engine's name."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from metabolic.backends.traits import NAMES
from metabolic.testing.fakeengines import FakeEngine
from metabolic.testing.fakeserver import serve_in_thread
from metabolic.testing.gateway import Running, config_for, gateway_in_thread

_CAPABILITIES = '["chat", "json", "json_schema", "logprobs", "tools", "vision"]'


@pytest.fixture(scope="session")
def engines() -> Iterator[dict[str, FakeEngine]]:
    """A fake of every engine, listening."""
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(serve_in_thread(_maker(name)))  # type: ignore[misc]
            for name in NAMES
        }


def _maker(name: str) -> Callable[[], Any]:
    return partial(FakeEngine, name, api_key="upstream-key")


@pytest.fixture(scope="session")
def gateway(engines: dict[str, FakeEngine]) -> Iterator[Running]:
    """A gateway over all of them, and two that break off."""
    more = ""
    broken = {"anthropic-cut": "anthropic", "vllm-cut": "vllm", "vllm-busy": "vllm"}
    models = {"anthropic-cut": "fault:cut5", "vllm-cut": "fault:cut5", "vllm-busy": "fault:429"}
    for name, engine in {**{name: name for name in NAMES}, **broken}.items():
        more += (
            f'[[deployment]]\nname = "{name}"\nengine = "{engine}"\n'
            f'base_url = "{engines[engine].base_url}"\n'
            f'upstream_model = "{models.get(name, "m")}"\napi_key = "env:UPSTREAM_KEY"\n'
            f"capabilities = {_CAPABILITIES}\n"
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UPSTREAM_KEY", "upstream-key")
        with gateway_in_thread(config_for({}, more=more)) as running:
            yield running


@pytest.fixture(params=NAMES)
def engine(request: pytest.FixtureRequest) -> str:
    """The name of each engine in turn, which is also its deployment's."""
    return str(request.param)
