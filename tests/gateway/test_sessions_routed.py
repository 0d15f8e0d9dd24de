"""Sessions through the gateway: between tool results nobody switches, a warm home is kept."""

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from metabolic.decide.variants import key_of
from metabolic.testing.fakeserver import serve_in_thread
from metabolic.testing.gateway import Running, config_for, gateway_in_thread

PRICES = (
    "input_usd_per_million_tokens = {usd}\noutput_usd_per_million_tokens = {out}\n"
    "cached_usd_per_million_tokens = {cached}\n"
)
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
BELIEFS = """
[[belief]]
deployment = "cheap"
lane = "*"
p_correct = 0.80
evidence = 5000
[[belief]]
deployment = "dear"
lane = "*"
p_correct = 0.82
evidence = 5000
"""


def text_of(base_url: str) -> str:
    """Return a cheap deployment with a variant, and a dear one that is a little better."""
    made = config_for({"cheap": (base_url, "cheap"), "dear": (base_url, "dear")})
    head, cheap, dear = made.split("[[deployment]]")
    cheap += PRICES.format(usd=1, out=4, cached=0.1)
    cheap += '[[deployment.variants]]\nname = "low"\nreasoning_effort = "low"\n'
    dear += PRICES.format(usd=1.4, out=5.6, cached=0.14)
    return f"{head}[[deployment]]{cheap}[[deployment]]{dear}{BELIEFS}"


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with serve_in_thread() as up, gateway_in_thread(text_of(up.base_url)) as made:
        yield made


def turn(running: Running, messages: list[dict[str, Any]], **headers: str) -> Any:
    """Send a turn; return the answer's message, its decision, and who gave it."""
    body: dict[str, Any] = {"model": "auto", "messages": messages, "tools": TOOLS}
    made = urllib.request.Request(  # noqa: S310 - loopback
        f"{running.base_url}/chat/completions",
        json.dumps(body).encode(),
        {"content-type": "application/json"} | headers,
    )
    with urllib.request.urlopen(made, timeout=10) as got:  # noqa: S310 - loopback
        message = json.loads(got.read())["choices"][0]["message"]
        identity = got.headers["x-request-id"]
    runtime: Any = running.server.app.runtime
    receipt = runtime.receipt(identity)
    (gave,) = [one for one in receipt.attempts if one.call == receipt.answer.call]
    return message, runtime.decision(identity), key_of(gave.deployment, gave.variant)


@pytest.mark.parametrize("first", ["quality", "thrift"])
def test_between_tool_results_it_does_not_switch(running, first):
    asked = [{"role": "user", "content": "Please look it up."}]
    message, _, who = turn(running, asked, **{"metabolic-preference": first})
    assert message["tool_calls"]
    other = {"quality": "thrift", "thrift": "quality"}[first]
    asked += [message, {"role": "tool", "tool_call_id": "call_1", "content": "42"}]
    for _ in range(3):  # now the opposite is asked for, and still nobody switches
        message, decision, again = turn(running, asked, **{"metabolic-preference": other})
        assert again == who
        assert decision.abstained == "a tool result goes back to its model"
    plain = [{"role": "user", "content": "Please look it up."}]
    assert turn(running, plain, **{"metabolic-preference": other})[2] != who


def test_a_session_stays_where_its_cache_is_warm(running):
    long = "Consider this. " * 400
    asked = [{"role": "user", "content": long}]
    session = {"metabolic-session": "s1"}
    _, _, home = turn(running, asked, **session, **{"metabolic-preference": "quality"})
    assert home == "dear"
    asked += [{"role": "assistant", "content": "Yes."}, {"role": "user", "content": "And now?"}]
    stayed = turn(running, asked, **session, **{"metabolic-preference": "thrift"})[2]
    assert stayed == home
    fresh = turn(running, asked, **{"metabolic-preference": "thrift"})[2]
    assert fresh.startswith("cheap")
