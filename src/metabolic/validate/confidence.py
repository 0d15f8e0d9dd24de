"""How sure the model was of its own words, from token log-probabilities."""

__all__ = ["ConfidenceValidator", "Options", "check_cost", "create"]

from msgspec import Struct

from metabolic.core.attempt import Attempt, Reply, Verdict
from metabolic.core.checking import CheckCost
from metabolic.core.request import Request
from metabolic.decide.evidence import confidence, summarise


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nothing to set: the threshold is the policy's, since it depends on profile and level."""


class ConfidenceValidator:
    """Reports the geometric mean token probability of the least sure choice.

    Every answer is well-formed to it; whether it is sure enough is the stage's business. Without
    log-probabilities (a tool call, a server that gives none) it has nothing to say.
    """

    name = "confidence"
    cost_s = 5e-6

    async def check(self, request: Request, attempt: Attempt, reply: Reply) -> Verdict:
        """Return the confidence in [0, 1], ``None`` without log-probabilities."""
        del request
        if attempt.choices:
            value = confidence(choice.logprobs for choice in attempt.choices)
        else:
            value = confidence(summarise(choice.logprobs) for choice in reply.choices)
        return Verdict(well_formed=True, confidence=value, validator=self.name)


def check_cost(options: Options) -> CheckCost:
    """Return what a draft typically takes."""
    del options
    return CheckCost(name="confidence", cpu_s=ConfidenceValidator.cost_s)


def create(options: Options) -> ConfidenceValidator:
    """Return the validator; ``options`` has nothing to set."""
    del options
    return ConfidenceValidator()
