"""P(acceptable) of an answer, learned per lane from labelled answers; stands in for ``confidence``.

The scorer reads signals of the text (equations that do not hold, hedges, the look of the final
answer) and, where the engine gives them, of the token log-probabilities. Trees route what is
missing. The lane is told by form (``features.lane_of``); a lane nobody learned has no opinion and
falls back to the mean token probability, as ``confidence`` has it.
"""

__all__ = ["LearnedValidator", "Options", "check_cost", "create", "score_version"]

import math

from msgspec import Struct

from metabolic.core.attempt import Attempt, Reply, ReplyChoice, Signal, Verdict
from metabolic.core.checking import CheckCost
from metabolic.core.request import Request
from metabolic.decide.evidence import confidence, summarise
from metabolic.validate.context import question_of
from metabolic.validate.features import NAMES, lane_of, signals_of
from metabolic.validate.shipped import answers, weights_version
from metabolic.validate.trees import Trees


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether the signals are recorded too (numbers only), for calibration on one's own traffic."""

    signals: bool = False


class LearnedValidator:
    """Scores every choice; the least acceptable speaks for the answer."""

    name = "learned"
    cost_s = 1e-3

    def __init__(self, options: Options) -> None:
        """Read the shipped weights."""
        self._signals = options.signals
        shipped = answers()
        self._lanes = {lane.name: lane.trees for lane in shipped.lanes}
        self.version = shipped.version

    async def check(self, request: Request, attempt: Attempt, reply: Reply) -> Verdict:
        """Return P(acceptable) in [0, 1]; ``None`` where nothing is known."""
        del attempt
        if request.dialect == "embeddings" or not reply.choices:
            return Verdict(well_formed=True, validator=self.name)
        question = question_of(request)
        scored = [self._scored(question, choice) for choice in reply.choices]
        known = [p for p, _ in scored if p is not None]
        least = min(scored, key=lambda one: 1.0 if one[0] is None else one[0])
        return Verdict(
            well_formed=True,
            confidence=min(known) if len(known) == len(scored) else None,
            validator=self.name,
            signals=least[1] if self._signals else (),
        )

    def _scored(
        self, question: str, choice: ReplyChoice
    ) -> tuple[float | None, tuple[Signal, ...]]:
        """Return one choice's P(acceptable) and its signals."""
        if choice.tool_calls or not choice.text.strip():
            return confidence([summarise(choice.logprobs)]), ()
        lane = lane_of(question, choice.text)
        # The general lane was taught without the texts of the questions.
        asked = "" if lane == "general" else question
        row = signals_of(asked, choice.text, choice.logprobs)
        trees: Trees | None = self._lanes.get(lane)
        # Beyond form alone the general lane knows nothing without log-probabilities.
        silent = trees is None or (lane == "general" and not choice.logprobs)
        p = confidence([summarise(choice.logprobs)]) if silent or trees is None else trees.p(row)
        read = zip(NAMES, row, strict=True)
        return p, tuple([Signal(name=n, value=v) for n, v in read if not math.isnan(v)])


def check_cost(options: Options) -> CheckCost:
    """Return what a draft typically takes."""
    del options
    return CheckCost(name="learned", cpu_s=LearnedValidator.cost_s)


def create(options: Options) -> LearnedValidator:
    """Return the scorer with the shipped weights."""
    return LearnedValidator(options)


def score_version() -> str:
    """Return the version of the shipped weights: certificates of another one are not in force."""
    return weights_version()
