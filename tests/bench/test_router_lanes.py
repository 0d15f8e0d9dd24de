"""The table of lanes as a router: the gateway's code, fed with tables of outcomes."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic import plugins
from metabolic.bench.router_decided import decided
from metabolic.bench.router_lanes import by_lanes, placed, table_of
from metabolic.bench.router_lanewise import MIN_LANE, Part, lanewise, worst
from metabolic.bench.router_metrics import curve
from metabolic.bench.router_mixes import MIX, mixes
from metabolic.core.lanes import Tally
from metabolic.decide.clusters import answers_of, path_of
from metabolic.decide.evidence_labels import lanes_of
from metabolic.decide.evidence_table import Key, Seen, indexed, observed
from metabolic.train.outcomes import Outcomes

RULES = plugins.classifier("rules")
TEXTS = ("Translate this sentence into French: the cat sleeps.", "What is 17 * 23 + 4?")


def outcomes(
    many: int = 160, *, name: str = "made_a", labels: tuple[str, ...] = ("a",)
) -> Outcomes:
    """Two kinds of question; the cheap model is good at the first only."""
    at = np.arange(many)
    kind = at % 2
    cheap = (kind == 0) | (at % 5 == 0)
    dear = at % 20 > 1
    return Outcomes(
        name=name,
        questions=tuple(f"{TEXTS[one]} ({i})" for i, one in enumerate(kind)),
        categories=tuple(labels[i % len(labels)] for i in range(many)),
        keys=tuple(f"{name}{i}" for i in range(many)),
        models=("cheap-3b", "dear-70b"),
        scores=np.stack([cheap, dear], axis=1).astype(float),
        costs=np.tile([0.001, 0.02], (many, 1)),
    )


HALVES = np.arange(0, 80), np.arange(80, 160)


def test_the_table_is_what_observing_label_after_label_gives() -> None:
    one = outcomes(40)
    where = placed(one, RULES)
    table = table_of(where, one, np.arange(30))
    cuts = {cut.lane: cut.question for cut in table.cuts}
    counted: dict[Key, Tally] = {}
    for i in range(30):
        lanes = lanes_of(
            path_of(where.asks[i], where.signals[i], {}), answers_of(where.signals[i]), cuts
        )
        for j, model in enumerate(one.models):
            seen = Seen(
                lanes=lanes,
                deployment=model,
                correct=float(one.scores[i, j]),
                answered=True,
                usd=float(one.costs[i, j]),
            )
            counted |= observed(counted, seen)
    assert table.tallies
    for tally in table.tallies:
        same = counted[tally.lane, tally.deployment, None]
        assert (tally.labels, tally.correct, tally.answers) == (
            same.labels,
            same.correct,
            same.answers,
        )
        assert tally.usd == pytest.approx(same.usd)


def test_lanes_tell_the_kinds_apart_and_give_the_shrunk_means_of_the_index() -> None:
    one = outcomes()
    where = placed(one, RULES)
    made = by_lanes(where, one, *HALVES)
    gap = made[:, 1] - made[:, 0]
    assert gap[HALVES[1] % 2 == 1].min() > gap[HALVES[1] % 2 == 0].max()
    index = indexed(table_of(where, one, HALVES[0]))
    lane = index.lanes[where.paths[80][0]]
    assert made[0].tolist() == [one.p_correct for one in lane.p_correct]


def test_heads_and_lane_are_weighed_by_their_evidence() -> None:
    one = outcomes()
    where = placed(one, RULES)
    alone = by_lanes(where, one, *HALVES)
    heads = np.full_like(alone, 0.5)
    both = by_lanes(where, one, *HALVES, heads=heads)
    assert (np.abs(both - 0.5) < np.abs(alone - 0.5)).all()


def test_labels_of_tenants_are_lanes() -> None:
    one = outcomes(labels=("invoices", "chat"))
    where = placed(one, RULES, labels=one.categories)
    assert where.paths[0][0] == "invoices@local"
    table = table_of(where, one, HALVES[0])
    assert {"invoices@local", "chat@local"} <= {tally.lane for tally in table.tallies}


def test_lane_by_lane_only_the_lane_that_can_afford_it_gets_the_cheap_model() -> None:
    one = outcomes()
    where = placed(one, RULES)
    train, test = HALVES
    lanes = [("words", "sums")[int(i) % 2] for i in range(160)]
    parts = tuple(
        Part(scores=one.scores[rows], costs=one.costs[rows], lanes=[lanes[int(i)] for i in rows])
        for rows in (train, test)
    )
    curves = [
        curve(
            by_lanes(where, one, train, rows),
            one.costs[rows],
            one.scores[rows],
            one.costs[rows],
            0.02,
        )
        for rows in (train, test)
    ]
    found = lanewise(curves[0], curves[1], (parts[0], parts[1]), 1, sure=False)
    assert found.cost_ratio == pytest.approx((0.001 + 0.02) / 2 / 0.02)
    assert found.loss < 0
    sure = lanewise(curves[0], curves[1], (parts[0], parts[1]), 1, sure=True)
    assert sure.cost_ratio >= found.cost_ratio


def test_a_lane_of_few_questions_stays_with_the_best_single() -> None:
    few = MIN_LANE - 1
    part = Part(scores=np.ones((few, 2)), costs=np.tile([1.0, 2.0], (few, 1)), lanes=["x"] * few)
    made = curve(part.scores, part.costs, part.scores, part.costs, 2.0)
    found = lanewise(made, made, (part, part), 1, sure=False)
    assert (found.cost_ratio, found.loss) == (1.0, 0.0)
    assert np.isnan(found.worst_lane_loss)


@given(st.lists(st.floats(-1, 1), min_size=MIN_LANE, max_size=80))
def test_the_worst_lane_never_loses_less_than_all_together(lost: list[float]) -> None:
    values = np.array(lost)
    lanes = ["x"] * len(lost)
    assert worst(values, lanes) == pytest.approx(values.mean())
    doubled = worst(np.concatenate([values, values - 1]), lanes + ["y"] * len(lost))
    assert doubled == pytest.approx(values.mean())


def test_the_gateway_s_decisions_save_where_a_lane_allows_it() -> None:
    one = outcomes()
    where = placed(one, RULES)
    found = decided(where, one, one.costs, *HALVES, profile_name="edge")
    assert found.cost_ratio == pytest.approx((0.001 + 0.02) / 2 / 0.02)
    assert found.strong == 0.5
    careful = decided(where, one, one.costs, *HALVES, profile_name="datacenter")
    assert careful.cost_ratio >= found.cost_ratio


def test_sets_of_a_family_mix_by_the_models_whose_prices_all_know() -> None:
    a, b = outcomes(), outcomes(name="made_b")
    other = outcomes(name="else_c")
    third = msgspec.structs.replace(b, models=("cheap-3b", "new-9b"))
    (mixed,) = mixes([a, b, other])
    assert mixed.name == f"{MIX}made"
    assert mixed.models == ("cheap-3b", "dear-70b")
    assert len(mixed.questions) == 320
    assert set(mixed.categories) == {"made_a", "made_b"}
    assert mixed.scores[:160].tolist() == a.scores.tolist()
    assert mixes([a, third]) == ()
    unknown = msgspec.structs.replace(b, costs=np.full((160, 2), np.nan))
    assert mixes([a, unknown]) == ()
