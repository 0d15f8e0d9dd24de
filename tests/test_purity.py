"""The router proper touches nothing: no file, no socket, no process, no import, no clock.

The import contract keeps ``time``, ``os`` and their like out of the pure packages by name; here
the interpreter itself reports whatever it is asked to do while they run.
"""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

import pytest

from metabolic.core.attempt import Attempt, Began, Checked, Ended, Open, Verdict
from metabolic.core.hardware import DeviceState, HardwareState, Reading
from metabolic.core.metabolic import MetabolicState
from metabolic.core.request import Ask, Usage
from metabolic.core.signals import Signals
from metabolic.decide.advance import advance, begin
from metabolic.decide.decide import decide
from metabolic.decide.digest import digest
from metabolic.decide.metabolism import assess
from metabolic.decide.profiles import profile
from metabolic.testing.fleets import deployment, policy_of, situation_of

FLEET = (
    deployment("small", parameters=500_000_000, decode_tokens_per_s=24),
    deployment("large", parameters=1_500_000_000, decode_tokens_per_s=12),
)
SITUATION = situation_of(*FLEET)
POLICY = policy_of()
ASK = Ask(id="r", at_s=1.0, input_tokens=50)
SIGNALS = Signals(task="open_qa", lane="open_qa")
HARDWARE = HardwareState(
    taken_at_s=1.0,
    devices=(
        DeviceState(
            name="cpu",
            kind="cpu",
            temperature_c=Reading(value=60.0, origin="measured", source="hwmon"),
            limit_c=Reading(value=95.0, origin="measured", source="hwmon"),
        ),
    ),
)
_HARMLESS = ("object.__getattr__", "sys._getframe", "code.__new__", "builtins.id")
"""Events of the interpreter looking at its own objects."""

_ears: list[list[str]] = []


def _listen(event: str, _: tuple[object, ...]) -> None:
    if _ears and event not in _HARMLESS:
        _ears[0].append(event)


sys.addaudithook(_listen)  # a hook cannot be taken away: it listens only when asked to


@contextmanager
def listening() -> Generator[list[str]]:
    heard: list[str] = []
    _ears.append(heard)
    try:
        yield heard
    finally:
        _ears.clear()


def run_a_cascade() -> object:
    decision = decide(ASK, SIGNALS, SITUATION, POLICY)
    run, effects = advance(begin(decision), Began(at_s=0.0))
    while not run.finished:
        opened = next(one for one in effects if isinstance(one, Open)).call
        attempt = Attempt(call=opened, began_s=0.0, ended_s=1.0, usage=Usage(output_tokens=9))
        run, effects = advance(run, Ended(attempt=attempt, at_s=1.0))
        if not run.finished:
            verdict = Verdict(well_formed=True, confidence=0.99)
            run, effects = advance(run, Checked(call=opened.id, verdict=verdict, at_s=1.0))
    return decision, run, digest(effects)


def assess_the_machine() -> MetabolicState:
    return assess(HARDWARE, assess(HARDWARE, None, profile("edge")), profile("edge"))


PURE: tuple[Callable[[], object], ...] = (run_a_cascade, assess_the_machine)


@pytest.mark.parametrize("run", PURE, ids=lambda run: run.__name__)
def test_the_router_does_nothing_that_the_interpreter_would_report(
    run: Callable[[], object],
) -> None:
    run()  # what is imported once, is imported now
    with listening() as heard:
        run()
    assert heard == []


@pytest.mark.parametrize("run", PURE, ids=lambda run: run.__name__)
def test_equal_inputs_give_equal_outputs(run: Callable[[], object]) -> None:
    assert run() == run()


def test_the_hook_does_hear_what_is_not_pure() -> None:
    with listening() as heard, open(__file__, encoding="utf-8") as file:  # noqa: PTH123
        file.read(1)
    assert "open" in heard


def test_the_order_of_the_fleet_does_not_matter() -> None:
    there = decide(ASK, SIGNALS, SITUATION, POLICY)
    back = decide(ASK, SIGNALS, situation_of(*reversed(FLEET)), POLICY)
    assert there == back


def test_a_decision_is_quick() -> None:
    """The budget is 100 µs for 32 deployments; the bound here only catches a blunder."""
    crowd = tuple(deployment(f"d{i:02}", parameters=(i + 1) * 10**8) for i in range(32))
    situation = situation_of(*crowd)
    decide(ASK, SIGNALS, situation, POLICY)
    spent_s = []
    for _ in range(5):
        began_s = time.process_time()
        decide(ASK, SIGNALS, situation, POLICY)
        spent_s.append(time.process_time() - began_s)
    assert min(spent_s) < 0.02
