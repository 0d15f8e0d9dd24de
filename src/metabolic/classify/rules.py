"""The transparent classifier: lists of words, a dozen counts and two small formulas.

It says which of the eleven task types a prompt is, how likely it is to be simple, medium or
complex, how long the answer will be, and gives NVIDIA's six complexity dimensions as an
explanation. The dimensions never route: their published score puts 35 % on creativity, by which a
poem outranks a proof.

Learned heads, when there are any, take the same ``Features`` and add ``p_correct``: a ``Head`` is
all they need to be.
"""

__all__ = ["Head", "Options", "RulesClassifier", "complexity_score", "create"]

from collections.abc import Sequence
from math import exp, log
from typing import Protocol

from msgspec import Struct

from metabolic.classify.features import Features, extract
from metabolic.classify.lexicon import CODE, CONSTRAINTS, CREATIVE, DOMAINS, REASONING
from metabolic.core.request import Request
from metabolic.core.signals import Dimension, PCorrect, Signals

NAME = "rules/2"

_OTHER_SCORE = 1.2
"""What ``other`` scores: a task must be better evidenced than one weak cue."""

_EASY_BELOW = 0.2
_HARD_ABOVE = 1.6
_SLOPE = 1.7
"""Cut points and slope of the ordered logit; set by hand on our own labelled prompts."""

_BASE_TOKENS = {
    "open_qa": 90,
    "closed_qa": 40,
    "summarization": 120,
    "text_generation": 350,
    "code_generation": 250,
    "chatbot": 50,
    "classification": 6,
    "rewrite": 60,
    "brainstorming": 250,
    "extraction": 30,
    "other": 180,
}
"""Output tokens of a typical answer, from our own prompts on small instruct models."""

_EFFORT = {
    "code_generation": 0.75,
    "text_generation": 0.75,
    "brainstorming": 0.8,
    "summarization": 0.6,
    "classification": -0.5,
    "extraction": -0.2,
    "chatbot": -0.9,
    "closed_qa": -0.2,
    "rewrite": 0.0,
}
"""What a task type adds to the difficulty; the others add nothing."""

_REASONING_ADDS = tuple(0.45 * count**0.8 for count in range(6))
_CONSTRAINTS_ADD = tuple(0.22 * count**0.8 for count in range(7))
_ITEMS_ADD = tuple(0.15 * count**0.5 for count in range(7))
"""What so many words or items add to the difficulty: each one less than the one before."""

_ASKED = ("brainstorming", "classification", "code_generation", "extraction", "summarization")
_NONE = (0.0,) * len(_ASKED)
"""Tasks that are often put as a question."""

_SHORT_ANSWERS = frozenset(
    {"open_qa", "closed_qa", "chatbot", "classification", "rewrite", "other"}
)


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of a turn is read (its head and tail), and when a task is too unsure to name.

    ``min_confidence`` is in [0, 1]; below it the task is ``other``.
    """

    max_chars: int = 4096
    min_confidence: float = 0.3


class Head(Protocol):
    """A learned head: how likely each deployment answers this prompt well."""

    def predict(self, features: Features) -> tuple[PCorrect, ...]:
        """Return a probability for each deployment it knows."""
        ...


class RulesClassifier:
    """Classifies by rules; learned heads may add what they know."""

    name = NAME

    def __init__(self, options: Options, *, heads: Sequence[Head] = ()) -> None:
        """Keep the options and the heads."""
        self._options = options
        self._heads = tuple(heads)

    def classify(self, request: Request) -> Signals:
        """Return the signals of a request."""
        features = extract(request, max_chars=self._options.max_chars)
        p_correct: tuple[PCorrect, ...] = ()
        if self._heads:
            p_correct = tuple(one for head in self._heads for one in head.predict(features))
        return self.signals(request, features, p_correct=p_correct)

    def signals(
        self,
        request: Request,
        features: Features,
        *,
        p_correct: tuple[PCorrect, ...] = (),
        odds_ratio: tuple[float, ...] = (),
        novelty_ratio: float | None = None,
        classifier: str = NAME,
    ) -> Signals:
        """Return the signals of a request whose features are known, with what heads say."""
        task, sure = _task(features)
        if sure < self._options.min_confidence:
            task = "other"
        p_simple, p_medium, p_complex = _complexity(_difficulty(features, task))
        return Signals(
            task=task,
            lane=task,
            p_simple=p_simple,
            p_medium=p_medium,
            p_complex=p_complex,
            dimensions=_dimensions(features),
            expected_output_tokens=_output_tokens(request, features, task),
            language=features.language,
            hints=_hints(features),
            p_correct=p_correct,
            odds_ratio=odds_ratio,
            novelty_ratio=novelty_ratio,
            confidence=sure,
            classifier=classifier,
        )


def complexity_score(
    *,
    creativity: float,
    reasoning: float,
    constraints: float,
    domain: float,
    contextual: float,
    few_shots: float,
) -> float:
    """Return NVIDIA's overall complexity of six dimensions in [0, 1].

    Source: NVIDIA prompt-task-and-complexity-classifier, model card.

    >>> round(complexity_score(creativity=1, reasoning=1, constraints=1, domain=1, contextual=1,
    ...                        few_shots=1), 9)
    1.0
    """
    return (
        0.35 * creativity
        + 0.25 * reasoning
        + 0.15 * constraints
        + 0.15 * domain
        + 0.05 * contextual
        + 0.05 * few_shots
    )


def _task(features: Features) -> tuple[str, float]:
    """Return the best evidenced task and its share of the evidence (a softmax)."""
    scores = dict(features.cues)
    scores["other"] = _OTHER_SCORE
    _add_layout(features, scores)
    best, top = "other", scores["other"]
    for task, score in scores.items():
        if score > top or (score == top and task > best):
            best, top = task, score
    return best, 1.0 / sum([exp(score - top) for score in scores.values()])


def _add_layout(features: Features, scores: dict[str, float]) -> None:
    """Add what layout says: code, given material, questions, greetings."""
    if features.has_fence or features.code_marks > 1:
        # "Translate this Python to Go": what is changed is code.
        changing = 0.6 * scores.get("rewrite", 0.0) if features.code_words else 0.0
        scores["code_generation"] = scores.get("code_generation", 0.0) + 1.5 + changing
    elif features.code_words:
        # "Write a SQL query": what is written is code.
        writing = 0.5 * scores.get("text_generation", 0.0)
        scores["code_generation"] = scores.get("code_generation", 0.0) + 0.6 + writing
    if features.is_question:
        given = features.block_words > 6  # noqa: PLR2004 - a sentence
        kind = "closed_qa" if given or scores.get("closed_qa", 0.0) >= 2.0 else "open_qa"  # noqa: PLR2004
        clear = max(map(scores.get, _ASKED, _NONE)) >= 1.5  # noqa: PLR2004 - more than one weak cue
        scores[kind] = scores.get(kind, 0.0) + (0.4 if clear else 1.6)
        if kind == "closed_qa":
            # "Text: … Who won?": the question is answered from what stands there.
            scores[kind] += scores.get("open_qa", 0.0)
    elif "closed_qa" in scores:
        scores["closed_qa"] *= 0.4
    if features.numbers and features.operators:
        scores["open_qa"] = scores.get("open_qa", 0.0) + 1.0
    if features.is_talk:
        scores["chatbot"] = scores.get("chatbot", 0.0) + 1.6
    if features.words > 12 and "chatbot" in scores:  # noqa: PLR2004 - small talk is short
        scores["chatbot"] *= 0.4


def _difficulty(features: Features, task: str) -> float:
    """Return the latent difficulty: 0 is a fact to recall, 2 a proof or a program to design."""
    given = features.block_words
    # Words that are repeated, or cues without words between them, are no harder question.
    own_words = max(1, min(features.words - given, 2 * features.distinct))
    value = (
        _EFFORT.get(task, 0.0)
        + _REASONING_ADDS[min(features.reasoning, 1 + own_words // 5, 5)]
        + _CONSTRAINTS_ADD[min(features.constraints, 6)]
        + 0.45 * min(features.domain, 1 + own_words // 12, 3)
        + 0.30 * log(1 + own_words / 12)
        + (0.12 * log(1 + given / 40) if given else 0.0)
        + _ITEMS_ADD[min(features.items, 6)]
        + (0.25 if features.questions > 1 else 0.0)
        + (0.35 if features.numbers > 1 and task in {"open_qa", "other"} else 0.0)
        + (0.20 if features.code_words else 0.0)
        + (0.25 if features.tools else 0.0)
        + (0.25 if (features.asked_tokens or 0) > 300 else 0.0)  # noqa: PLR2004
        - (0.10 * min(features.few_shots, 3) if features.few_shots else 0.0)
    )
    short = own_words <= 12 and features.reasoning < 2 and not features.domain  # noqa: PLR2004
    if short and task in _SHORT_ANSWERS:
        value -= 0.5
    return value


def _complexity(difficulty: float) -> tuple[float, float, float]:
    """Return P(simple), P(medium), P(complex), which sum to 1: an ordered logit."""
    p_simple = 1.0 / (1.0 + exp(_SLOPE * (difficulty - _EASY_BELOW)))
    p_complex = 1.0 / (1.0 + exp(_SLOPE * (_HARD_ABOVE - difficulty)))
    return p_simple, 1.0 - p_simple - p_complex, p_complex


def _rising(name: str, rate: float, counts: int) -> tuple[Dimension, ...]:
    """Return a dimension for each count below ``counts``: 1 - exp(-rate x count)."""
    return tuple(Dimension(name=name, ratio=1.0 - exp(-rate * count)) for count in range(counts))


_CREATIVITY = _rising("creativity", 0.7, len(CREATIVE) + 1)
_REASONING = _rising("reasoning", 0.4, len(REASONING) + 2)
_CONSTRAINTS = _rising("constraints", 0.35, len(CONSTRAINTS) + 2)
_DOMAIN = _rising("domain", 0.25, 2 * len(DOMAINS) + len(CODE) + 1)
"""What each count of different words comes to; made once, since all counts are known."""


def _dimensions(features: Features) -> tuple[Dimension, ...]:
    """Return the six dimensions and the published score, each in [0, 1]."""
    creativity = _CREATIVITY[features.creative]
    reasoning = _REASONING[features.reasoning + (features.operators > 0)]
    constraints = _CONSTRAINTS[features.constraints + features.wants_json]
    domain = _DOMAIN[2 * features.domain + features.code_words]
    contextual = 1.0 - exp(-(features.block_words + features.context_chars / 6) / 150)
    few_shots = min(1.0, features.few_shots / 5)
    score = complexity_score(
        creativity=creativity.ratio,
        reasoning=reasoning.ratio,
        constraints=constraints.ratio,
        domain=domain.ratio,
        contextual=contextual,
        few_shots=few_shots,
    )
    return (
        creativity,
        reasoning,
        constraints,
        domain,
        Dimension(name="contextual", ratio=contextual),
        Dimension(name="few_shots", ratio=few_shots),
        Dimension(name="complexity_score", ratio=score),
    )


def _output_tokens(request: Request, features: Features, task: str) -> int:
    """Guess the tokens of one answer: what is asked for, else what such tasks take."""
    if features.asked_tokens is not None:
        guess = features.asked_tokens
    else:
        guess = _BASE_TOKENS[task]
        if task == "rewrite":
            guess += round(1.4 * features.block_words)
        elif task in {"open_qa", "other"}:
            guess += 25 * min(features.reasoning, 6)
    guess += 40 * features.wants_json
    limit = request.sampling.max_output_tokens
    return max(1, guess if limit is None else min(guess, limit))


def _hints(features: Features) -> tuple[str, ...]:
    """Return what the answer seems to need, sorted."""
    found: list[str] = []
    if features.code_words or features.has_fence or features.code_marks > 1:
        found.append("code")
    if features.block_words > 30 or features.context_chars > 2000:  # noqa: PLR2004
        found.append("context")
    if features.images:
        found.append("image")
    if features.wants_json:
        found.append("json")
    if features.operators or features.numbers > 1:
        found.append("math")
    if features.reasoning > 1:
        found.append("reasoning")
    return tuple(found)


def create(options: Options) -> RulesClassifier:
    """Return the classifier, without learned heads."""
    return RulesClassifier(options)
