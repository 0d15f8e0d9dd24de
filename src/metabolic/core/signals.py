"""What the classifiers saw in a request."""

__all__ = ["TASKS", "Dimension", "Hit", "PCorrect", "Signals"]

from msgspec import Struct

TASKS = (
    "open_qa",
    "closed_qa",
    "summarization",
    "text_generation",
    "code_generation",
    "chatbot",
    "classification",
    "rewrite",
    "brainstorming",
    "extraction",
    "other",
)
"""The task types. Source: NVIDIA prompt-task-and-complexity-classifier, model card."""


class Dimension(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One named complexity dimension in [0, 1]: an explanation, never the routing objective."""

    name: str
    ratio: float


class PCorrect(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A classifier's probability that one deployment answers this query well.

    ``evidence`` is the number of labelled outcomes behind it.
    """

    deployment: str
    p_correct: float
    evidence: int = 0


class Hit(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A skill claims that it can answer without a model."""

    skill: str


class Signals(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What the classifiers saw.

    ``task`` is one of ``TASKS``; ``lane`` the task family used for evidence (the task itself
    until lanes are learned). The three complexity probabilities sum to 1. ``novelty_ratio`` is
    ``None`` when the classifier cannot say. ``hints`` are what the answer seems to need, sorted:
    ``code``, ``context``, ``image``, ``json``, ``math``, ``reasoning``. ``odds_ratio`` says, for a
    tiny, small, medium and large model, by how much the odds of a good answer differ here from an
    average query's; ``()`` where nobody knows. ``classifier`` names classifier and version.
    """

    task: str = "other"
    lane: str = "other"
    p_simple: float = 1 / 3
    p_medium: float = 1 / 3
    p_complex: float = 1 / 3
    dimensions: tuple[Dimension, ...] = ()
    expected_output_tokens: int = 256
    hints: tuple[str, ...] = ()
    language: str | None = None
    p_correct: tuple[PCorrect, ...] = ()
    odds_ratio: tuple[float, ...] = ()
    novelty_ratio: float | None = None
    skill: Hit | None = None
    confidence: float = 0.0
    classifier: str = "none"
