"""What may block is fetched elsewhere, and what is old is unknown."""

import threading
from collections.abc import Callable

import pytest

from metabolic.core.errors import SensorError
from metabolic.core.obstacle import Obstacle
from metabolic.sense.background import Background, Fetched


class _Clock:
    def __init__(self) -> None:
        self.at_s = 10.0

    def __call__(self) -> float:
        return self.at_s


def _once(fetch: Callable[[], int], clock: _Clock) -> Background[int]:
    return Background(fetch, name="it", every_s=3600.0, stale_s=2.0, monotonic=clock)


def test_a_value_ages_and_is_then_unknown() -> None:
    clock = _Clock()
    fetched = _once(lambda: 7, clock)
    assert fetched.wait(5)
    assert fetched.latest() == Fetched(7, 0.0)
    clock.at_s += 1.5
    assert fetched.latest() == Fetched(7, 1.5)
    clock.at_s += 1.0
    assert fetched.latest() is None
    assert fetched.problem() is None
    fetched.close()


def test_a_fetch_that_hangs_hangs_nobody_and_says_so() -> None:
    clock, go_on, began = _Clock(), threading.Event(), threading.Event()

    def hang() -> int:
        began.set()
        go_on.wait(10)
        return 1

    fetched = _once(hang, clock)
    assert fetched.latest() is None
    assert began.wait(5)
    assert fetched.problem() is None
    clock.at_s += 9.0
    problem = fetched.problem()
    assert problem is not None
    assert problem.kind == "stale"
    assert "9 s" in problem.what
    go_on.set()
    assert fetched.wait(5)
    fetched.close()


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (SensorError("no driver"), "driver"),
        (SensorError("x", Obstacle(kind="permission", what="0400")), "permission"),
    ],
)
def test_a_failure_is_kept_as_an_obstacle(raised: SensorError, kind: str) -> None:
    def fail() -> int:
        raise raised

    fetched = _once(fail, _Clock())
    assert fetched.wait(5)
    problem = fetched.problem()
    assert problem is not None
    assert problem.kind == kind
    assert fetched.latest() is None
    fetched.close()


def test_once_closed_nothing_is_fetched_any_more() -> None:
    calls: list[int] = []
    fetched = _once(lambda: calls.append(1) or 1, _Clock())
    fetched.close()
    assert fetched.latest() is None
    assert calls == []


def test_it_fetches_anew_when_asked_to_and_finishes_in_its_own_thread() -> None:
    calls: list[str] = []
    finished = threading.Event()

    def fetch() -> int:
        calls.append(threading.current_thread().name)
        return len(calls)

    def finish() -> None:
        calls.append(threading.current_thread().name)
        finished.set()

    fetched = Background(fetch, name="it", every_s=3600.0, stale_s=60.0)
    first, second = fetched.renew(5), fetched.renew(5)
    assert first is not None
    assert second is not None
    assert (first.value, second.value) == (1, 2)
    fetched.close(finish)
    assert finished.wait(5)
    assert calls == ["it"] * 3


def test_asking_anew_does_not_wait_for_a_fetch_that_hangs() -> None:
    clock, go_on, began = _Clock(), threading.Event(), threading.Event()
    fetched = _once(lambda: (began.set(), go_on.wait(10)) and 1, clock)
    assert fetched.renew(0.001) is None
    assert began.wait(5)
    assert fetched.renew(3600.0) is None
    go_on.set()
    assert fetched.wait(5)
    fetched.close()
