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
from metabolic.core.request import Request
from metabolic.core.signals import Dimension, PCorrect, Signals

NAME = "rules/1"

_OTHER_SCORE = 1.2
"""What ``other`` scores: a task must be better evidenced than one weak cue."""

_EASY_BELOW = 0.7
_HARD_ABOVE = 1.9
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
        task, sure = _task(features)
        if sure < self._options.min_confidence:
            task = "other"
        p_simple, p_medium, p_complex = _complexity(_difficulty(features, task))
        p_correct = tuple(one for head in self._heads for one in head.predict(features))
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
            confidence=sure,
            classifier=NAME,
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
    best = max(scores, key=lambda task: (scores[task], task))
    top = scores[best]
    return best, 1.0 / sum(exp(score - top) for score in scores.values())


def _add_layout(features: Features, scores: dict[str, float]) -> None:
    """Add what layout says: code, given material, questions, greetings."""
    if features.has_fence or features.code_marks > 1:
        scores["code_generation"] = scores.get("code_generation", 0.0) + 1.5
    elif features.code_words > 1:
        # "Write a SQL query": what is written is code.
        writing = 0.5 * scores.get("text_generation", 0.0)
        scores["code_generation"] = scores.get("code_generation", 0.0) + 0.6 + writing
    if features.is_question:
        given = features.block_words > 8  # noqa: PLR2004 - a sentence
        kind = "closed_qa" if given or scores.get("closed_qa", 0.0) >= 2.0 else "open_qa"  # noqa: PLR2004
        scores[kind] = scores.get(kind, 0.0) + 1.6
        if kind == "closed_qa":
            # "Text: … Who won?": the question is answered from what stands there.
            scores[kind] += scores.get("open_qa", 0.0)
    elif "closed_qa" in scores:
        scores["closed_qa"] *= 0.4
    if features.numbers and features.operators:
        scores["open_qa"] = scores.get("open_qa", 0.0) + 1.0
    if features.words > 12 and "chatbot" in scores:  # noqa: PLR2004 - small talk is short
        scores["chatbot"] *= 0.4


def _difficulty(features: Features, task: str) -> float:
    """Return the latent difficulty: 0 is a fact to recall, 2 a proof or a program to design."""
    own_words = max(1, features.words - features.block_words)
    value = (
        _EFFORT.get(task, 0.0)
        + 0.45 * min(features.reasoning, 5) ** 0.8
        + 0.22 * min(features.constraints, 6) ** 0.8
        + 0.45 * min(features.domain, 3)
        + 0.30 * log(1 + own_words / 12)
        + 0.12 * log(1 + features.block_words / 40)
        + 0.15 * min(features.items, 6) ** 0.5
        + 0.25 * (features.questions > 1)
        + 0.35 * (features.numbers > 1 and task in {"open_qa", "other"})
        + 0.20 * (features.code_words > 0)
        + 0.25 * (features.tools > 0)
        + 0.25 * (features.asked_tokens is not None and features.asked_tokens > 300)  # noqa: PLR2004
        - 0.10 * min(features.few_shots, 3)
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


def _dimensions(features: Features) -> tuple[Dimension, ...]:
    """Return the six dimensions and the published score, each in [0, 1]."""
    creativity = 1.0 - exp(-0.7 * features.creative)
    reasoning = 1.0 - exp(-0.4 * (features.reasoning + (features.operators > 0)))
    constraints = 1.0 - exp(-0.35 * (features.constraints + features.wants_json))
    domain = 1.0 - exp(-0.5 * (features.domain + 0.5 * features.code_words))
    contextual = 1.0 - exp(-(features.block_words + features.context_chars / 6) / 150)
    few_shots = min(1.0, features.few_shots / 5)
    score = complexity_score(
        creativity=creativity,
        reasoning=reasoning,
        constraints=constraints,
        domain=domain,
        contextual=contextual,
        few_shots=few_shots,
    )
    return (
        Dimension(name="creativity", ratio=creativity),
        Dimension(name="reasoning", ratio=reasoning),
        Dimension(name="constraints", ratio=constraints),
        Dimension(name="domain", ratio=domain),
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
