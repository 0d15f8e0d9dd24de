"""What ``/metrics`` shows of lanes and tenants: bounded, and without names of tenants."""

import msgspec

from metabolic.core.lanes import Tally
from metabolic.gateway.lane_gauges import lane_families, strong_family, tenant_hash
from metabolic.testing.runtime import FakeRuntime


def samples(families) -> dict[tuple[str, str], float]:
    return {
        (one.name, one.labels.get("lane", one.labels.get("tenant", ""))): one.value
        for family in families
        for one in family.samples
    }


def test_lanes_are_shown_with_their_counts_and_without_the_tenants_name():
    found = samples(lane_families(FakeRuntime().lanes()))
    lane = f"invoices@{tenant_hash('alice')}"
    assert found["metabolic_lane_answers_total", lane] == 9
    assert found["metabolic_lane_correct_ratio", f"{lane}+long"] == 0.75
    assert found["metabolic_lane_explored_total", ""] == 2
    assert found["metabolic_lane_explore_left", ""] == 98
    assert not any("alice" in name for _, name in found)


def test_only_the_lanes_answered_most_are_shown():
    view = FakeRuntime().lanes()
    tallies = tuple(
        Tally(lane=f"l{number}@local", deployment="m", answers=number) for number in range(500)
    )
    found = samples(lane_families(msgspec.structs.replace(view, tallies=tallies)))
    lanes = {lane for name, lane in found if name == "metabolic_lane_answers_total"}
    assert len(lanes) == 50
    assert "l499@local" in lanes
    assert "l0@local" not in lanes


def test_tenants_are_hashed_and_bounded():
    family = strong_family((f"t{number}", number / 1000) for number in range(1000))
    (largest, *rest) = family.samples
    assert (largest.value, largest.labels["tenant"]) == (0.999, tenant_hash("t999"))
    assert len(rest) == 49
    assert strong_family(()).samples == []
