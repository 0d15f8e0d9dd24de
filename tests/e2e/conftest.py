"""One fake upstream and one real gateway over it, shared by the end-to-end tests."""

from collections.abc import Iterator

import openai
import pytest

from metabolic.testing.fakeserver import FakeServer, serve_in_thread
from metabolic.testing.gateway import Running, config_for, gateway_in_thread

HEALTHY = {"good": "fake", "thinker": "reason", "slow": "slow:20"}
FAULTY = {
    "good": "fake",
    "cut": "fault:cut5",
    "cut-too": "fault:cut5",
    "cut-held": "fault:cut5",
    "stalled": "fault:stall",
    "mid-stall": "fault:stall3",
    "busy": "fault:429",
    "busy-too": "fault:429",
    "refusing": "fault:422",
    "locked": "fault:401",
    "broken": "fault:500",
    "garbage": "fault:garbage",
    "flooding": "fault:flood",
}
"""Deployment → what its upstream does."""


@pytest.fixture
def anyio_backend() -> str:
    """Run async tests on asyncio."""
    return "asyncio"


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeServer]:
    """A fake OpenAI-compatible server whose models commit faults."""
    with serve_in_thread() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(upstream: FakeServer) -> Iterator[Running]:
    """A gateway over deployments that are well."""
    fleet = {name: (upstream.base_url, model) for name, model in HEALTHY.items()}
    more = '[[virtual]]\nname = "solid"\nallowed = ["good"]\n'
    with gateway_in_thread(config_for(fleet, more=more)) as running:
        yield running


@pytest.fixture(scope="module")
def faulty(upstream: FakeServer) -> Iterator[Running]:
    """A gateway with one deployment for each fault, and virtual models over some."""
    fleet = {name: (upstream.base_url, model) for name, model in FAULTY.items()}
    fleet["dead"] = ("http://127.0.0.1:9/v1", "none")
    more = (
        '[[virtual]]\nname = "shaky"\nallowed = ["dead", "good"]\n'
        '[[virtual]]\nname = "hopeless"\nallowed = ["dead", "broken"]\n'
    )
    with gateway_in_thread(config_for(fleet, more=more)) as running:
        yield running


@pytest.fixture
def client(gateway: Running) -> Iterator[openai.OpenAI]:
    """The official client, without retries of its own."""
    with openai.OpenAI(base_url=gateway.base_url, api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture
def faulty_client(faulty: Running) -> Iterator[openai.OpenAI]:
    """The official client of the faulty fleet, without retries of its own."""
    with openai.OpenAI(base_url=faulty.base_url, api_key="none", max_retries=0) as made:
        yield made
