"""A classifier that says what it is told: for simulations, tests and as the seam's example."""

__all__ = ["FakeClassifier", "Options", "create"]

from msgspec import Struct

from metabolic.core.request import Request
from metabolic.core.signals import PCorrect, Signals


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The signals to give; the defaults are neutral.

    ``p_correct`` are (deployment, probability) pairs.
    """

    task: str = "other"
    p_simple: float = 1 / 3
    p_complex: float = 1 / 3
    expected_output_tokens: int = 256
    p_correct: tuple[tuple[str, float], ...] = ()
    confidence: float = 0.0


class FakeClassifier:
    """Gives the same signals to every request."""

    name = "fake"

    def __init__(self, options: Options) -> None:
        """Make the signals once."""
        self._signals = Signals(
            task=options.task,
            lane=options.task,
            p_simple=options.p_simple,
            p_medium=1.0 - options.p_simple - options.p_complex,
            p_complex=options.p_complex,
            expected_output_tokens=options.expected_output_tokens,
            p_correct=tuple(
                PCorrect(deployment=name, p_correct=p) for name, p in options.p_correct
            ),
            confidence=options.confidence,
            classifier=self.name,
        )

    def classify(self, request: Request) -> Signals:
        """Return the signals of the options, whatever the request."""
        del request
        return self._signals


def create(options: Options) -> FakeClassifier:
    """Return a classifier that says what ``options`` say."""
    return FakeClassifier(options)
