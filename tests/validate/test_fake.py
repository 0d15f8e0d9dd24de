"""The fake validator says what it is told."""

import pytest

from metabolic.core.attempt import Attempt, Call, Reply, Verdict
from metabolic.core.request import Request
from metabolic.testing.validators import check_validator
from metabolic.validate.fake import Options, create

pytestmark = pytest.mark.anyio


def _attempt(deployment: str) -> Attempt:
    call = Call(id="c0", stage=0, deployment=deployment)
    return Attempt(call=call, began_s=0.0, ended_s=1.0)


async def test_it_gives_the_verdict_of_its_options() -> None:
    options = Options(well_formed=False, doubtful=True, reasons=("because",), confidence=0.3)
    verdict = await create(options).check(
        Request(id="r", dialect="chat", model="auto"), _attempt("a"), Reply()
    )
    assert verdict == Verdict(
        well_formed=False, doubtful=True, confidence=0.3, reasons=("because",), validator="fake"
    )


async def test_deployments_may_differ_in_confidence() -> None:
    fake = create(Options(confidence=0.9, by_deployment=(("small", 0.1),)))
    request = Request(id="r", dialect="chat", model="auto")
    assert (await fake.check(request, _attempt("small"), Reply())).confidence == 0.1
    assert (await fake.check(request, _attempt("large"), Reply())).confidence == 0.9


async def test_it_conforms() -> None:
    await check_validator(create(Options()))
