"""A model asked to judge: only about gated drafts, and a silent one opens no gate."""

import asyncio

import pytest

from metabolic import plugins
from metabolic.config import AdapterTable, Config, RoutingTable
from metabolic.core.attempt import Attempt, Call, Reply, ReplyChoice, Verdict
from metabolic.core.errors import ConfigError
from metabolic.core.request import Message, Request, Text
from metabolic.testing.fakeserver import FakeServer, serve_in_thread
from metabolic.testing.validators import check_validator
from metabolic.wiring.checking import checking_of

REQUEST = Request(
    id="r",
    dialect="chat",
    model="auto",
    messages=(Message(role="user", content=(Text(text="Is 17 prime?"),)),),
)
REPLY = Reply(choices=(ReplyChoice(text="Yes.", finish_reason="stop"),))
NOWHERE = "http://127.0.0.1:9/v1"


def verdict(base_url: str, *, gated: bool = True) -> Verdict:
    judge = plugins.validator("judge", {"base_url": base_url, "model": "m", "timeout_s": 5.0})
    call = Call(id="c0", stage=0, deployment="d", logprobs=gated)
    attempt = Attempt(call=call, began_s=0.0, ended_s=1.0)
    return asyncio.run(judge.check(REQUEST, attempt, REPLY))


@pytest.mark.parametrize(("said", "confidence"), [("85", 0.85), ("0", 0.0), ("I cannot say", 0.0)])
def test_its_number_is_the_confidence(said: str, confidence: float) -> None:
    with serve_in_thread(lambda: FakeServer(answers={"m": said}, models=("m",))) as server:
        found = verdict(server.base_url)
    assert (found.confidence, found.validator) == (confidence, "judge")
    assert bool(found.reasons) == (said == "I cannot say")


def test_a_judge_that_is_away_opens_no_gate() -> None:
    found = verdict(NOWHERE)
    assert (found.confidence, found.reasons) == (0.0, ("judge: no answer",))
    assert found.well_formed


def test_what_is_given_anyway_is_not_judged() -> None:
    assert verdict(NOWHERE, gated=False) == Verdict(well_formed=True, validator="judge")


def test_it_keeps_the_contract_of_its_seam() -> None:
    judge = plugins.validator("judge", {"base_url": NOWHERE, "model": "m"})
    asyncio.run(check_validator(judge))


def test_its_price_is_known_before_it_is_asked_and_only_of_gated_drafts() -> None:
    options = {
        "base_url": NOWHERE,
        "model": "m",
        "api_key": "k",
        "input_usd_per_million_tokens": 1.0,
        "output_usd_per_million_tokens": 10.0,
        "seconds": 0.5,
    }
    table = AdapterTable(kind="judge", options=options)
    found = checking_of(Config(routing=RoutingTable(validators=(table,))))
    assert (found.usd, found.gate_wait_s) == (0.0, 0.5)
    assert found.gate_usd == pytest.approx(440e-6)


def test_an_address_that_is_none_is_refused_and_no_key_is_shown() -> None:
    with pytest.raises(ConfigError, match="base_url"):
        plugins.validator("judge", {"base_url": "ftp://x", "model": "m"})
    module = plugins.load("validators", "judge")
    shown = repr(module.Options(base_url=NOWHERE, model="m", api_key="secret"))
    assert "secret" not in shown
