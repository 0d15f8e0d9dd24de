"""The rules and learned heads together: what the rules say, and which sizes find a prompt hard.

Heads by size were trained on public outcomes. They do not know the deployments here, so they only
say by how much this prompt's odds of a good answer differ from an average prompt's, for a model of
each size; an unfamiliar prompt moves them less. Heads named after a deployment, trained on labels
of one's own, say its probability outright.
"""

__all__ = ["LearnedClassifier", "Options", "create"]

from math import exp, log
from pathlib import Path

from msgspec import Struct

from metabolic.classify.features import look
from metabolic.classify.grams import MAX_CHARS
from metabolic.classify.heads import SHIPPED, Column, Heads, Scores, load
from metabolic.classify.rules import Options as RulesOptions
from metabolic.classify.rules import RulesClassifier
from metabolic.core.request import Request
from metabolic.core.signals import PCorrect, Signals

_SIZES = ("tiny", "small", "medium", "large")
_PER_NOVELTY = 0.5
_MOST_ODDS = 8.0
"""An odds ratio is kept in [1/8, 8]: no wording alone may decide."""

_NO_SENSE = 3.0
"""Novelty (in standard deviations) from which a prompt is named wholly new."""

_DEPLOYMENT = "deployment:"


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Those of the rules, and the file of weights (``None``: the one that comes along)."""

    weights: str | None = None
    max_chars: int = MAX_CHARS
    min_confidence: float = 0.3


class LearnedClassifier:
    """Classifies by rules, and adds what the heads say."""

    def __init__(self, options: Options, heads: Heads) -> None:
        """Keep the rules and the heads."""
        self._heads = heads
        self._max_chars = options.max_chars
        self._rules = RulesClassifier(
            RulesOptions(max_chars=options.max_chars, min_confidence=options.min_confidence)
        )
        columns = heads.header.columns
        self.name = f"learned/{heads.header.version}"
        self._sizes = tuple(_column(columns, f"size:{size}") for size in _SIZES)
        self._deployments = tuple(
            (j, one.name.removeprefix(_DEPLOYMENT), one.rows)
            for j, one in enumerate(columns)
            if one.name.startswith(_DEPLOYMENT)
        )

    def classify(self, request: Request) -> Signals:
        """Return the signals of a request."""
        seen = look(request, max_chars=self._max_chars)
        scores = self._heads.score(seen)
        return self._rules.signals(
            request,
            seen.features,
            odds_ratio=self._odds(scores),
            novelty_ratio=min(1.0, max(0.0, scores.novelty / _NO_SENSE)),
            p_correct=tuple(
                [
                    PCorrect(deployment=name, p_correct=scores.values[j], evidence=rows)
                    for j, name, rows in self._deployments
                ]
            ),
            classifier=self.name,
        )

    def _odds(self, scores: Scores) -> tuple[float, ...]:
        """Return the odds ratio of each size; a size without a head takes its larger neighbour's.

        The log odds' distance from the average is divided by ``1 + novelty / 2``.
        """
        found: list[float] = []
        weight = 1.0 / (1.0 + _PER_NOVELTY * max(0.0, scores.novelty))
        later = 1.0
        for place in reversed(self._sizes):
            if place is not None:
                j, usual = place
                p = scores.values[j]
                away = exp(weight * (log(p / (1 - p)) - usual))
                later = min(_MOST_ODDS, max(1 / _MOST_ODDS, away))
            found.append(round(later, 4))
        return tuple(reversed(found))


def _column(columns: tuple[Column, ...], name: str) -> tuple[int, float] | None:
    """Return the place of a head and the log odds of its average; ``None`` without it."""
    for j, one in enumerate(columns):
        if one.name == name:
            return j, log(one.mean / (1 - one.mean))
    return None


def create(options: Options) -> LearnedClassifier:
    """Return the classifier. Raises ``ConfigError`` when the weights cannot be used."""
    path = SHIPPED if options.weights is None else Path(options.weights).expanduser()
    return LearnedClassifier(options, load(path))
