"""Figures keep their significant digits, and unknown is a dash."""

import pytest

from metabolic.cli import show


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0"),
        (1 / 3, "0.333"),
        (0.00012345, "0.000123"),
        (0.0000012345, "1.23e-06"),
        (1234.5, "1234"),
        (12_345_678.0, "12345678"),
        (-2.5, "-2.5"),
    ],
)
def test_figures(value: float | None, text: str) -> None:
    assert show.figure(value) == text


def test_a_head_that_points_right_aligns_right() -> None:
    table = show.table("t", ("name", ">j"), [("a", "1")])
    assert [column.justify for column in table.columns] == ["left", "right"]
    assert [column.header for column in table.columns] == ["name", "j"]
    assert table.show_header
    assert not show.table("t", ("", ""), []).show_header
