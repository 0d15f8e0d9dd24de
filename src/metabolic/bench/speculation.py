"""Does drafting pay, and does the gate know: real llama.cpp, paired, in CPU seconds a token.

Each target runs as three servers: without speculation, with n-grams of the text so far, with a
draft model. Every kind of prompt is asked of all of them in turn, in a rotating order, greedily;
the prompt is in the cache, since drafting changes nothing about it. What is compared is the CPU
time of the server's process for each token, as the median of ratios within a repetition.

The gate is the product's own decision (``decide``, profile *edge*): it has learned acceptance and
cost on other prompts of the same kinds, as the classifier tells them apart, and then says which
server answers the prompt that is reported. *headroom* is the paper's rule on a cool machine. The
always-on baseline is the better of the two methods for the target.
"""

__all__ = ["Options", "run"]

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from math import exp, log
from pathlib import Path
from statistics import median

from msgspec import Struct

from metabolic.bench.report import Figure, Missing, Report, Row, progress, report
from metabolic.bench.speculation_asked import Asker, Book
from metabolic.bench.speculation_engines import Arm, Said, plan, simulated_paths
from metabolic.bench.speculation_gate import RULES, Gate
from metabolic.bench.speculation_prompts import KINDS, Kind
from metabolic.config import Config
from metabolic.core.errors import EngineError
from metabolic.wiring.fleet import store_of

_TARGETS = ("qwen2.5-coder-0.5b-instruct", "qwen2.5-coder-1.5b-instruct")
_TINY = "smollm2-135m-instruct"
_DRAFTS = {_TARGETS[0]: _TINY, _TARGETS[1]: _TARGETS[0]}
_FIGURES = ("gate_vs_best_ratio_min", "gate_vs_on_ratio", "gate_vs_off_ratio")
_RESAMPLES = 400
_QUICK_TOKENS = 8
_QUICK_KINDS = ("extraction", "chat")


class Options(Struct, frozen=True, kw_only=True):
    """How often each prompt is asked; ``quick`` asks little of the smallest model, without draft.

    ``simulated`` asks made-up servers even where there are models. ``save`` keeps the answers in a
    file, and goes on with those it has.
    """

    repetitions: int = 5
    seed: int = 0
    quick: bool = False
    simulated: bool = False
    save: Path | None = None


class _Cell(Struct, frozen=True, kw_only=True):
    """One kind of prompt on one target: the answers of each arm, in order of the repetitions."""

    target: str
    kind: str
    said: Mapping[str, tuple[Said, ...]]
    chosen: Mapping[str, str]

    def ratios(self, arm: str) -> list[float]:
        """Return how many times as fast as ``off`` the arm was, by repetition."""
        pairs = zip(self.said["off"], self.said[arm], strict=True)
        return [_per_token(off) / _per_token(one) for off, one in pairs]


def run(config: Config, options: Options) -> Report:
    """Measure and report."""
    began_s = time.perf_counter()
    notes: list[str] = []
    arms = () if options.simulated else _arms(config, options)
    simulated = not arms
    if simulated:
        notes.append("SIMULATED: no model is here (metabolic models fetch), so costs are made up")
        arms = plan(simulated_paths(_TARGETS), _TARGETS, {_TARGETS[1]: _TARGETS[0]})
    cells, missing = asyncio.run(_measure(arms, options, notes, simulated=simulated))
    return report(
        "speculation",
        seed=options.seed,
        seconds=time.perf_counter() - began_s,
        quick=options.quick,
        notes=notes,
        figures=_figures(cells, options.seed, simulated=simulated),
        rows=[row for cell in cells for row in _rows(cell)],
        missing=[*missing, *_lacking(cells, arms)],
    )


def _arms(config: Config, options: Options) -> tuple[Arm, ...]:
    """Return the arms of the models that are here; nothing is fetched."""
    store = store_of(config)
    paths: dict[str, tuple[str, int]] = {}
    for status in store.status((*_TARGETS, _TINY)):
        path = store.path(status.entry.id)
        if path is not None:
            paths[status.entry.id] = (str(path), status.entry.active_parameters)
    if options.quick:
        return plan(paths, (_TINY,), {})
    return plan(paths, _TARGETS, _DRAFTS)


async def _measure(
    arms: Sequence[Arm], options: Options, notes: list[str], *, simulated: bool
) -> tuple[list[_Cell], list[Missing]]:
    """Measure every target, one after the other: only one set of servers runs at a time."""
    cells: list[_Cell] = []
    missing: list[Missing] = []
    book = Book(None if simulated else options.save)
    for target in dict.fromkeys(arm.target for arm in arms):
        mine = [arm for arm in arms if arm.target == target]
        async with AsyncExitStack() as stack:
            asker = Asker(mine, book, stack, simulated=simulated)
            try:
                cells += await _target(mine, asker, options, notes)
            except EngineError as exc:
                missing.append(Missing(figure=target, why=str(exc)[:200]))
    return cells, missing


async def _target(
    arms: Sequence[Arm], asker: Asker, options: Options, notes: list[str]
) -> list[_Cell]:
    """Let the gate learn a target on some prompts, then measure it on others."""
    gate = Gate(arms)
    kinds = [one for one in KINDS if one.name in _QUICK_KINDS] if options.quick else KINDS
    for kind in kinds:
        for prompt in kind.learned[:1] if options.quick else kind.learned:
            gate.learn(prompt, await asker.ask(kind, prompt, most_tokens=_most(kind, options)))
            progress(f"{gate.target}: learned on {kind.name}")
    return [await _cell(gate, asker, kind, options, notes) for kind in kinds]


async def _cell(gate: Gate, asker: Asker, kind: Kind, options: Options, notes: list[str]) -> _Cell:
    """Ask the reported prompt of a kind as often as asked for."""
    chosen: dict[str, str] = {}
    for rule in RULES:
        chosen[rule.name], why = gate.choose(kind.reported, rule)
        if rule.name == "gate":
            notes.append(f"{gate.target}, {kind.name}: {why}")
    found: dict[str, list[Said]] = {}
    for turn in range(1 if options.quick else options.repetitions):
        said = await asker.ask(kind, kind.reported, most_tokens=_most(kind, options), turn=turn)
        for name, one in said.items():
            found.setdefault(name, []).append(one)
        progress(f"{gate.target}: {kind.name}, repetition {turn + 1}")
    return _Cell(
        target=gate.target,
        kind=kind.name,
        said={name: tuple(ones) for name, ones in found.items()},
        chosen=chosen,
    )


def _most(kind: Kind, options: Options) -> int:
    """Return the most tokens of an answer."""
    return _QUICK_TOKENS if options.quick else kind.most_tokens


def _per_token(said: Said) -> float:
    """Return CPU seconds for each token of an answer."""
    return said.cpu_s / max(1, said.tokens)


def _rows(cell: _Cell) -> list[Row]:
    """Return a row for each arm, and one for what each rule chose."""
    rows = [_row(cell, name, name) for name in cell.said]
    return rows + [{**_row(cell, rule, name), "chosen": name} for rule, name in cell.chosen.items()]


def _row(cell: _Cell, arm: str, name: str) -> Row:
    """Return one row; what was drafted is of one repetition, since all are alike."""
    said, off = cell.said[name], cell.said["off"]
    return {
        "target": cell.target,
        "arm": arm,
        "prompt_class": cell.kind,
        "repetitions": len(said),
        "accepted": said[0].drafts.accepted_tokens,
        "drafted": said[0].drafts.drafted_tokens,
        "cpu_s_per_token": round(median(_per_token(one) for one in said), 6),
        "ratio": round(median(cell.ratios(name)), 4),
        "same_text": all(one.text == off[0].text for one in said),
    }


def _figures(cells: Sequence[_Cell], seed: int, *, simulated: bool) -> dict[str, Figure]:
    """Return the gate against the best arm of each cell, and against always on and always off."""
    if not cells:
        return {}
    draw = random.Random(seed)
    turns = len(cells[0].said["off"])
    whole = _compared(cells, range(turns))
    resampled = [
        _compared(cells, [draw.randrange(turns) for _ in range(turns)]) for _ in range(_RESAMPLES)
    ]
    note = "simulated servers: made-up costs" if simulated else "95 %, over repetitions"
    made: dict[str, Figure] = {}
    for index, name in enumerate(_FIGURES):
        ranked = sorted(one[index] for one in resampled)
        made[name] = Figure(
            value=round(whole[index], 4),
            unit="ratio",
            n=len(cells),
            low=round(ranked[int(0.025 * _RESAMPLES)], 4),
            high=round(ranked[int(0.975 * _RESAMPLES)], 4),
            unit_note=note,
        )
    return made


def _compared(cells: Sequence[_Cell], turns: Sequence[int]) -> tuple[float, float, float]:
    """Return the three figures on some of the repetitions."""
    speeds = [
        {name: median([cell.ratios(name)[turn] for turn in turns]) for name in cell.said}
        for cell in cells
    ]
    mine = [speed[cell.chosen["gate"]] for cell, speed in zip(cells, speeds, strict=True)]
    best = [max(speed.values()) for speed in speeds]
    on = _always_on(cells, speeds)
    return (
        min(one / most for one, most in zip(mine, best, strict=True)),
        _mean([one / other for one, other in zip(mine, on, strict=True)]),
        _mean(mine),
    )


def _always_on(cells: Sequence[_Cell], speeds: Sequence[Mapping[str, float]]) -> list[float]:
    """Return the speed of always drafting, by the method that is better for the target."""
    made: list[float] = []
    for cell, speed in zip(cells, speeds, strict=True):
        of_target = [
            other for one, other in zip(cells, speeds, strict=True) if one.target == cell.target
        ]
        methods = [name for name in speed if name != "off"]
        best = max(methods, key=lambda name: _mean([one[name] for one in of_target]))
        made.append(speed[best])
    return made


def _mean(ratios: Sequence[float]) -> float:
    """Return the geometric mean."""
    return exp(sum(log(one) for one in ratios) / len(ratios))


def _lacking(cells: Sequence[_Cell], arms: Sequence[Arm]) -> list[Missing]:
    """Return what could not be measured, and why."""
    if not cells:
        return [Missing(figure=name, why="no server could be started") for name in _FIGURES]
    here = {arm.target for arm in arms}
    gone = [name for name in _TARGETS if name not in here]
    return [
        Missing(figure=name, why="not asked in this run, or its model is not here") for name in gone
    ]
