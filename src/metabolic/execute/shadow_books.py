"""What calls took, whoever made them: the bill's own formula on one call at a time."""

__all__ = ["Books", "run_of"]

from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from metabolic.account.bill import bill
from metabolic.core.attempt import Answer, Attempt, Run
from metabolic.core.decision import Decision, Policy, Stage
from metabolic.core.fleet import Deployment, Situation
from metabolic.core.receipt import Receipt
from metabolic.core.request import Ask
from metabolic.core.signals import Signals
from metabolic.decide.advance import begin


class Books(Struct, frozen=True, kw_only=True):
    """What bills of one request are made with."""

    ask: Ask
    signals: Signals
    situation: Situation
    policy: Policy
    fleet: Mapping[str, Deployment]

    def took(self, attempts: Sequence[Attempt]) -> tuple[float | None, float | None]:
        """Return dollars and local joules of calls; ``None`` where one of them is not known."""
        usd, energy_j = 0.0, 0.0
        known_usd = known_j = True
        for one in attempts:
            receipt = self._receipt(one)
            here = self.fleet.get(one.call.deployment)
            local = here is not None and here.device is not None
            if receipt.attempts[0].tokens_usd is None and not local and one.failure is None:
                known_usd = False
            usd += receipt.cost.total_usd
            if local:
                known_j = known_j and receipt.energy is not None
                energy_j += 0.0 if receipt.energy is None else receipt.energy.energy_j
        return (usd if known_usd else None), (energy_j if known_j else None)

    def _receipt(self, attempt: Attempt) -> Receipt:
        """Return the bill of one call."""
        return bill(
            ask=self.ask,
            signals=self.signals,
            level=self.situation.metabolic.level,
            fleet=self.fleet,
            policy=self.policy,
            run=run_of(attempt),
            seconds=attempt.ended_s - attempt.began_s,
            load=self.situation.load,
        )


def run_of(attempt: Attempt) -> Run:
    """Return the run that is one call."""
    name = attempt.call.deployment
    made = begin(Decision(stages=(Stage(deployment=name),)))
    answer = None if attempt.failure else Answer(call=attempt.call.id, deployment=name)
    return replace(made, attempts=(attempt,), answer=answer, finished=True)
