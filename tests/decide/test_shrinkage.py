"""How much a lane may differ from its parent: chance moves nobody, enough labels do."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metabolic.core.lanes import LaneTable, Tally
from metabolic.decide.evidence_table import indexed
from metabolic.decide.shrinkage import FEWEST, MOST, USUAL, moved, worth_of

MODELS = tuple(f"m{number:02}" for number in range(13))
TASKS = ("open_qa", "closed_qa", "rewrite", "extraction", "summarization", "translation")

Rows = dict[str, tuple[float, float]]


def total(parts: list[Rows]) -> Rows:
    """The parent of lanes that hold all its labels."""
    names = sorted({name for part in parts for name in part})
    return {
        name: (
            sum(part.get(name, (0.0, 0.0))[0] for part in parts),
            sum(part.get(name, (0.0, 0.0))[1] for part in parts),
        )
        for name in names
    }


def raw(rows: Rows) -> dict[str, tuple[float, float]]:
    """What a parent without prior estimates: its share, by its labels."""
    return {name: (good / many, many) for name, (many, good) in rows.items()}


def leader(shares: dict[str, float]) -> str:
    return max(shares, key=lambda name: (shares[name], name))


def drawn(seed: int, *, labels: int, better: float = 0.6, lanes: int = 6) -> list[Rows]:
    """Labels of 13 models that are right on 60 % everywhere, the last one otherwise on lane 0."""
    rng = random.Random(seed)

    def row(model: str, lane: int) -> tuple[float, float]:
        p = better if (model, lane) == (MODELS[-1], 0) else 0.6
        return float(labels), float(sum(rng.random() < p for _ in range(labels)))

    return [{model: row(model, lane) for model in MODELS} for lane in range(lanes)]


def moves(parts: list[Rows], worth: float) -> int:
    """On how many lanes somebody else leads than on the parent."""
    above = total(parts)
    best = leader({name: p for name, (p, _) in raw(above).items()})
    found = [moved(part, above, raw(above), worth) for part in parts]
    return sum(leader({n: p for n, (p, _) in lane.items()}) != best for lane in found)


def test_winners_by_chance_among_thirteen_equals_move_hardly_a_lane():
    every = [drawn(seed, labels=40) for seed in range(40)]
    learned = sum(moves(parts, worth_of(total(parts), parts)) for parts in every)
    fixed = sum(moves(parts, USUAL) for parts in every)
    assert learned < 0.2 * 240
    assert fixed > 0.6 * 240


def test_a_better_one_is_found_on_its_lane_with_enough_labels():
    for seed in range(10):
        parts = drawn(seed, labels=120, better=0.9)
        above = total(parts)
        found = moved(parts[0], above, raw(above), worth_of(above, parts))
        assert leader({name: p for name, (p, _) in found.items()}) == MODELS[-1]


def shares(labels: float) -> list[Rows]:
    """One lane of four where the last model is right on 90 %, all else on 60 %: no chance."""
    return [
        {
            model: (labels, labels * (0.9 if (model, lane) == (MODELS[-1], 0) else 0.6))
            for model in MODELS
        }
        for lane in range(4)
    ]


def test_what_is_believed_of_a_lane_grows_with_its_labels():
    leads: list[float] = []
    for labels in (5.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0):
        parts = shares(labels)
        above = total(parts)
        found = moved(parts[0], above, raw(above), worth_of(above, parts))
        leads.append(found[MODELS[-1]][0] - found[MODELS[0]][0])
    assert leads == sorted(leads)
    assert leads[0] < 0.1
    assert leads[-1] == pytest.approx(0.3, abs=0.02)


def test_even_where_lanes_are_held_alike_enough_labels_win():
    part, above = {"a": (1e6, 9e5), "b": (1e6, 5e5)}, {"a": (2e6, 1.2e6), "b": (2e6, 1.2e6)}
    found = moved(part, above, raw(above), MOST)
    assert found["a"][0] - found["b"][0] == pytest.approx(0.4, abs=0.01)


def test_a_lane_with_all_its_parents_labels_says_nothing_new():
    part: Rows = {"a": (30.0, 27.0), "b": (30.0, 12.0)}
    estimates = {"a": (0.7, 200.0), "b": (0.6, 200.0)}
    found = moved(part, part, estimates, worth_of(part, [part]))
    assert {name: p for name, (p, _) in found.items()} == {"a": 0.7, "b": 0.6}


def test_a_lane_that_is_hard_for_everybody_tells_nobody_apart():
    easy: Rows = dict.fromkeys(MODELS, (100.0, 80.0))
    hard: Rows = dict.fromkeys(MODELS, (100.0, 30.0))
    above = total([easy, hard])
    assert worth_of(above, [easy, hard]) == MOST
    found = moved(hard, above, raw(above), MOST)
    assert len({round(p, 9) for p, _ in found.values()}) == 1
    assert found[MODELS[0]][0] < 0.35


def test_what_the_parent_has_beyond_its_lanes_is_compared_too():
    lane: Rows = {"a": (200.0, 180.0), "b": (200.0, 60.0)}
    rest: Rows = {"a": (200.0, 60.0), "b": (200.0, 180.0)}
    assert worth_of(total([lane, rest]), [lane]) == worth_of(total([lane, rest]), [lane, rest])
    assert worth_of(total([lane, rest]), [lane]) < USUAL


def test_one_deployment_alone_that_does_badly_is_left_for_another():
    above: Rows = {"a": (2000.0, 1600.0), "b": (2000.0, 1560.0)}
    found = moved({"a": (200.0, 80.0)}, above, raw(above), USUAL)
    assert found["a"][0] < found["b"][0] < 0.78


def test_who_was_only_asked_easy_things_is_told_from_who_was_asked_hard_ones():
    hard: Rows = {"strong": (2000.0, 1200.0), "weak": (200.0, 60.0)}
    easy: Rows = {"strong": (40.0, 38.0), "weak": (2000.0, 1800.0)}
    above = total([easy, hard])
    assert raw(above)["weak"][0] > raw(above)["strong"][0]
    found = moved(hard, above, raw(above), worth_of(above, [easy, hard]))
    assert found["strong"][0] > found["weak"][0] + 0.2


def test_without_anybody_to_compare_the_usual_holds():
    assert worth_of({"a": (50.0, 30.0)}, [{"a": (25.0, 20.0)}, {"a": (25.0, 10.0)}]) == USUAL
    assert worth_of({}, []) == USUAL


rows = st.dictionaries(
    st.sampled_from("abcd"),
    st.tuples(st.integers(0, 300), st.floats(0, 1)).map(lambda two: (two[0], two[0] * two[1])),
    min_size=1,
)


@given(st.lists(rows, min_size=1, max_size=5))
@settings(max_examples=80)
def test_estimates_are_shares_and_no_label_is_lost(parts):
    above = total(parts)
    worth = worth_of(above, parts)
    assert FEWEST <= worth <= MOST
    assert worth == pytest.approx(worth_of(above, parts[::-1]))
    known = {name: one for name, one in above.items() if one[0] > 0}
    for part in parts:
        found = moved(part, known, raw(known), worth)
        assert found.keys() == known.keys()
        for name, (p, evidence) in found.items():
            assert 0.0 <= p <= 1.0
            assert part.get(name, (0.0, 0.0))[0] <= evidence <= known[name][0] + worth


@given(
    part=rows,
    rest=rows,
    name=st.sampled_from("abcd"),
    worth=st.floats(FEWEST, MOST),
    good=st.floats(0.1, 20),
)
@settings(max_examples=80)
def test_an_answer_that_turns_out_good_lifts_who_gave_it_over_all_others(
    part, rest, name, worth, good
):
    if part.get(name, (0, 0))[0] - part.get(name, (0, 0))[1] < good:
        return
    lifted = {**part, name: (part[name][0], part[name][1] + good)}
    before, after = (total([one, rest]) for one in (part, lifted))
    before, after = ({n: r for n, r in one.items() if r[0] > 0} for one in (before, after))
    first = moved(part, before, raw(before), worth)
    then = moved(lifted, after, raw(after), worth)
    # Shares that are cut off at 0 and 1 may close up again.
    if all(0 < p < 1 for p, _ in (*first.values(), *then.values())):
        gain = then[name][0] - first[name][0]
        assert gain >= -1e-9
        assert all(gain >= then[n][0] - first[n][0] - 1e-9 for n in first)


def tallies(parts: list[Rows]) -> tuple[Tally, ...]:
    lanes = {"*": total(parts), **dict(zip(TASKS, parts, strict=True))}
    return tuple(
        Tally(lane=lane, deployment=name, labels=many, correct=good)
        for lane, found in lanes.items()
        for name, (many, good) in found.items()
    )


def test_the_table_s_lanes_stay_with_their_parent_where_chance_would_do():
    index = indexed(LaneTable(tallies=tallies(drawn(1, labels=40))))
    root = {one.deployment: one.p_correct for one in index.lanes["*"].p_correct}
    for task in TASKS:
        lane = {one.deployment: one.p_correct for one in index.lanes[task].p_correct}
        apart = [lane[name] - root[name] for name in MODELS]
        assert max(apart) - min(apart) < 0.03


def test_tenants_labels_and_tasks_learn_apart():
    alike = drawn(1, labels=40)
    mine = [
        Tally(lane=lane, deployment=name, labels=120, correct=good)
        for lane, name, good in (
            ("x@t", "m00", 110),
            ("x@t", "m01", 20),
            ("y@t", "m00", 20),
            ("y@t", "m01", 110),
        )
    ]
    index = indexed(LaneTable(tallies=(*tallies(alike), *mine)))
    own = {one.deployment: one.p_correct for one in index.lanes["x@t"].p_correct}
    assert own["m00"] - own["m01"] > 0.4
    task = {one.deployment: one.p_correct for one in index.lanes["open_qa"].p_correct}
    root = {one.deployment: one.p_correct for one in index.lanes["*"].p_correct}
    assert abs(task["m00"] - root["m00"] - task["m01"] + root["m01"]) < 0.03
