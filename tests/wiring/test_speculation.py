"""Who drafts, as the configuration says; and what a whole runtime makes of it."""

import asyncio

import msgspec
import pytest
from msgspec.structs import replace

from metabolic.config import parse
from metabolic.core.attempt import Attempt, Call
from metabolic.core.decision import Decision, Speculation
from metabolic.core.errors import ConfigError
from metabolic.core.fleet import Load, Situation
from metabolic.core.metabolic import MetabolicState
from metabolic.core.request import Ask, Message, Request, Text, Usage
from metabolic.core.signals import Signals
from metabolic.core.speculation import Drafts
from metabolic.engines.store import ModelStore
from metabolic.execute.clock import RealClock
from metabolic.execute.health import Health
from metabolic.execute.snapshot import Snapshot
from metabolic.testing.fleets import fleet_of
from metabolic.wiring.building import build
from metabolic.wiring.fleet import assemble
from metabolic.wiring.speculation import Speculating
from metabolic.wiring.twins import launch_of

LOCAL = """
[speculation]
local = "{local}"
draft_model = "qwen2.5-coder-0.5b-instruct"
[[deployment]]
name = "small"
kind = "local"
model = "qwen2.5-coder-0.5b-instruct"
[[deployment]]
name = "large"
kind = "local"
model = "qwen2.5-coder-1.5b-instruct"
"""

SERVERS = """
[sense]
enabled = false
[ledger]
kind = "memory"
[capacity]
scrape_period_s = 0
[[deployment]]
name = "a"
kind = "server"
base_url = "http://127.0.0.1:9/v1"
backend = "fake"
[[deployment]]
name = "a-fast"
kind = "server"
base_url = "http://127.0.0.1:10/v1"
backend = "fake"
[deployment.speculation]
{speculation}
"""
LONE = """
[[deployment]]
name = "l"
kind = "local"
model = "smollm2-135m-instruct"
[deployment.speculation]
method = "{method}"
"""
TWIN = 'twin_of = "a"\nmethod = "eagle3"\ndraft_cost_ratio = 0.05'


def _request(number: int) -> Request:
    body = msgspec.json.encode({"model": "auto", "messages": [{"role": "user", "content": "hi"}]})
    return Request(
        id=f"r{number}",
        dialect="chat",
        model="auto",
        messages=(Message(role="user", content=(Text(text="hi"),)),),
        body=body,
    )


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.mark.parametrize(
    ("local", "names"),
    [
        ("off", ["large", "small"]),
        ("ngram", ["large", "large+ngram", "small", "small+ngram"]),
        ("draft", ["large", "large+draft", "small"]),
        ("both", ["large", "large+draft", "large+ngram", "small", "small+ngram"]),
    ],
)
def test_local_models_are_given_the_twins_asked_for(tmp_path, local, names):
    made = assemble(parse(LOCAL.format(local=local), source="t"), store=ModelStore(tmp_path))
    assert [one.name for one in made.fleet.deployments] == names
    by_name = {one.name: one for one in made.fleet.deployments}
    for name in names:
        drafter = by_name[name].drafting
        base, _, method = name.partition("+")
        assert (drafter is None) == (not method)
        if drafter is not None:
            assert (drafter.twin_of, drafter.method) == (base, method)
            assert (by_name[name].memory_bytes or 0) >= (by_name[base].memory_bytes or 1)


def test_a_draft_model_costs_its_memory_and_its_share_of_time(tmp_path):
    made = assemble(parse(LOCAL.format(local="draft"), source="t"), store=ModelStore(tmp_path))
    twin = next(one for one in made.locals if one.deployment.name == "large+draft")
    assert twin.deployment.drafting.draft_cost_ratio == pytest.approx(0.32, abs=0.01)
    assert twin.deployment.drafting.extra_bytes == 491_400_064
    launch = launch_of(twin, ModelStore(tmp_path))
    assert (launch.method, launch.num_speculative_tokens, launch.draft_path) == ("draft", 4, None)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[speculation]\nlocal = "draft"\n', "draft_model: is missing"),
        (SERVERS.format(speculation='twin_of = "b"'), '"b" is no other deployment'),
        (SERVERS.format(speculation='twin_of = "a-fast"'), "is no other deployment"),
        (
            SERVERS.format(speculation=TWIN).replace("/v1", "/v1", 1)
            + '[[deployment]]\nname = "c"\nbase_url = "http://h/v1"\n'
            + '[deployment.speculation]\ntwin_of = "a-fast"\n',
            '"a-fast" drafts itself',
        ),
        (
            LONE.format(method="eagle3"),
            'a local model drafts by "ngram" or "draft"',
        ),
        (
            LONE.format(method="draft"),
            "which model of the catalogue drafts",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(text, problem):
    with pytest.raises(ConfigError, match=problem):
        parse(text, source="t")


async def _decided(text: str) -> Decision:
    runtime = build(parse(text, source="t"))
    gone = asyncio.get_running_loop().create_future()
    try:
        made = await runtime.answer(
            _request(1), Ask(id="r1", at_s=1.0, input_tokens=3), sink=None, gone=gone
        )
    finally:
        await runtime.aclose(drain_s=0.0)
    assert made.record.attempts[0].call.deployment == made.record.decision.stages[0].deployment
    return made.record.decision


@pytest.mark.anyio
async def test_a_server_with_a_twin_is_decided_and_answered_as_one_model():
    made = await _decided(SERVERS.format(speculation=TWIN))
    assert made.speculation is not None
    assert made.speculation.deployment == "a-fast"
    assert (made.stages[0].deployment == "a-fast") == made.speculation.wanted
    rule = '[speculation]\nrule = "off"\n'
    off = await _decided(rule + SERVERS.format(speculation=TWIN))
    assert [one.deployment for one in off.stages] == ["a"]


class _Keeper:
    """Stands where the keeper of local engines does."""

    def __init__(self, state="stopped"):
        self.state, self.started = state, []

    def states(self):
        return (("large+draft", self.state),)

    async def ensure(self, name):
        self.started.append(name)


def _speculating(tmp_path, keeper):
    made = assemble(parse(LOCAL.format(local="draft"), source="t"), store=ModelStore(tmp_path))
    state = MetabolicState(level="nominal", memory_available_bytes=16e9)
    clock = RealClock()
    snapshot = Snapshot(made.fleet, clock=clock, health=Health(clock), states=keeper.states)
    snapshot.see(state)
    return Speculating(snapshot, keeper, clock=clock, reserve_bytes=10**9)


def _attempt(name, drafts, tokens=200):
    return Attempt(
        call=Call(id="c0", stage=0, deployment=name),
        began_s=0.0,
        ended_s=1.0,
        usage=Usage(output_tokens=tokens),
        drafts=drafts,
    )


WISH = Decision(
    stages=(), speculation=Speculation(wanted=True, deployment="large+draft", gain_ratio=1.8)
)
ASK, SIGNALS = Ask(id="a", at_s=0.0, input_tokens=5), Signals(task="rewrite")


@pytest.mark.anyio
async def test_a_local_twin_starts_when_what_it_would_save_pays_for_its_memory(tmp_path):
    keeper = _Keeper()
    speculating = _speculating(tmp_path, keeper)
    speculating.saw((_attempt("large", None, 20),), WISH, _request(1), ASK, SIGNALS)
    assert await speculating.turn() is None
    for _ in range(40):
        speculating.saw((_attempt("large", None),), WISH, _request(1), ASK, SIGNALS)
    assert await speculating.turn() == "large+draft"
    assert keeper.started == ["large+draft"]


@pytest.mark.anyio
async def test_one_that_runs_is_not_started_again(tmp_path):
    keeper = _Keeper("warm")
    speculating = _speculating(tmp_path, keeper)
    for _ in range(40):
        speculating.saw((_attempt("large", None),), WISH, _request(1), ASK, SIGNALS)
    assert await speculating.turn() is None
    assert keeper.started == []


def test_what_an_engine_reports_reaches_the_next_decision(tmp_path):
    speculating = _speculating(tmp_path, _Keeper())
    loads = (Load(deployment="large"), Load(deployment="large+draft"))
    situation = Situation(at_s=0.0, metabolic=MetabolicState(), fleet=fleet_of(), load=loads)
    drafts = Drafts(drafted_tokens=300, accepted_tokens=140, decode_s=9.0)
    failed = replace(_attempt("large+draft", drafts), usage=Usage())
    speculating.saw((failed,), WISH, _request(1), ASK, SIGNALS)
    assert speculating.see(situation, _request(2), ASK, SIGNALS).load[1].drafting is None
    speculating.saw((_attempt("large+draft", drafts),), WISH, _request(1), ASK, SIGNALS)
    seen = speculating.see(situation, _request(2), ASK, SIGNALS)
    assert seen.load[0].drafting is None
    before = seen.load[1].drafting
    assert before.key == "rewrite warm short"
    speculating.saw((_attempt("large+draft", None),), WISH, _request(1), ASK, SIGNALS)
    after = speculating.see(situation, _request(2), ASK, SIGNALS).load[1].drafting
    assert after.accepted_ratio < before.accepted_ratio  # it says nothing: it drafted nothing
