"""The benchmark of speculation, on simulated servers."""

from pathlib import Path

from metabolic.bench.speculation import Options, Report, run
from metabolic.bench.speculation_prompts import KINDS
from metabolic.config import Config

FIGURES = {"gate_vs_best_ratio_min", "gate_vs_on_ratio", "gate_vs_off_ratio"}
COLUMNS = {
    "target",
    "arm",
    "prompt_class",
    "repetitions",
    "accepted",
    "drafted",
    "cpu_s_per_token",
    "ratio",
    "same_text",
}


def _run(**given: object) -> Report:
    return run(Config(), Options(simulated=True, **given))  # type: ignore[arg-type]


def test_it_reports_what_the_contract_names_and_says_that_it_is_simulated() -> None:
    made = _run()
    assert set(made.figures) == FIGURES
    assert all(set(row) >= COLUMNS for row in made.rows)
    assert any("SIMULATED" in note for note in made.notes)
    assert all("simulated" in one.unit_note for one in made.figures.values())
    classes = {(row["target"], row["prompt_class"]) for row in made.rows}
    assert len(classes) == 2 * len(KINDS)


def test_the_gate_learns_on_other_prompts_than_it_is_measured_on() -> None:
    for kind in KINDS:
        assert kind.reported not in kind.learned
        assert len({kind.reported, *kind.learned}) == 1 + len(kind.learned) > 1


def test_the_gate_is_near_the_best_arm_in_every_cell_and_headroom_is_not() -> None:
    made = _run()
    assert made.figures["gate_vs_best_ratio_min"].value >= 0.97
    assert made.figures["gate_vs_off_ratio"].value > 1.1
    by_cell: dict[tuple[object, object], dict[object, float]] = {}
    for row in made.rows:
        cell = by_cell.setdefault((row["target"], row["prompt_class"]), {})
        ratio = row["ratio"]
        assert isinstance(ratio, float)
        cell[row["arm"]] = ratio
    assert any(cell["headroom"] < 0.97 * cell["gate"] for cell in by_cell.values())
    assert all(cell["off"] == 1.0 for cell in by_cell.values())


def test_a_quick_run_is_marked(tmp_path: Path) -> None:
    made = _run(quick=True, save=tmp_path / "answers.jsonl")
    assert made.quick
    assert {row["repetitions"] for row in made.rows} == {1}
