"""A small fleet over a fake upstream, with traffic for it: to see the gateway's page at work.

Four tiers with prices and beliefs, so that some tasks stay on this machine, some go to a cheap
API, some drafts are set aside, and what is hard goes to the large model.
"""

__all__ = ["BLIND", "PROMPTS", "READS", "ask", "showcase"]

import json
import urllib.request
from typing import Any

_FLEET = """
[server]
port = 0
[models]
fleet = "none"
[ledger]
{ledger}
[profile]
name = "edge"
preference = 1.0
{more}
{sense}

[[deployment]]
name = "tiny-135m"
kind = "pool"
base_url = "{url}"
upstream_model = "doubt:tiny"
tier = "tiny"
active_parameters = 135_000_000
device = "cpu"
active_w = 9.0
prefill_tokens_per_s = 1500
decode_tokens_per_s = 120
capabilities = ["chat", "logprobs", "json"]

[[deployment]]
name = "edge-1b"
kind = "pool"
base_url = "{url}"
upstream_model = "edge"
tier = "small"
active_parameters = 1_000_000_000
device = "cpu"
active_w = 18.0
prefill_tokens_per_s = 400
decode_tokens_per_s = 30
capabilities = ["chat", "logprobs", "json"]

[[deployment]]
name = "mini"
base_url = "{url}"
upstream_model = "mini"
tier = "medium"
capabilities = ["chat", "tools", "json", "json_schema", "logprobs"]
input_usd_per_million_tokens = 0.15
cached_usd_per_million_tokens = 0.075
output_usd_per_million_tokens = 0.60

[[deployment]]
name = "full"
base_url = "{url}"
upstream_model = "full"
tier = "large"
capabilities = ["chat", "tools", "json", "json_schema", "vision", "logprobs"]
input_usd_per_million_tokens = 2.50
cached_usd_per_million_tokens = 1.25
output_usd_per_million_tokens = 10.00

[[belief]]
deployment = "tiny-135m"
p_correct = 0.3
evidence = 400
[[belief]]
deployment = "tiny-135m"
lane = "summarization"
p_correct = 0.87
p_accept = 0.95
p_correct_accepted = 0.95
evidence = 400
[[belief]]
deployment = "edge-1b"
p_correct = 0.5
evidence = 400
[[belief]]
deployment = "edge-1b"
lane = "classification"
p_correct = 0.89
p_accept = 0.95
p_correct_accepted = 0.95
evidence = 400
[[belief]]
deployment = "edge-1b"
lane = "extraction"
p_correct = 0.89
evidence = 400
[[belief]]
deployment = "mini"
p_correct = 0.86
evidence = 400
[[belief]]
deployment = "mini"
lane = "code_generation"
p_correct = 0.6
evidence = 400
[[belief]]
deployment = "full"
p_correct = 0.9
evidence = 400
"""

READS = """[[sensor]]
kind = "fake"
temperature_c = 71.5
limit_c = 95.0
power_w = 41.0
power_limit_w = 65.0
utilization_ratio = 0.34
memory_total_bytes = 34_359_738_368
memory_available_bytes = 21_474_836_480
"""
"""A machine that reads everything."""

BLIND = "[sense]\nenabled = false\n"
"""A machine that reads nothing."""

PROMPTS = (
    "Is 17 prime?",
    "Summarise the following report in three sentences: sales rose, costs fell.",
    "Extract the invoice number as JSON from: Invoice 2231, 14 May.",
    "Write a Python function that merges two sorted lists, with tests.",
    "Prove that there are infinitely many primes, step by step, then discuss the twin primes.",
    "Classify the sentiment: I waited an hour and the soup was cold.",
)
"""One of several task types."""


def showcase(
    url: str, *, sense: str = READS, more: str = "", ledger: str = 'kind = "memory"'
) -> str:
    """Return the configuration of the fleet over the upstream at ``url``; the rest is TOML."""
    return _FLEET.format(url=url, sense=sense, more=more, ledger=ledger)


def ask(base_url: str, text: str, **headers: str) -> dict[str, Any]:
    """Ask the gateway at ``base_url`` as a client would; ``a_b`` is sent as the header ``a-b``."""
    body = {"model": "auto", "messages": [{"role": "user", "content": text}]}
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(  # noqa: S310 - loopback
        f"{base_url}/chat/completions",
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json"} | fields,
    )
    with urllib.request.urlopen(request, timeout=20) as got:  # noqa: S310 - loopback
        return json.load(got)
