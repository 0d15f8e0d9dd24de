"""What the configured validators take is known before any is made."""

import asyncio
import types

import msgspec
import pytest

from metabolic import plugins
from metabolic.config import AdapterTable, Config, RoutingTable, parse
from metabolic.core.errors import ConfigError
from metabolic.core.receipt import Receipt
from metabolic.core.request import Ask, Message, Request, Text
from metabolic.validate.grounding import GroundingValidator
from metabolic.wiring import build
from metabolic.wiring.checking import checking_of


def config(*tables: AdapterTable) -> Config:
    return Config(routing=RoutingTable(validators=tables))


def table(kind: str, **options: object) -> AdapterTable:
    return AdapterTable(kind=kind, options=options)


def test_every_validator_that_comes_along_says_what_it_takes() -> None:
    found = checking_of(config(*(table(kind) for kind in ("shape", "confidence", "content"))))
    assert [one.name for one in found.parts] == ["shape", "confidence", "content"]
    assert found.cpu_s == pytest.approx(20e-6 + 5e-6 + 3e-4)
    assert found.unknown == ()


def test_a_model_that_reads_claims_costs_more_than_words() -> None:
    words = checking_of(config(table("grounding")))
    model = checking_of(config(table("grounding", nli="/nowhere")))
    assert words.cpu_s == GroundingValidator.cost_s
    assert model.cpu_s > 10 * words.cpu_s


def test_a_stranger_that_says_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = types.SimpleNamespace(Options=object, create=lambda _: None)
    monkeypatch.setattr(plugins, "load", lambda _group, _kind: silent)
    found = checking_of(config(table("mine")))
    assert (found.cpu_s, found.unknown) == (0.0, ("mine",))


def test_an_option_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="content"):
        checking_of(config(table("content", nonsense=1)))


# --- a whole runtime --------------------------------------------------------------------------

RUNTIME = """
[ledger]
kind = "memory"

[routing]
validators = ["shape", "confidence", "content"]

[[deployment]]
name = "a"
kind = "pool"
base_url = "http://127.0.0.1:9/v1"
backend = "fake"
"""


def test_a_receipt_says_what_checking_the_draft_took() -> None:
    async def answered() -> Receipt:
        runtime = build(parse(RUNTIME, source="t"))
        body = msgspec.json.encode(
            {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
        )
        request = Request(
            id="r",
            dialect="chat",
            model="auto",
            messages=(Message(role="user", content=(Text(text="hi"),)),),
            body=body,
        )
        made = await runtime.answer(
            request,
            Ask(id="r", at_s=0.0, input_tokens=5),
            sink=None,
            gone=asyncio.get_running_loop().create_future(),
        )
        await runtime.aclose(drain_s=0.0)
        assert made.record is not None
        return made.record.receipt

    receipt = asyncio.run(answered())
    assert receipt.checks is not None
    assert receipt.checks.drafts == 1
    assert receipt.checks.cpu_s == pytest.approx(325e-6)
    assert receipt.cost.checks_usd == receipt.checks.usd > 0
