"""Which speculating twin is worth its memory."""

import pytest
from msgspec.structs import replace

from metabolic.core.fleet import State
from metabolic.core.metabolic import MetabolicState
from metabolic.core.speculation import Drafter
from metabolic.decide.twins import HORIZON_S, Wish, due, pays, saved
from metabolic.testing.fleets import deployment

CALM = MetabolicState(level="nominal")
TWIN = replace(
    deployment("m+draft", parameters=1_500_000_000, decode_tokens_per_s=12.0),
    memory_bytes=1_600_000_000,
    load_s=5.0,
    active_w=4.0,
    drafting=Drafter(method="draft", twin_of="m", extra_bytes=400_000_000),
)


def _wish(ratio: float, *, state: State = "stopped", name: str = "m+draft") -> Wish:
    return Wish(deployment=replace(TWIN, name=name), state=state, saved_ratio=ratio)


def test_saved_seconds_fade_over_the_horizon() -> None:
    once = saved(0.0, seconds=60.0, since_s=0.0)
    assert once == pytest.approx(60.0 / HORIZON_S)
    assert saved(once, seconds=0.0, since_s=HORIZON_S) == pytest.approx(once / 2.718, rel=0.01)


def test_a_twin_pays_when_it_saves_more_than_loading_and_memory_take() -> None:
    assert not pays(_wish(0.0))
    assert not pays(_wish(0.1))  # 0.4 W saved, 0.6 W of memory
    assert pays(_wish(0.2))
    assert not pays(Wish(deployment=replace(TWIN, active_w=None), state="stopped", saved_ratio=9.0))


def test_the_one_that_saves_most_starts_where_it_fits() -> None:
    wishes = [_wish(0.3), _wish(0.5, name="n+draft"), _wish(0.9, state="warm", name="w+draft")]
    assert due(wishes, CALM, free_bytes=8e9, reserve_bytes=10**9) == "n+draft"
    assert due(wishes, CALM, free_bytes=2e9, reserve_bytes=10**9) is None
    assert due(wishes, CALM, free_bytes=None, reserve_bytes=10**9) == "n+draft"


@pytest.mark.parametrize(
    "state",
    [
        MetabolicState(level="critical"),
        MetabolicState(power_level="critical"),
        MetabolicState(memory_level="elevated"),
        MetabolicState(on_battery=True),
    ],
)
def test_nothing_starts_on_a_machine_that_is_short_of_something(state: MetabolicState) -> None:
    assert due([_wish(0.9)], state, free_bytes=8e9, reserve_bytes=0) is None


def test_one_starts_after_the_other() -> None:
    wishes = [_wish(0.9), _wish(0.5, state="starting", name="n+draft")]
    assert due(wishes, CALM, free_bytes=8e9, reserve_bytes=0) is None
