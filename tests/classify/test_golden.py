"""The rules give what they gave when their outputs were written down: tuning must not move them.

The first rows are prompts of our own, the rest is made text: words of the lists, phrases, signs,
scripts and layout in any order. Change ``rules/2`` to a new version before changing a row.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from metabolic.classify.rules import Options, create
from metabolic.core.request import Message, Request, ResponseFormat, Text
from metabolic.core.signals import Signals

ROWS: tuple[dict[str, Any], ...] = tuple(
    map(json.loads, Path(__file__).with_name("golden.jsonl").read_text().splitlines())
)
TOLERANCE = 2e-9
"""Rows are rounded to nine digits; sums over a set differ in the last bit from run to run."""


def message(role: Any, text: str) -> Message:
    return Message(role=role, content=(Text(text=text),))


def request_of(row: dict[str, Any]) -> Request:
    messages = [message("user", row["prompt"])]
    if row["before"]:
        earlier = (message("user", "Earlier."), message("assistant", "Yes. " * row["before"]))
        messages = [*earlier, *messages]
    if row["system"] is not None:
        messages.insert(0, message("system", row["system"]))
    return Request(
        id="r",
        dialect="chat",
        model="auto",
        messages=tuple(messages),
        response_format=ResponseFormat(kind=row["format"]),
    )


def assert_same(signals: Signals, wanted: dict[str, Any]) -> None:
    assert signals.task == signals.lane == wanted["task"]
    assert signals.expected_output_tokens == wanted["tokens"]
    assert list(signals.hints) == wanted["hints"]
    assert signals.language == wanted["language"]
    assert signals.confidence == pytest.approx(wanted["confidence"], abs=TOLERANCE)
    chances = (signals.p_simple, signals.p_medium, signals.p_complex)
    assert chances == pytest.approx(wanted["p"], abs=TOLERANCE)
    ratios = [one.ratio for one in signals.dimensions]
    assert ratios == pytest.approx(wanted["dimensions"], abs=TOLERANCE)


def test_every_row_gives_what_it_gave() -> None:
    classifier = create(Options())
    assert len(ROWS) > 300
    for row in ROWS:
        assert_same(classifier.classify(request_of(row)), row["signals"])
