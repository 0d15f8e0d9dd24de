"""What drafting has done so far, by kind of answer."""

import pytest
from msgspec.structs import replace

from metabolic.core.fleet import Deployment, Load
from metabolic.core.speculation import Drafter, Drafting, Drafts
from metabolic.execute.scrape_read import Observed, metrics
from metabolic.execute.speculation import Drafted, counted
from metabolic.testing.fleets import deployment

BASE = deployment("m", decode_tokens_per_s=12.0)
NGRAM = replace(
    BASE,
    name="m+ngram",
    drafting=Drafter(method="ngram", twin_of="m", num_speculative_tokens=48, reports=True),
)
HIT = Drafts(drafted_tokens=50, accepted_tokens=48, decode_s=2.0)
MISS = Drafts(drafted_tokens=0, accepted_tokens=0)


def _drafted(*fleet: Deployment) -> Drafted:
    return Drafted(fleet or (BASE, NGRAM))


def _known(drafted: Drafted, task: str, temperature: float | None = 0.0) -> Drafting:
    found = drafted.known("m+ngram", task=task, temperature=temperature, input_tokens=100)
    assert found is not None
    return found


def test_a_fleet_in_which_nobody_drafts_keeps_nothing() -> None:
    drafted = _drafted(BASE)
    assert not drafted
    drafted.saw("m", HIT, output_tokens=60)
    loads = (Load(deployment="m"),)
    assert drafted.informed(loads, task="other", temperature=None, input_tokens=1) == loads


def test_tasks_are_told_apart_and_an_unseen_one_borrows() -> None:
    drafted = _drafted()
    for _ in range(8):
        drafted.saw(
            "m+ngram", HIT, output_tokens=60, task="rewrite", temperature=0.0, input_tokens=100
        )
        drafted.saw(
            "m+ngram", MISS, output_tokens=60, task="chatbot", temperature=0.0, input_tokens=100
        )
    rewrite, chat, unseen = [_known(drafted, task) for task in ("rewrite", "chatbot", "open_qa")]
    assert rewrite.accepted_ratio > 2.0
    assert chat.accepted_ratio < 0.15
    assert chat.accepted_ratio < unseen.accepted_ratio < rewrite.accepted_ratio
    assert rewrite.key == "rewrite greedy short"
    assert unseen.key == "all"
    assert unseen.steps == pytest.approx(rewrite.steps + chat.steps, rel=0.2)


def test_temperatures_are_told_apart() -> None:
    drafted = _drafted()
    for temperature, drafts in ((0.0, HIT), (1.2, MISS)):
        for _ in range(8):
            drafted.saw(
                "m+ngram",
                drafts,
                output_tokens=60,
                task="rewrite",
                temperature=temperature,
                input_tokens=100,
            )
    assert _known(drafted, "rewrite", 0.0).accepted_ratio > 2.0
    assert _known(drafted, "rewrite", 1.2).accepted_ratio < 0.5


def test_nothing_seen_is_nothing_known_and_loads_hold_the_rest() -> None:
    drafted = _drafted()
    assert drafted.known("m+ngram") is None
    assert drafted.known("m") is None
    drafted.saw("m+ngram", HIT, output_tokens=60, task="rewrite")
    base, twin = drafted.informed(
        (Load(deployment="m"), Load(deployment="m+ngram")),
        task="rewrite",
        temperature=None,
        input_tokens=10,
    )
    assert base.drafting is None
    assert twin.drafting is not None
    assert twin.drafting.key == "rewrite warm short"


def test_plain_answers_tell_what_a_step_costs() -> None:
    drafted = _drafted()
    for _ in range(6):
        drafted.saw_plain("m", seconds=6.0, output_tokens=60)  # 0.1 s a step
        drafts = Drafts(drafted_tokens=40, accepted_tokens=40, decode_s=2.0 + 40 * 0.08)
        drafted.saw("m+ngram", drafts, output_tokens=60)
    assert _known(drafted, "other").token_cost_ratio == pytest.approx(0.8, abs=0.05)


VLLM = """
# TYPE vllm:spec_decode_num_drafts_total counter
vllm:num_requests_running 1.0
vllm:spec_decode_num_drafts_total{{engine="0"}} {drafts}
vllm:spec_decode_num_draft_tokens_total{{engine="0"}} {drafted}
vllm:spec_decode_num_accepted_tokens_total{{engine="0"}} {accepted}
"""


def test_counters_of_a_page_teach_what_answers_do_not_say() -> None:
    eagle = replace(BASE, name="e", drafting=Drafter(method="eagle3", twin_of="m"))
    drafted = _drafted(BASE, eagle)
    before = metrics(VLLM.format(drafts=100, drafted=400, accepted=150))
    now = metrics(VLLM.format(drafts=300, drafted=1200, accepted=550))
    assert now is not None
    steps, drafts = counted(now, before, 4)
    assert steps == 200
    assert drafts == Drafts(drafted_tokens=800, accepted_tokens=400, drafts=200)
    assert drafts is not None
    drafted.saw_all("e", steps=steps, drafts=drafts)
    found = drafted.known("e", task="other")
    assert found is not None
    assert found.accepted_ratio == pytest.approx(2.0, rel=0.1)
    assert found.key == "all"


def test_an_engine_that_tells_only_the_length_of_a_step_is_understood() -> None:
    before = Observed(engine="sglang", drafts=100.0, accept_length=2.0)
    now = Observed(engine="sglang", drafts=150.0, accept_length=2.5)
    assert counted(now, before, 4) == (
        50.0,
        Drafts(drafted_tokens=200, accepted_tokens=75, drafts=50),
    )


@pytest.mark.parametrize(
    "before",
    [None, Observed(engine="vllm"), Observed(engine="vllm", drafts=900.0, drafted=1.0)],
)
def test_an_engine_that_began_anew_or_says_nothing_teaches_nothing(
    before: Observed | None,
) -> None:
    now = Observed(engine="vllm", drafts=100.0, drafted=400.0, accepted=200.0)
    assert counted(now, before, 4) == (0.0, None)
