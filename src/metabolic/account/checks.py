"""What it took to check the drafts of a request: typical figures times the drafts checked."""

__all__ = ["checks_of"]

from metabolic.account.money import electricity_usd
from metabolic.core.attempt import Run
from metabolic.core.checking import Checks
from metabolic.core.decision import Policy


def checks_of(run: Run, policy: Policy) -> Checks | None:
    """Return what validators took; ``None`` when nothing was checked, or nobody says.

    Joules are CPU seconds at the policy's watts a core: a model, not a meter's word.
    """
    checking, drafts = policy.checking, len(run.verdicts)
    if checking is None or not drafts:
        return None
    judged = {name for name, _ in run.verdicts}
    gated = sum([one.call.logprobs and one.call.id in judged for one in run.attempts])
    cpu_s = drafts * checking.cpu_s + gated * checking.gate_cpu_s
    energy_j = cpu_s * policy.cpu_w_per_core
    electricity = electricity_usd(energy_j, usd_per_kwh=policy.usd_per_kwh)
    usd = drafts * checking.usd + gated * checking.gate_usd + electricity
    return Checks(drafts=drafts, cpu_s=cpu_s, energy_j=energy_j, usd=usd)
