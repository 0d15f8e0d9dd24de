"""A validator that says what it is told: for simulations, tests and as the seam's example."""

__all__ = ["FakeValidator", "Options", "check_cost", "create"]

from msgspec import Struct

from metabolic.core.attempt import Attempt, Reply, Verdict
from metabolic.core.checking import CheckCost
from metabolic.core.request import Request


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The verdict to give; ``by_deployment`` pairs give another confidence to some."""

    well_formed: bool = True
    doubtful: bool = False
    confidence: float | None = None
    by_deployment: tuple[tuple[str, float], ...] = ()
    reasons: tuple[str, ...] = ()


class FakeValidator:
    """Gives the verdict of its options to every answer."""

    name = "fake"
    cost_s = 0.0

    def __init__(self, options: Options) -> None:
        """Keep what to say."""
        self._options = options
        self._confidences = dict(options.by_deployment)

    async def check(self, request: Request, attempt: Attempt, reply: Reply) -> Verdict:
        """Return the verdict of the options, whatever the answer."""
        del request, reply
        options = self._options
        return Verdict(
            well_formed=options.well_formed,
            doubtful=options.doubtful,
            confidence=self._confidences.get(attempt.call.deployment, options.confidence),
            reasons=options.reasons,
            validator=self.name,
        )


def check_cost(options: Options) -> CheckCost:
    """Return what a draft typically takes."""
    del options
    return CheckCost(name="fake", cpu_s=FakeValidator.cost_s)


def create(options: Options) -> FakeValidator:
    """Return a validator that says what ``options`` say."""
    return FakeValidator(options)
