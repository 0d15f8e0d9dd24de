"""The small weights that come with the package, read when first asked for.

What they were trained on, how well they do and where they fail is in ``weights/README.md``.
"""

__all__ = ["Answers", "Lane", "answers", "copied", "weights_version"]

from importlib.resources import files

import msgspec
from msgspec import Struct

from metabolic.validate.logistic import Logistic
from metabolic.validate.trees import Trees


class Lane(Struct, frozen=True, kw_only=True):
    """The scorer of one lane: its trees, and how many labelled answers it learned from."""

    name: str
    rows: int
    trees: Trees


class Answers(Struct, frozen=True, kw_only=True):
    """The scorers of answers, by lane, under one version."""

    version: str
    lanes: tuple[Lane, ...]


def answers() -> Answers:
    """Return the scorers of answers."""
    return msgspec.json.decode(_read("answers.json"), type=Answers)


def copied() -> Logistic:
    """Return the scorer of copied runs: P(unsupported) over ``support.FEATURES``."""
    return msgspec.json.decode(_read("copied.json"), type=Logistic)


def weights_version() -> str:
    """Return the version of the shipped scorers, as certificates name it."""
    return answers().version


def _read(name: str) -> bytes:
    """Return one file of the package."""
    return (files("metabolic.validate") / "weights" / name).read_bytes()
