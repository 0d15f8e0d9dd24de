"""Conversations replayed."""

from pathlib import Path

import pytest

from metabolic.bench.sessions import Options, run
from metabolic.bench.sessions_data import RATIOS, ratios_in, sessions_in, synthetic

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture(scope="module")
def made():
    return run(Options(sessions=24, seed=1, quick=True))


def test_every_policy_is_paired_on_every_set_and_price(made):
    policies = {"constant", "per_turn", "per_turn_warm", "session"}
    found = {}
    for row in made.rows:
        key = row["set"], row["cached_price_ratio"], row["price_ratio"]
        found.setdefault(key, set()).add(row["policy"])
    assert len(found) == 2 * len(RATIOS) * 4
    assert all(one == policies for one in found.values())


def test_session_routing_does_not_lose_to_a_warm_constant_where_routing_by_turn_does(made):
    worst = made.figures["worst_loss_to_cached_constant_ratio"]
    assert worst.low <= worst.value <= worst.high
    assert worst.value <= 0.02
    ratios = {
        p: [r["cost_to_constant_ratio"] for r in made.rows if r["policy"] == p]
        for p in ("per_turn", "session")
    }
    assert max(ratios["per_turn"]) > 1.2
    assert min(ratios["session"]) < 0.8


def test_the_constant_never_switches_and_joules_are_positive(made):
    for row in made.rows:
        assert row["energy_j"] > 0
        if row["policy"] == "constant":
            assert row["switches"] == 0


def test_a_prompt_only_grows_in_made_up_conversations():
    for sessions in synthetic(10, seed=3).values():
        for one in sessions:
            tokens = [turn.input_tokens for turn in one.turns]
            assert tokens == sorted(tokens)
            assert len(tokens) > 1


def test_conversations_are_rebuilt_from_blocks(tmp_path):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    rows = [
        {"trace": "t", "t_s": 0.0, "in_tokens": 1100, "out_tokens": 9, "hash_ids": [0, 1, 2]},
        {"trace": "t", "t_s": 1.0, "in_tokens": 1030, "out_tokens": 9, "hash_ids": [0, 7, 8]},
        {"trace": "t", "t_s": 2.0, "in_tokens": 1700, "out_tokens": 9, "hash_ids": [0, 1, 3, 4]},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "traces.parquet")
    prices = [{"input_usd_per_mtok": 2.0, "cache_read_usd_per_mtok": 0.5}]
    pq.write_table(pa.Table.from_pylist(prices), tmp_path / "prices.parquet")
    (session,) = sessions_in(tmp_path, seed=0, most=5)["t"]
    assert [turn.input_tokens for turn in session.turns] == [1100, 1700]
    assert ratios_in(tmp_path) == (0.25,)


@pytest.mark.skipif(not SHARED.exists(), reason="the shared data is not beside the checkout")
def test_the_shared_traces_and_prices_are_found():
    pytest.importorskip("pyarrow")
    assert set(sessions_in(SHARED / "traces", seed=0, most=2)) >= {"mooncake_conversation"}
    assert len(ratios_in(SHARED / "prices")) >= 2
