"""The choice on a machine that is not calm, from rows made by hand."""

from metabolic.core.decision import Estimate
from metabolic.decide.impacts import Strain, band_of
from metabolic.decide.strained import Row, choose_strained


def _row(name: str, p: float, usd: float, hot_j: float, accept: float = 0.5) -> Row:
    estimate = Estimate(
        input_tokens=1,
        output_tokens=1,
        p_correct=p,
        p_accept=accept,
        p_correct_accepted=min(1.0, p + 0.1),
        net_usd=usd,
        energy_j=hot_j,
        marginal_energy_j=hot_j,
    )
    return Row(fit=(name, estimate, False), hot_j=hot_j)


ROWS = [
    _row("small", 0.80, 1.0, 10.0),
    _row("large", 0.90, 3.0, 40.0),
    _row("cloud", 0.90, 5.0, 0.0),
]


def _chosen(price: float, *bounds: float) -> tuple[str, ...]:
    found = choose_strained(
        ROWS, bounds=bounds, usd_per_hot_j=price, min_gain_ratio=0.02, max_stages=3
    )
    return found.plan.stages


def test_without_a_price_of_heat_the_calm_choice_stands() -> None:
    assert _chosen(0.0, 0.01) == ("large",)


def test_a_price_of_heat_moves_work_off_the_device_when_that_is_worth_it() -> None:
    assert _chosen(0.01, 0.01) == ("large",)
    assert _chosen(0.10, 0.01) == ("cloud",)


def test_a_warmer_band_may_take_the_smaller_model() -> None:
    assert _chosen(0.01, 0.01, 0.15) == ("small",)


def test_a_warmer_band_never_brings_work_back_to_the_device() -> None:
    assert _chosen(0.10, 0.01, 0.15) == ("cloud",)


def test_the_risk_moves_a_growing_share_of_requests_before_the_band_does() -> None:
    def shares(risk: float) -> tuple[float, float]:
        strain = Strain(band="cool", risk_ratio=risk)
        found = [band_of(strain, lot / 100) for lot in range(100)]
        return found.count("warm") / 100, found.count("hot") / 100

    assert shares(0.0) == (0.0, 0.0)
    assert 0.3 < shares(0.05)[0] < 0.6
    assert shares(0.1)[0] >= 0.9
    assert shares(0.3)[1] == 0.5
    assert shares(1.0) == (0.0, 1.0)
    assert band_of(Strain(band="hot"), 0.9) == "hot"
