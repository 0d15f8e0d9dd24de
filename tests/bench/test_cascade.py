"""The cascade bench, on answers made up so that the right outcome is known."""

import json
import math
import random
from pathlib import Path

import msgspec
import pytest

from metabolic.bench import policies
from metabolic.bench.answers import Asked, Book, Measured, Recorded, load
from metabolic.bench.cascade import Options, Outcome, run
from metabolic.bench.folding import Case, cases, default_validators, fold, single
from metabolic.bench.questions import half_of
from metabolic.cli import bench as command
from metabolic.config import Config, parse
from metabolic.core.checkpoint import Checkpoint
from metabolic.core.decision import Decision, Stage
from metabolic.core.errors import ConfigError
from metabolic.core.fleet import Deployment, Model
from metabolic.core.signals import Signals
from metabolic.decide.profiles import profile

SMALL = Deployment(
    name="small",
    model=Model(id="small", tier="tiny", total_parameters=500_000_000),
    kind="local",
    device="cpu",
    capabilities=("chat", "logprobs"),
)
LARGE = Deployment(
    name="large",
    model=Model(id="large", tier="small", total_parameters=1_500_000_000),
    kind="local",
    device="cpu",
    capabilities=("chat", "logprobs"),
)
CHEAP_S, DEAR_S = 0.2, 1.0


def answer(
    question: str, deployment: str, *, right: bool, sure: float, cpu_s: float | None
) -> Recorded:
    return Recorded(
        question=question,
        deployment=deployment,
        text="yes" if right else "no",
        right=right,
        seconds=(cpu_s or 0.5) * 1.5,
        cpu_s=cpu_s,
        finish_reason="stop",
        logprobs=(math.log(sure), math.log(sure)),
        input_tokens=200,
        cached_tokens=150,
        output_tokens=2,
    )


def made_up(count: int = 1200, *, honest: bool = True, cpu: bool = True) -> Book:
    """Small is right on 70 %; when honest it is unsure where it is wrong. Large always is right."""
    lot = random.Random(3)
    book = Book(deployments={}, questions={}, answers={})
    for one in (SMALL, LARGE):
        book.add(Measured(deployment=one))
    for number in range(count):
        name = f"q{number}"
        right = lot.random() < 0.7
        sure = (0.95 if right else 0.4) if honest else lot.uniform(0.4, 0.95)
        lane = "open_qa" if number % 2 else "extraction"
        book.add(
            Asked(
                id=name,
                set="odd" if number % 2 else "even",
                kind="k",
                chars=20 + number % 50,
                signals=Signals(task=lane, lane=lane, expected_output_tokens=2),
            )
        )
        costs = (CHEAP_S, DEAR_S) if cpu else (None, None)
        book.add(answer(name, "small", right=right, sure=sure, cpu_s=costs[0]))
        book.add(answer(name, "large", right=True, sure=0.99, cpu_s=costs[1]))
    return book


def judged(book: Book) -> tuple[Case, ...]:
    return cases(book, default_validators())


def saved(book: Book, path: Path) -> Path:
    lines = [
        *(Measured(deployment=one) for one in book.deployments.values()),
        *book.questions.values(),
        *book.answers.values(),
    ]
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    return path


def rows_of(made: object) -> dict[tuple[str, str], dict[str, float]]:
    return {(row["policy"], row["set"]): row for row in made.rows}  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    path = saved(made_up(), tmp_path_factory.mktemp("bench") / "a.jsonl")
    return run(Config(), Options(splits=3, replay=path))


def test_a_single_stage_costs_what_its_answer_cost():
    case = judged(made_up(1))[0]
    folded = fold(single("large"), case)
    assert (folded.right, folded.cpu_s, folded.called) == (True, DEAR_S, ("large",))


def test_a_discarded_draft_is_charged():
    case = next(case for case in judged(made_up(50)) if not case.answers["small"].right)
    folded = policies.two_stage(case, first="small", last="large", min_confidence=0.8)
    assert folded.called == ("small", "large")
    assert folded.answered == "large"
    assert folded.cpu_s == pytest.approx(CHEAP_S + DEAR_S)
    assert folded.seconds == pytest.approx(1.5 * (CHEAP_S + DEAR_S))


def test_a_failed_answer_moves_on_and_an_empty_one_is_never_given():
    book = made_up(1)
    empty = answer("q0", "small", right=False, sure=0.99, cpu_s=CHEAP_S)
    book.add(msgspec.structs.replace(empty, text=""))
    case = judged(book)[0]
    assert policies.two_stage(case, first="small", last="large", min_confidence=0.1).called == (
        "small",
        "large",
    )
    assert fold(single("small"), case).answered is None
    book.add(msgspec.structs.replace(empty, failure="Unreachable"))
    case = judged(book)[0]
    folded = policies.two_stage(case, first="small", last="large", min_confidence=0.1)
    assert (folded.right, folded.answered) == (True, "large")


def test_with_honest_confidence_the_cascade_saves_and_keeps_the_accuracy(tmp_path: Path):
    outcome = run(Config(), Options(splits=3, replay=saved(made_up(), tmp_path / "a.jsonl")))
    rows = rows_of(outcome.report)
    ours, large = rows["cascade", "all"], rows["always-large", "all"]
    assert ours["accuracy"] == large["accuracy"] == 1.0
    assert ours["net_cost_ratio"] == pytest.approx(0.2 + 0.3, abs=0.06)
    assert large["net_cost_ratio"] == 1.0
    assert rows["always-small", "all"]["accuracy"] == pytest.approx(0.7, abs=0.06)
    assert rows["oracle", "all"]["net_cost_ratio"] <= ours["net_cost_ratio"]
    assert 0.4 < outcome.min_confidence <= 0.95
    assert any("saves" in note for note in outcome.report.notes)


def test_with_dishonest_confidence_quality_is_kept_and_a_loss_is_said(tmp_path: Path):
    book = made_up(honest=False)
    outcome = run(Config(), Options(splits=3, replay=saved(book, tmp_path / "a.jsonl")))
    rows = rows_of(outcome.report)
    assert rows["cascade", "all"]["accuracy"] >= 0.93
    assert any("cascade" in note for note in outcome.report.notes)


def test_every_policy_is_reported_on_every_set_and_pooled(tmp_path: Path):
    outcome = run(Config(), Options(splits=3, replay=saved(made_up(), tmp_path / "a.jsonl")))
    rows = rows_of(outcome.report)
    names = {"always-small", "always-large", "random", "length", "two-stage", "cascade", "oracle"}
    names |= {"two-stage-early-abort", "certified", "certified-gate"}
    assert set(rows) == {(name, where) for name in names for where in ("all", "odd", "even")}
    for row in rows.values():
        assert row["accuracy_low"] <= row["accuracy"] <= row["accuracy_high"]
        assert row["energy_j"] == pytest.approx(4.0 * row["cpu_s"])
        assert row["latency_p50_s"] <= row["latency_p95_s"]
        assert {"cost_usd", "strong_share", "n"} <= set(row)
    assert rows["cascade", "all"]["n"] == sum(half_of(f"q{n}", 0) for n in range(1200))


def test_random_has_the_cascades_shares(tmp_path: Path):
    rows = rows_of(
        run(Config(), Options(splits=3, replay=saved(made_up(), tmp_path / "a.jsonl"))).report
    )
    lots, ours = rows["random", "all"], rows["cascade", "all"]
    assert lots["answered_large"] == pytest.approx(ours["answered_large"], abs=0.03)
    assert lots["accuracy"] < ours["accuracy"] - 0.05


def test_the_same_seed_gives_the_same_report(tmp_path: Path):
    path = saved(made_up(48), tmp_path / "a.jsonl")
    reports = [run(Config(), Options(splits=3, replay=path, seed=5)).report for _ in range(2)]
    assert reports[0].rows == reports[1].rows


def test_unknown_cpu_seconds_are_missing_and_never_nought(tmp_path: Path):
    path = saved(made_up(48, cpu=False), tmp_path / "a.jsonl")
    made = run(Config(), Options(splits=3, replay=path)).report
    assert {one.figure for one in made.missing} == {"cpu_s", "energy_j", "cost_usd"}
    assert all(row["cpu_s"] is None and row["energy_j"] is None for row in made.rows)


def test_beliefs_count_what_was_kept():
    found = policies.beliefs(judged(made_up()), ["small"], min_confidence=0.8)
    pooled = next(one for one in found if one.lane == "*")
    assert pooled.evidence == 1200
    assert pooled.p_correct == pooled.p_accept == pytest.approx(0.7, abs=0.05)
    assert pooled.p_correct_accepted == 1.0
    assert {one.lane for one in found} == {"*", "open_qa", "extraction"}


def test_speeds_are_found_again():
    book = made_up(60)
    for number, key in enumerate(list(book.answers)):
        one = book.answers[key]
        fresh, out = 10 + number % 40, 1 + number % 7
        book.answers[key] = msgspec.structs.replace(
            one,
            input_tokens=150 + fresh,
            output_tokens=out,
            cpu_s=fresh / 70 + out / 24,
        )
    learned = policies.learn(
        judged(book), (SMALL, LARGE), profile=profile("edge"), cpu_w_per_core=4.0
    )
    fast = learned.fleet.deployments[0]
    assert fast.prefill_tokens_per_s == pytest.approx(70, rel=1e-6)
    assert fast.decode_tokens_per_s == pytest.approx(24, rel=1e-6)


def test_auroc_is_one_for_honest_and_a_half_for_constant_confidence():
    assert policies.auroc(judged(made_up()), "small") == 1.0
    assert policies.auroc(judged(made_up()), "large") is None


def test_a_file_that_was_cut_short_is_read_up_to_there(tmp_path: Path):
    path = saved(made_up(5), tmp_path / "a.jsonl")
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert len(load(path).answers) == 9
    path.write_bytes(b"nonsense\n" + whole)
    with pytest.raises(ConfigError, match="line 1"):
        load(path)


def test_nothing_to_replay_is_said_so(tmp_path: Path):
    with pytest.raises(ConfigError, match="no question was answered"):
        run(Config(), Options(splits=3, replay=tmp_path / "none.jsonl"))


def _fakes() -> Config:
    tables = [
        f"""
        [[deployment]]
        name = "{name}"
        base_url = "http://127.0.0.1:9/v1"
        backend = "fake"
        active_parameters = {size}
        capabilities = ["chat", "logprobs"]
        """
        for name, size in (("one", 500_000_000), ("two", 1_500_000_000))
    ]
    return parse("\n".join(tables), source="test")


def test_a_fleet_is_asked_and_an_interrupted_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "a.jsonl"
    outcome = run(_fakes(), Options(quick=True, save=path))
    assert outcome.report.quick
    lines = path.read_bytes().splitlines(keepends=True)
    first = load(path)
    assert {len(first.questions) * 2} == {len(first.answers)}
    path.write_bytes(b"".join(lines[:-3]) + lines[-1][:10])
    capsys.readouterr()
    run(_fakes(), Options(quick=True, save=path))
    assert set(load(path).answers) == set(first.answers)
    again = run(_fakes(), Options(splits=3, replay=path))
    assert [row["accuracy"] for row in again.report.rows] == [
        row["accuracy"] for row in outcome.report.rows
    ]


def test_the_command_prints_one_json_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = saved(made_up(48), tmp_path / "a.jsonl")
    command.app(["cascade", "--replay", str(path), "--json"])
    value = json.loads(capsys.readouterr().out)
    assert value["bench"] == "cascade"
    assert value["rows"]


def test_the_command_prints_beliefs_that_a_configuration_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = saved(made_up(48), tmp_path / "a.jsonl")
    command.app(["cascade", "--replay", str(path), "--beliefs"])
    config = parse(capsys.readouterr().out, source="test")
    assert {one.deployment for one in config.beliefs} == {"small", "large"}
    command.app(["cascade", "--replay", str(path), "--beliefs", "--json"])
    assert json.loads(capsys.readouterr().out)["beliefs"]


def test_people_get_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = saved(made_up(48), tmp_path / "a.jsonl")
    command.app(["cascade", "--replay", str(path)])
    assert "cascade" in capsys.readouterr().out


@pytest.mark.real
def test_the_real_fleet_answers_a_few_questions(real_models: dict[str, Path], tmp_path: Path):
    model = "smollm2-135m-instruct"
    assert model in real_models
    config = parse(
        f'[[deployment]]\nname = "smol"\nkind = "local"\nmodel = "{model}"\n', source="test"
    )
    path = tmp_path / "a.jsonl"
    outcome = run(config, Options(quick=True, save=path))
    answers = load(path).answers.values()
    assert len(answers) >= 6
    assert any(one.right for one in answers)
    assert all(one.cpu_s and one.logprobs and one.failure is None for one in answers)
    assert outcome.report.missing == ()


def test_a_certified_gate_keeps_to_its_loss_and_saves_where_confidence_is_honest(honest: Outcome):
    rows = rows_of(honest.report)
    for name in ("certified", "certified-gate"):
        assert rows[name, "all"]["accuracy_gap"] >= -0.05
        assert rows[name, "all"]["net_cost_ratio"] < 0.6
    figures = honest.report.figures
    assert figures["certified_split_ratio"].value == 1.0
    assert figures["certificate_exceeded_ratio"].value == 0.0


def long_draft(*, sure: float, right: bool) -> Case:
    book = made_up(1)
    book.answers["q0", "small"] = msgspec.structs.replace(
        answer("q0", "small", right=right, sure=sure, cpu_s=0.5),
        logprobs=(math.log(sure),) * 20,
        output_tokens=20,
    )
    return judged(book)[0]


def test_a_draft_given_up_is_charged_for_what_was_written_and_a_sure_one_in_full():
    at = Checkpoint(deployment="small", tokens=4, min_logprob=-0.5)
    gate = Stage(deployment="small", min_confidence=0.8, checkpoints=(at,))
    chosen = Decision(stages=(gate, Stage(deployment="large")))
    given_up = fold(chosen, long_draft(sure=0.4, right=False), pace={"small": 0.02})
    assert given_up.called == ("small", "large")
    assert given_up.cpu_s == pytest.approx(0.5 - 16 * 0.02 + DEAR_S)
    assert fold(chosen, long_draft(sure=0.4, right=False)).cpu_s == pytest.approx(0.5 + DEAR_S)
    kept = fold(chosen, long_draft(sure=0.9, right=True), pace={"small": 0.02})
    assert (kept.called, kept.cpu_s) == (("small",), pytest.approx(0.5))
