"""Net savings of the last requests: what counts, what is unknown, how sure."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.core.attempt import Answer, Failure
from metabolic.core.fleet import Deployment, Model, Price
from metabolic.core.receipt import AttemptBill, Baseline, Cost, Energy
from metabolic.core.request import Ask, Usage
from metabolic.gateway.page.saved import LEAST_GROUPS, Saved, saved
from metabolic.testing.runtime import fake_record

PRICE = Price(input_usd_per_token=2e-6, output_usd_per_token=8e-6, cached_usd_per_token=1e-6)
FLEET = {
    "api": Deployment(name="api", model=Model(id="api", tier="large"), price=PRICE),
    "cpu": Deployment(name="cpu", model=Model(id="cpu", tier="tiny"), kind="local", device="cpu"),
}


def record(
    number: int,
    *,
    spent: float = 1.0,
    base: float | None = 4.0,
    by: str = "api",
    session: str | None = None,
    answered: bool = True,
    energy: Energy | None = None,
    base_j: float | None = None,
    cached: int | None = None,
    electricity_usd: float | None = None,
    rent_usd: float | None = None,
):
    ask = Ask(id=f"r{number}", at_s=float(number), session=session)
    made = fake_record(ask, Answer(call="c0", deployment=by) if answered else None)
    bill = AttemptBill(
        call="c0", deployment=by, role="answer", seconds=1.0, ttft_s=None,
        usage=Usage(input_tokens=10, cached_tokens=cached, output_tokens=5), cpu_s=None,
        energy=energy, tokens_usd=spent, confidence=None, well_formed=None, reasons=(),
        failure=None if answered else Failure(kind="timed_out"),
    )  # fmt: skip
    receipt = msgspec.structs.replace(
        made.receipt,
        attempts=(bill,),
        energy=energy,
        cost=Cost(tokens_usd=spent, electricity_usd=electricity_usd, rent_usd=rent_usd),
        baselines=(Baseline(deployment="api", energy_j=base_j, cost_usd=base),) if answered else (),
    )
    return msgspec.structs.replace(made, receipt=receipt)


def usd(*records):
    return saved(records, FLEET, against="best single", unit="usd")


def width(found: Saved) -> float:
    assert found.low is not None
    assert found.high is not None
    return found.high - found.low


def test_everything_spent_counts_against_the_alternative():
    found = usd(record(0, spent=1.0), record(1, spent=2.0))
    assert (found.spent, found.alternative, found.ratio) == (3.0, 8.0, 1 - 3 / 8)
    assert found.deployments == ("api",)


def test_what_failed_was_paid_for_and_saves_nothing():
    assert usd(record(0, spent=1.0), record(1, spent=1.0, answered=False)).ratio == 0.5


def test_it_may_have_cost_more():
    assert usd(record(0, spent=6.0)).ratio == -0.5


def test_unknown_is_left_out_and_counted_and_never_nothing():
    found = usd(record(0), record(1, base=None), record(2, by="cpu", spent=0.0))
    assert (found.requests, found.unknown) == (1, 2)
    assert usd(record(0, base=None)).ratio is None
    assert usd().ratio is None


def test_rent_is_not_on_the_alternative_so_rented_requests_do_not_count():
    assert usd(record(0, rent_usd=0.1)).unknown == 1


def test_the_alternative_has_the_prompt_cache_too():
    cold, warm = usd(record(0, base=4e-5)), usd(record(0, base=4e-5, cached=8))
    assert cold.alternative - warm.alternative == pytest.approx(8e-6)


def test_local_joules_are_compared_with_local_joules_only():
    here = Energy(energy_j=2.0, low_j=1.0, high_j=3.0, origin="measured")
    local = record(0, by="cpu", energy=here, base_j=8.0, electricity_usd=1e-6)
    remote = record(1, energy=here, base_j=8.0)
    found = saved((local, remote), FLEET, against="largest", unit="j")
    assert (found.ratio, found.requests, found.unknown) == (0.75, 1, 1)


def test_few_sessions_give_no_interval_however_many_requests():
    many = [record(n, session=f"s{n % (LEAST_GROUPS - 1)}", spent=float(n % 3)) for n in range(200)]
    assert usd(*many).low is None
    apart = usd(*[record(n, spent=float(n % 3)) for n in range(200)])
    assert apart.low is not None
    assert apart.high is not None
    assert apart.ratio is not None
    assert apart.low < apart.ratio < apart.high


def test_repeating_a_sessions_requests_does_not_make_it_surer():
    once = usd(*[record(n, session=f"s{n}", spent=float(n % 4)) for n in range(40)])
    often = usd(*[record(n, session=f"s{n % 40}", spent=float(n % 40 % 4)) for n in range(400)])
    assert width(once) == pytest.approx(width(often))


@given(st.lists(st.tuples(st.floats(0, 9), st.floats(0.1, 9)), min_size=20, max_size=60))
def test_the_interval_holds_the_value_and_order_does_not_matter(pairs):
    records = [record(n, spent=a, base=b) for n, (a, b) in enumerate(pairs)]
    found = usd(*records)
    assert found.ratio is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.ratio <= found.high
    again = usd(*reversed(records))
    assert again.ratio == pytest.approx(found.ratio)
