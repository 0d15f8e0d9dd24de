"""Meters that hold one another are never added."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.account.nesting import Nesting, Span, nest, rest_j

CPU = Span(name="cpu", domain="package", covers=("cpu",))
GPU = Span(name="gpu0", domain="gpu", covers=("gpu0",))
BOARD = Span(name="board", domain="board", covers=("cpu", "gpu0"))
NODE = Span(name="node", domain="node", covers=("*",))
GUESS = Span(name="cpu", domain="package", covers=("cpu",), origin="modelled")


def test_each_device_has_its_own_meter_and_the_node_encloses_them() -> None:
    found = nest([NODE, CPU, GPU], ["cpu", "gpu0"])
    assert found.meters == {"cpu": "cpu", "gpu0": "gpu0"}
    assert found.enclosing == (("node", ("cpu", "gpu0")),)
    assert found.chosen == ("cpu", "gpu0")


def test_a_measured_node_comes_before_a_modelled_package() -> None:
    assert nest([GUESS, NODE], ["cpu"]) == Nesting(meters={"cpu": "node"})


def test_a_coarse_meter_that_is_needed_takes_the_place_of_those_it_holds() -> None:
    found = nest([GPU, BOARD], ["cpu", "gpu0"])
    assert found.meters == {"cpu": "board", "gpu0": "board"}


def test_only_the_devices_that_are_drawn_from_need_a_meter() -> None:
    found = nest([CPU, GPU, BOARD], ["gpu0"])
    assert found.meters == {"gpu0": "gpu0"}
    assert found.enclosing == (("board", ("gpu0",)),)


def test_a_device_without_a_meter_is_left_out() -> None:
    assert nest([CPU], ["cpu", "npu"]).meters == {"cpu": "cpu"}


def test_the_rest_is_what_the_enclosing_meter_read_beyond_its_parts() -> None:
    assert rest_j(10.0, [3.0, 4.0]) == 3.0
    assert rest_j(5.0, [3.0, 4.0]) == -2.0


@pytest.mark.parametrize("spans", list(permutations([CPU, GPU, BOARD, NODE])))
def test_the_order_of_meters_does_not_matter(spans: tuple[Span, ...]) -> None:
    assert nest(spans, ["gpu0", "cpu"]) == nest([CPU, GPU, BOARD, NODE], ["cpu", "gpu0"])


@given(
    st.lists(st.sampled_from([CPU, GPU, BOARD, NODE]), unique=True),
    st.sets(st.sampled_from(["cpu", "gpu0"])),
)
def test_no_two_chosen_meters_share_a_device(spans: list[Span], devices: set[str]) -> None:
    found = nest(spans, devices)
    chosen = [one for one in spans if one.name in found.chosen]
    covered = [d for one in chosen for d in ("cpu", "gpu0") if d in one.covers or "*" in one.covers]
    assert len(covered) == len(set(covered))
    assert set(found.meters) <= devices
