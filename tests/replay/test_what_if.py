"""Other policies are judged by propensities, with intervals, or not at all."""

import json
import random
from typing import Any

import msgspec
import pytest

from metabolic.cli.main import app
from metabolic.core.decision import Stage
from metabolic.core.errors import ConfigError
from metabolic.core.fleet import Price
from metabolic.core.lanes import Arm, LaneTable, Tally
from metabolic.core.request import Ask
from metabolic.decide.digest import digest, sealed
from metabolic.ledger.jsonl import Options, create
from metabolic.ledger.memory import MemoryLedger
from metabolic.ledger.memory import Options as MemoryOptions
from metabolic.replay.policies import evaluate, labels_in, policy_named
from metabolic.replay.what_if import Act, Outcome, acts, estimated, judged
from metabolic.testing.examples import example_record
from metabolic.testing.fleets import deployment, policy_of, situation_of
from metabolic.testing.records import folded_record

RATIO = 0.2


def quality(one: Outcome) -> float | None:
    return one.quality


def world(count: int, *, seed: int, foreseen: float = 0.5) -> list[Act]:
    """Requests drawn with a fifth of exploration; the other model is right in 8 of 10."""
    lot = random.Random(seed)
    made = []
    for _ in range(count):
        explored = lot.random() < RATIO
        good = lot.random() < (0.8 if explored else 0.5)
        made.append(
            Act(
                weight=1 / RATIO if explored else 0.0,
                supported=True,
                got=Outcome(float(good), 1.0, None),
                foreseen=Outcome(foreseen, 2.0, None),
            )
        )
    return made


@pytest.mark.parametrize("foreseen", [0.0, 0.8, 1.0])
def test_the_truth_is_found_whatever_was_foreseen(foreseen):
    inside = 0
    for seed in range(60):
        found: Any = estimated("quality", world(600, seed=seed, foreseen=foreseen), quality)
        assert found.dr_low < found.dr < found.dr_high
        inside += found.dr_low <= 0.8 <= found.dr_high
    assert inside >= 51  # 95 % of 60 is 57


def test_good_estimates_make_the_doubly_robust_interval_narrow():
    found: Any = estimated("quality", world(2000, seed=1, foreseen=0.8), quality)
    assert found.dr_high - found.dr_low < 0.8 * (found.ips_high - found.ips_low)
    assert found.logged == pytest.approx(0.56, abs=0.05)
    assert found.difference_low > 0


def test_few_effective_requests_say_nothing():
    found: Any = estimated("quality", world(60, seed=1), quality)
    assert found.dr is None
    assert "effective" in found.why


def test_what_was_never_possible_says_nothing():
    never = [
        Act(weight=0.0, supported=False, got=Outcome(1.0), foreseen=Outcome()) for _ in range(500)
    ]
    found: Any = estimated("quality", never, quality)
    assert (found.support_ratio, found.dr) == (0.0, None)
    assert "could have been drawn on 0%" in found.why


def test_without_labels_there_is_no_quality_but_there_are_costs():
    unlabelled = [
        msgspec.structs.replace(one, got=Outcome(None, 1.0, None)) for one in world(900, seed=2)
    ]
    found: dict[str, Any] = {
        one.name: one for one in judged("p", unlabelled, unusable=0, explored=9).measures
    }
    assert "labels" in found["quality"].why
    assert found["cost_usd"].ips == pytest.approx(1.0, abs=0.2)


def drawn_record(arms: tuple[Arm, ...], drawn: str):
    one, replace = example_record(), msgspec.structs.replace
    decision = replace(one.decision, stages=(Stage(deployment=drawn),), arms=arms)
    return replace(one, decision=decision), decision


def test_weights_are_the_inverse_of_logged_propensities():
    arms = (Arm(deployment="a", propensity=0.9), Arm(deployment="b", propensity=0.1))
    record, decision = drawn_record(arms, "b")
    to_b = msgspec.structs.replace(decision, arms=())
    to_a = msgspec.structs.replace(to_b, stages=(Stage(deployment="a"),))
    to_c = msgspec.structs.replace(to_b, stages=(Stage(deployment="c"),))
    found = acts([(record, to_b), (record, to_a), (record, to_c)], {record.ask.id: 1.0})
    assert [(one.weight, one.supported) for one in found] == [
        (10.0, True),
        (0.0, True),
        (0.0, False),
    ]
    assert found[0].got.quality == 1.0


CHEAP = deployment("cheap", price=Price(input_usd_per_token=1e-7, output_usd_per_token=4e-7))
DEAR = deployment(
    "dear",
    parameters=6_000_000_000,
    price=Price(input_usd_per_token=1e-6, output_usd_per_token=4e-6),
)


def fill(ledger, count: int) -> None:
    """Store requests that were explored by a table of lanes."""
    tallies = tuple(
        Tally(lane=lane, deployment=name, labels=60.0, correct=54.0)
        for lane in ("*", "open_qa", "rewrite", "summarization", "code_generation", "extraction")
        for name in ("cheap", "dear")
    )
    table = LaneTable(tallies=tallies, explore_ratio=0.5)
    policy = sealed(msgspec.structs.replace(policy_of(), lanes=table))
    situation = situation_of(CHEAP, DEAR)
    ledger.put(policy.id, msgspec.json.encode(policy))
    ledger.put(situation.fleet.id, msgspec.json.encode(situation.fleet))
    ledger.put(digest(situation.metabolic), msgspec.json.encode(situation.metabolic))
    for number in range(count):
        ask = Ask(id=f"r{number}", at_s=1_790_000_000.0 + number, input_tokens=100)
        draw = random.Random(number)
        ledger.append(folded_record(ask, situation=situation, policy=policy, draw=draw))


def test_a_ledger_is_evaluated_and_says_what_it_cannot():
    ledger = MemoryLedger(MemoryOptions())
    fill(ledger, 300)
    labels = {f"r{n}": 1.0 for n in range(300)}
    same = evaluate(ledger, "preference:0.5", labels)
    assert same.records > 200
    assert same.explored_ratio > 0.5
    by_name: dict[str, Any] = {one.name: one for one in same.measures}
    assert by_name["quality"].why is None
    assert by_name["quality"].ips_low <= 1.0 <= by_name["quality"].ips_high
    gone = evaluate(ledger, "always:nobody", labels)
    assert (gone.records, gone.unusable) == (0, 300)


@pytest.mark.parametrize("name", ["worst", "always:", "preference:2", "preference:x", "best:1"])
def test_what_is_no_policy_is_refused(name):
    with pytest.raises(ConfigError, match="what-if"):
        policy_named(name)


def test_labels_are_read_from_feedback(tmp_path):
    path = tmp_path / "labels.jsonl"
    path.write_text('{"id":"a","correct":1.0}\n{"id":"b","preference":"tie"}\n{"id":"c","score":0}')
    assert labels_in(path) == {"a": 1.0, "c": 0.0}
    assert labels_in(tmp_path / "none.jsonl") == {}
    path.write_text("nothing")
    with pytest.raises(ConfigError, match="cannot be read"):
        labels_in(path)


def test_the_command_prints_figures_or_says_why_not(tmp_path, capsys):
    path = tmp_path / "ledger.jsonl"
    ledger = create(Options(path=str(path)))
    fill(ledger, 120)
    ledger.close()
    app(["replay", "--ledger", str(path), "--what-if", "preference:0.5", "--json"])
    shown = json.loads(capsys.readouterr().out)
    assert shown["policy"] == "preference:0.5"
    assert {one["name"] for one in shown["measures"]} == {"quality", "cost_usd", "energy_j"}
    assert app(["replay", "--ledger", str(path), "--what-if", "always:nobody"]) == 1
    assert "cannot be said" in capsys.readouterr().out
