"""``metabolic bench delivery``: what each way of delivering an answer takes, on the real fleet.

Two deployments make a cascade. Every question is asked once by every mode, in an order drawn anew
for each question, one after the other, and with a number before it so that no mode finds it in a
prompt cache: the modes are paired, and a machine that is busy otherwise weighs on all alike. The
threshold is the median confidence of drafts of *other* questions, so that about half escalate; the
time a draft takes is learned from these too. CPU seconds are those of both engines from a question
to the next one: drafts that are thrown away and calls that are stopped are in them.
"""

__all__ = ["MODES", "Options", "run", "told"]

import asyncio
import random
import time
from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from metabolic.bench.delivery_line import Outcome, Pace, open_line
from metabolic.bench.report import Figure, Missing, Report, Row, progress, quantile, report
from metabolic.bench.router_tasks import labelled
from metabolic.config import Config
from metabolic.core.errors import ConfigError

MODES = ("hold", "stream", "window", "hedge", "replace")
"""``stream`` is the larger one alone, as it comes; the others are the cascade."""

_MAX_CHARS = 120
"""Longest question: on a CPU the prompt is most of the cost."""

_DRAWS = 1000
_ENDS = (0.025, 0.975)


class Options(Struct, frozen=True, kw_only=True):
    """What to measure.

    ``count`` questions by every mode, ``others`` before them to choose the threshold on. Answers
    are at most ``tokens`` long. ``draft`` and ``large`` name the two deployments (``None``: the
    two smallest).
    """

    count: int = 60
    others: int = 16
    tokens: int = 32
    draft: str | None = None
    large: str | None = None
    seed: int = 0
    quick: bool = False


def run(config: Config, options: Options) -> Report:
    """Measure and report.

    Raises:
        ConfigError: fewer than two deployments can be asked, or too few questions are known.
        MetabolicError: models or engines cannot be had.
    """
    began_s = time.perf_counter()
    if options.quick:
        options = replace(options, count=2, others=2, tokens=8)
    questions = _questions(options)
    line, made = asyncio.run(_measure(config, options, questions))
    figures, rows = told(made, seed=options.seed)
    return report(
        "delivery",
        seed=options.seed,
        seconds=time.perf_counter() - began_s,
        quick=options.quick,
        notes=_notes(line, options),
        figures=figures,
        rows=rows,
        missing=_missing(made),
    )


def _notes(line: "_Told", options: Options) -> tuple[str, ...]:
    """Return what to mind."""
    least = line.pace.min_confidence
    return (
        f"{line.draft} before {line.large}, at most {options.tokens} tokens an answer",
        f"drafts are kept from a confidence of {least:.3f}: median of {options.others} others",
        "one engine thread each; wall times are of this machine and its load: compare within a run",
    )


def _questions(options: Options) -> list[str]:
    """Return the prompts: those to choose on first."""
    texts = [text for _, _, text in labelled() if len(text) <= _MAX_CHARS]
    random.Random(options.seed).shuffle(texts)
    wanted = options.count + options.others
    if len(texts) < wanted:
        message = f"{wanted} questions are wanted and {len(texts)} are known"
        raise ConfigError(message)
    return texts[:wanted]


async def _measure(
    config: Config, options: Options, questions: Sequence[str]
) -> tuple["_Told", list[tuple[str, Outcome]]]:
    """Ask everything."""
    names = options.draft, options.large
    async with open_line(config, names=names, tokens=options.tokens, say=progress) as line:
        pace = await line.learn(questions[: options.others])
        made: list[tuple[str, Outcome]] = []
        lot = random.Random(options.seed)
        asked = questions[options.others :]
        for number, question in enumerate(asked, 1):
            modes = list(MODES)
            lot.shuffle(modes)
            made += [(mode, await line.ask(question, mode, pace)) for mode in modes]
            if number % 10 == 0 or number == len(asked):
                progress(f"{number} of {len(asked)} questions")
        return _Told(draft=line.draft, large=line.large, pace=pace), made


class _Told(Struct, frozen=True, kw_only=True):
    """Who was asked, and at which pace."""

    draft: str
    large: str
    pace: Pace


def told(made: Sequence[tuple[str, Outcome]], *, seed: int) -> tuple[dict[str, Figure], list[Row]]:
    """Return figures with their intervals, and a row for each mode."""
    by_mode = {mode: [one for name, one in made if name == mode] for mode in MODES}
    figures: dict[str, Figure] = {}
    rows: list[Row] = []
    for mode, outcomes in by_mode.items():
        whole = [one for one in outcomes if one.answered]
        firsts = [one.first_s for one in whole if one.first_s is not None]
        totals = [one.total_s for one in whole]
        cpu = [one.cpu_s for one in whole if one.cpu_s is not None]
        for what, values in (("ttft", firsts), ("total", totals)):
            for share in (0.5, 0.95):
                name = f"{what}_p{round(100 * share)}_s_{mode}"
                figures |= _figure(name, values, share, seed=seed)
        if cpu:
            figures[f"cpu_s_{mode}"] = _mean(cpu, seed=seed)
        rows.append(_row(mode, outcomes, firsts, totals, cpu))
    return figures, rows


def _row(
    mode: str,
    outcomes: Sequence[Outcome],
    firsts: Sequence[float],
    totals: Sequence[float],
    cpu: Sequence[float],
) -> Row:
    """Return what one mode did."""
    n = len(outcomes)
    return {
        "mode": mode,
        "n": n,
        "answered": sum(one.answered for one in outcomes),
        "ttft_p50_s": quantile(firsts, 0.5),
        "ttft_p95_s": quantile(firsts, 0.95),
        "total_p50_s": quantile(totals, 0.5),
        "total_p95_s": quantile(totals, 0.95),
        "cpu_s": sum(cpu) / len(cpu) if cpu else None,
        "strong_share": sum(one.escalated for one in outcomes) / n if n else None,
        "early_share": sum(one.early for one in outcomes) / n if n else None,
        "stopped_share": sum(one.stopped for one in outcomes) / n if n else None,
        "hedged_share": sum(one.hedged for one in outcomes) / n if n else None,
        "replaced_share": sum(one.replaced for one in outcomes) / n if n else None,
        "refused_but_given_share": sum(one.degraded for one in outcomes) / n if n else None,
    }


def _figure(name: str, values: Sequence[float], share: float, *, seed: int) -> Mapping[str, Figure]:
    """Return a quantile with its bootstrap interval."""
    value = quantile(values, share)
    if value is None:
        return {}
    lot = random.Random(f"{seed}/{name}")
    drawn = sorted(
        quantile(lot.choices(values, k=len(values)), share) or 0.0 for _ in range(_DRAWS)
    )
    low, high = (quantile(drawn, end) for end in _ENDS)
    return {name: Figure(value=value, unit="s", n=len(values), low=low, high=high)}


def _mean(values: Sequence[float], *, seed: int) -> Figure:
    """Return a mean with its bootstrap interval."""
    lot = random.Random(f"{seed}/mean")
    n = len(values)
    drawn = sorted(sum(lot.choices(values, k=n)) / n for _ in range(_DRAWS))
    low, high = (quantile(drawn, end) for end in _ENDS)
    return Figure(value=sum(values) / n, unit="s", n=n, low=low, high=high)


def _missing(made: Sequence[tuple[str, Outcome]]) -> list[Missing]:
    """Return what could not be measured."""
    without = [mode for mode in MODES if not any(m == mode and o.cpu_s for m, o in made)]
    why = "the engines' CPU time cannot be read on this system"
    return [Missing(figure=f"cpu_s_{mode}", why=why) for mode in without]
