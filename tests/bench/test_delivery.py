"""The bench of delivery modes, over fake upstreams and made-up outcomes."""

from collections.abc import Iterator

import msgspec
import pytest

from metabolic.bench.delivery import MODES, Options, run, told
from metabolic.bench.delivery_line import Outcome
from metabolic.config import Config, parse
from metabolic.core.errors import ConfigError
from metabolic.testing.fakeserver import FakeServer, serve_in_thread


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeServer]:
    with serve_in_thread() as server:
        yield server


def config(upstream: FakeServer, draft: str) -> Config:
    text = ""
    for name, model, size in (("small", draft, 1), ("large", "say:yes indeed", 9)):
        text += (
            f'[[deployment]]\nname = "{name}"\nbase_url = "{upstream.base_url}"\n'
            f'upstream_model = "{model}"\nactive_parameters = {size}_000_000_000\n'
            'capabilities = ["chat", "logprobs"]\n'
        )
    return parse(text, source="test", environ={})


def rows(report):
    return {row["mode"]: row for row in report.rows}


def test_every_mode_is_asked_every_question_and_says_what_became_of_it(
    upstream: FakeServer,
) -> None:
    report = run(config(upstream, "fake"), Options(quick=True))
    found = rows(report)
    assert tuple(found) == MODES
    assert all(row["n"] == row["answered"] == 2 for row in found.values())
    assert found["stream"]["strong_share"] == 1.0
    # All drafts are equally sure, so none is below the median.
    assert found["hold"]["strong_share"] == found["window"]["strong_share"] == 0.0
    assert found["replace"]["replaced_share"] == 0.0
    assert report.figures["ttft_p50_s_hold"].n == 2
    # A remote engine's CPU time is not ours to read: named, never nought.
    assert {one.figure for one in report.missing} == {f"cpu_s_{mode}" for mode in MODES}
    assert found["hold"]["cpu_s"] is None


def test_the_larger_of_two_named_deployments_answers_what_is_refused(
    upstream: FakeServer,
) -> None:
    made = run(config(upstream, "fake"), Options(quick=True, draft="large", large="small"))
    assert rows(made)["stream"]["n"] == 2
    with pytest.raises(ConfigError, match="two deployments"):
        run(config(upstream, "fake"), Options(quick=True, draft="large"))


def outcome(**changes: object) -> Outcome:
    plain = Outcome(answered=True, first_s=1.0, total_s=2.0, cpu_s=3.0)
    return msgspec.structs.replace(plain, **changes)


def test_figures_have_their_intervals_and_only_answers_count() -> None:
    made = [("hold", outcome(first_s=float(n), total_s=float(n), cpu_s=1.0)) for n in range(1, 21)]
    made.append(("hold", outcome(answered=False, first_s=None, total_s=99.0)))
    figures, found = told(made, seed=0)
    half = figures["ttft_p50_s_hold"]
    assert (half.value, half.n) == (10.0, 20)
    assert half.low is not None
    assert half.high is not None
    assert half.low <= 10.0 <= half.high
    assert figures["total_p95_s_hold"].value == 19.0
    assert figures["cpu_s_hold"].value == 1.0
    row = next(one for one in found if one["mode"] == "hold")
    assert (row["n"], row["answered"]) == (21, 20)


def test_a_mode_nobody_asked_has_no_figures() -> None:
    figures, found = told([("hold", outcome())], seed=0)
    assert all(name.endswith("_hold") for name in figures)
    assert next(one for one in found if one["mode"] == "hedge")["ttft_p50_s"] is None
