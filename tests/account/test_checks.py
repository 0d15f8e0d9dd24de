"""What checking the drafts took is on the receipt, and in its dollars."""

import pytest
from msgspec.structs import replace

from metabolic.account.checks import checks_of
from metabolic.core.attempt import Run, Verdict
from metabolic.core.checking import Checking
from metabolic.core.decision import Decision
from metabolic.core.receipt import Cost
from metabolic.testing.fleets import policy_of

GOOD = Verdict(well_formed=True)


def run(drafts: int) -> Run:
    return Run(
        decision=Decision(stages=()), verdicts=tuple((f"c{at}", GOOD) for at in range(drafts))
    )


def test_every_draft_that_was_checked_counts() -> None:
    policy = replace(
        policy_of(),
        checking=Checking(cpu_s=0.5, usd=0.001),
        cpu_w_per_core=4.0,
        usd_per_kwh=0.36,
    )
    found = checks_of(run(2), policy)
    assert found is not None
    assert (found.drafts, found.cpu_s, found.energy_j) == (2, 1.0, 4.0)
    assert found.usd == pytest.approx(0.002 + 4.0 * 1e-7)


def test_nothing_checked_and_nobody_who_says_is_nothing_on_the_bill() -> None:
    assert checks_of(run(0), replace(policy_of(), checking=Checking(cpu_s=0.5))) is None
    assert checks_of(run(2), policy_of()) is None


def test_checks_are_part_of_the_dollars() -> None:
    assert Cost(tokens_usd=1.0, checks_usd=0.5).total_usd == 1.5
