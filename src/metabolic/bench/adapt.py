"""Does the machine's state move what it should, and does that come back?

A scripted day in minutes: heat, a used-up power budget, short memory, an emptying battery, a
lost thermometer. The made machine is read by the real sensors, assessed, and decided on by the
functions the gateway uses; what the decisions draw heats the machine. Beside it an equal machine
that always takes the largest model. With the models at hand, real engines answer what was decided.
"""

__all__ = ["Options", "run"]

import asyncio
import itertools
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import Struct

from metabolic.bench.adapt_line import Asker, Fleet, Line, Moment, fleet_of
from metabolic.bench.adapt_machine import Machine
from metabolic.bench.adapt_script import PHASES, RULES, Look, Rule, outside_at, phase_at
from metabolic.bench.report import Figure, Missing, Report, Row, progress, quantile
from metabolic.bench.report import report as make_report
from metabolic.config import Config

_STEP_S = 1.0
_ROW_EVERY_S = 15.0
_ANSWER_EVERY_S = 60.0
_REQUESTS, _QUICK_REQUESTS = 8, 4
"""Requests decided in each scripted second."""


class Options(Struct, frozen=True, kw_only=True):
    """What to run; ``quick`` asks no real engine."""

    seed: int = 0
    quick: bool = False


class _Tick(Struct, frozen=True, kw_only=True):
    """One scripted second."""

    at_s: float
    phase: str
    moment: Moment
    look: Look
    temperature_c: float
    alone_c: float
    alone_slowed: bool
    slowed: bool
    answered_by: str | None = None
    answered: bool | None = None


class _Outcome(Struct, frozen=True, kw_only=True):
    """When a rule was seen, and how long after its cause it was last seen."""

    rule: Rule
    fired_after_s: float | None
    reverted_after_s: float | None


def run(config: Config, options: Options) -> Report:
    """Play the script and report.

    Raises:
        MetabolicError: the fleet cannot be assembled.
    """
    began_s = time.monotonic()
    ticks, fleet, why = asyncio.run(_play(config, options))
    outcomes = [_outcome(rule, ticks) for rule in RULES]
    missing = [Missing(figure="answers", why=why)] if why else []
    return make_report(
        "adapt",
        seed=options.seed,
        seconds=time.monotonic() - began_s,
        quick=options.quick,
        notes=_notes(fleet),
        figures=_figures(ticks, outcomes),
        rows=[*_rows(ticks, fleet), *(_rule_row(one) for one in outcomes)],
        missing=missing,
    )


def _notes(fleet: Fleet) -> tuple[str, ...]:
    """Return what to mind."""
    shares = ", ".join(f"{name} {right:.2f}" for name, right in fleet.right)
    return (
        "scripted clock: the machine is simulated second by second, read by the real sensors",
        f"shares of right answers are set by hand so that every impact can show: {shares}",
        "throttled_s: seconds in which the processor slowed itself down",
        "expected_w: the rate of requests times the expected joules of each; drafts included",
    )


async def _play(config: Config, options: Options) -> tuple[list[_Tick], Fleet, str]:
    """Play the script; with real engines unless quick or without models."""
    fleet = fleet_of(config)
    why = "a quick run asks no engine" if options.quick else ""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="metabolic-adapt-"))
        ask: Asker | None = None
        if not options.quick:
            ask, why = await fleet.engines(config, stack, say=progress)
        root = Path(folder) / "ours"
        machines = Machine(root, options.seed), Machine(Path(folder) / "alone", options.seed)
        for machine in machines:
            stack.callback(machine.close)
        line = Line(config, fleet, root, machine=machines[0])
        requests = _QUICK_REQUESTS if options.quick else _REQUESTS
        ticks = await _ticks(line, machines, ask, requests=requests)
    return ticks, fleet, why


async def _ticks(
    line: Line, machines: tuple[Machine, Machine], ask: Asker | None, *, requests: int
) -> list[_Tick]:
    """Let the script pass, second by second."""
    machine, alone = machines
    machine.write(outside_at(PHASES[0], 0.0, line.budget_w))
    ticks: list[_Tick] = []
    end_s = sum(phase.seconds for phase in PHASES)
    for index in range(int(end_s / _STEP_S)):
        at_s = index * _STEP_S
        phase, share = phase_at(at_s)
        outside = outside_at(phase, share, line.budget_w)
        moment = line.look(at_s, phase.load, requests=requests)
        machine.pass_time(_STEP_S, moment.expected_w, outside)
        machine.write(outside)
        alone.pass_time(_STEP_S, moment.largest_w, outside)
        by, ok = await _answered(index, moment, ask)
        ticks.append(
            _Tick(
                at_s=at_s,
                phase=phase.name,
                moment=moment,
                look=moment.look,
                temperature_c=machine.plant.seen().temperature_c,
                alone_c=alone.plant.seen().temperature_c,
                alone_slowed=alone.plant.slowed,
                slowed=machine.plant.slowed,
                answered_by=by,
                answered=ok,
            )
        )
        if at_s % 300 == 0:
            progress(f"{at_s:.0f} of {end_s:.0f} s: {phase.name}, {moment.look.level}")
    return ticks


async def _answered(
    index: int, moment: Moment, ask: Asker | None
) -> tuple[str | None, bool | None]:
    """Let the engine that was decided on answer now and then."""
    if ask is None or index % round(_ANSWER_EVERY_S / _STEP_S):
        return None, None
    return moment.first, await ask(moment.first)


def _outcome(rule: Rule, ticks: Sequence[_Tick]) -> _Outcome:
    """Return when a rule was seen to fire in its phase, and to have reverted after it."""
    calm = _calm_before(rule, ticks)
    during = [one for one in ticks if one.phase == rule.phase]
    after = [one for one in ticks if one.phase == f"after {rule.phase}"]
    if calm is None or not during or rule.fires(calm, calm):
        return _Outcome(rule=rule, fired_after_s=None, reverted_after_s=None)
    began_s, ended_s = during[0].at_s, during[-1].at_s
    fired = next((one.at_s - began_s for one in during if rule.fires(one.look, calm)), None)
    lasting = [one.at_s for one in after if rule.fires(one.look, calm)]
    last_s = max(lasting, default=ended_s)
    reverted = None if after and last_s >= after[-1].at_s else last_s + _STEP_S - ended_s
    return _Outcome(
        rule=rule,
        fired_after_s=fired,
        reverted_after_s=None if fired is None else reverted,
    )


def _calm_before(rule: Rule, ticks: Sequence[_Tick]) -> Look | None:
    """Return what was seen just before a rule's phase began."""
    before: Look | None = None
    for one in ticks:
        if one.phase == rule.phase:
            return before
        before = one.look
    return None


def _figures(ticks: Sequence[_Tick], outcomes: Sequence[_Outcome]) -> dict[str, Figure]:
    """Return the figures."""
    hours = ticks[-1].at_s / 3600
    levels = _changes([one.look.level for one in ticks])
    fired = [
        one
        for one in outcomes
        if one.fired_after_s is not None and one.reverted_after_s is not None
    ]
    recovered = [one.reverted_after_s for one in fired if one.reverted_after_s is not None]
    figures = {
        "transitions_per_h": Figure(value=levels / hours, unit="1/h", n=levels),
        "rules_fired": Figure(value=float(len(fired)), unit="rules", n=len(outcomes)),
        "rules_expected": Figure(value=float(len(outcomes)), unit="rules", n=len(outcomes)),
    }
    for name, held in (("", "slowed"), ("_largest", "alone_slowed")):
        seconds = sum(_STEP_S for one in ticks if getattr(one, held))
        figures[f"throttled_s{name}"] = Figure(value=seconds, unit="s", n=len(ticks))
    worst = quantile(recovered, 0.95)
    if worst is not None:
        figures["recovery_p95_s"] = Figure(
            value=worst, unit="s", n=len(recovered), low=min(recovered), high=max(recovered),
            unit_note="low and high are the extremes",
        )  # fmt: skip
    answered = [one.answered for one in ticks if one.answered is not None]
    if answered:
        figures["answers"] = Figure(value=float(sum(answered)), unit="answers", n=len(answered))
    return figures


def _changes(words: Sequence[str]) -> int:
    """Return how often a word differs from the one before."""
    return sum(one != two for one, two in itertools.pairwise(words))


def _rows(ticks: Sequence[_Tick], fleet: Fleet) -> list[Row]:
    """Return a line every few scripted seconds."""
    return [_row(one, fleet) for one in ticks if one.at_s % _ROW_EVERY_S == 0]


def _row(tick: _Tick, fleet: Fleet) -> Row:
    """Return one moment as a flat line."""
    moment, look = tick.moment, tick.look
    shares = dict(moment.shares)
    row: dict[str, float | int | str | bool | None] = {
        "t_s": tick.at_s,
        "phase": tick.phase,
        "level": look.level,
        "profile": look.profile,
        "risk": look.risk_ratio,
        "headroom_c": moment.headroom_c,
        "shares": " ".join(f"{name}={shares.get(name, 0.0):.2f}" for name, _ in fleet.right),
        "expected_w": moment.expected_w,
        "largest_w": moment.largest_w,
        "temperature_c": tick.temperature_c,
        "temperature_c_largest": tick.alone_c,
        "speculation": look.speculation,
        "slots": look.slots,
        "marked": look.marked,
        "power_level": moment.power_level,
        "memory_level": moment.memory_level,
        "answered_by": tick.answered_by,
        "answered": tick.answered,
        "reasons": "; ".join(look.reasons),
    }
    return row


def _rule_row(one: _Outcome) -> Row:
    """Return one rule as a flat line."""
    return {
        "rule": one.rule.name,
        "phase": one.rule.phase,
        "fired_after_s": one.fired_after_s,
        "reverted_after_s": one.reverted_after_s,
    }
