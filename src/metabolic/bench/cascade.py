"""``metabolic bench cascade``: what the cascade costs and gives, against its baselines.

Every deployment answers every question once; all policies are then folded from the same recorded
answers, so that they are paired. Beliefs and threshold are chosen on one half of the questions
and everything is reported on the other. CPU seconds are net: drafts thrown away are charged.
"""

__all__ = ["Options", "Outcome", "run"]

import asyncio
import random
import time
from pathlib import Path

from msgspec import Struct

from metabolic import plugins
from metabolic.bench import certified, policies
from metabolic.bench.answers import Book, load, record
from metabolic.bench.comparison import compare
from metabolic.bench.fleet import open_fleet
from metabolic.bench.folding import Case, cases, default_validators
from metabolic.bench.questions import Question, half_of, own_questions, sampled_questions
from metabolic.bench.report import Report, progress, report
from metabolic.config import Config
from metabolic.core.checkpoint import Checkpoint
from metabolic.core.decision import Belief
from metabolic.core.errors import ConfigError
from metabolic.decide.profiles import profile

_QUICK_QUESTIONS = 4


class Options(Struct, frozen=True, kw_only=True):
    """What to measure.

    ``data``: a folder of further questions, ``count`` of which are sampled. ``save`` keeps the
    answers and goes on with those it has; ``replay`` only reads such a file,
    or, being a folder, tables of stored answers. ``quick`` asks
    four questions of each half. ``splits`` is how often certificates are made on one random half
    and held on the other.
    """

    data: Path | None = None
    count: int = 1000
    save: Path | None = None
    replay: Path | None = None
    seed: int = 0
    profile: str = "edge"
    quick: bool = False
    splits: int = 20


class Outcome(Struct, frozen=True, kw_only=True):
    """The report, and what all answers together give at the threshold chosen.

    ``checkpoints`` are those at which drafts of all but the best may be given up.
    """

    report: Report
    beliefs: tuple[Belief, ...]
    min_confidence: float
    checkpoints: tuple[Checkpoint, ...] = ()


def run(config: Config, options: Options) -> Outcome:
    """Measure, or replay what was measured, and report.

    Raises:
        ConfigError: nothing to ask, or nobody to be asked.
        MetabolicError: models or engines cannot be had.
    """
    began_s = time.perf_counter()
    if options.replay is not None and options.replay.is_dir():
        from metabolic.bench.replayed import run as replayed  # noqa: PLC0415 - an extra, and slow

        made = replayed(options.replay, seed=options.seed, quick=options.quick)
        return Outcome(report=made, beliefs=(), min_confidence=0.0)
    if options.replay is not None:
        book = load(options.replay)
    else:
        book = asyncio.run(_measure(config, options))
    found = cases(book, default_validators())
    if not found:
        message = "no question was answered by every deployment"
        raise ConfigError(message)
    return _outcome(config, options, book, found, began_s=began_s)


async def _measure(config: Config, options: Options) -> Book:
    """Start the fleet and ask it everything."""
    questions = _questions(options)
    routing = config.routing.classifier
    async with open_fleet(config, say=progress) as respondents:
        return await record(
            respondents,
            questions,
            classifier=plugins.classifier(routing.kind, routing.options),
            save=options.save,
            say=progress,
        )


def _questions(options: Options) -> tuple[Question, ...]:
    """Return what is asked: our own questions and, with data, a sample of others."""
    own = own_questions()
    if options.quick:
        return tuple(question for half in (0, 1) for question in _few(own, half, options.seed))
    asked = list(own)
    if options.data is not None:
        asked += sampled_questions(options.data, count=options.count, seed=options.seed)
    # In any order, so that a run that is broken off has asked a fair sample of all sets.
    random.Random(options.seed).shuffle(asked)
    return tuple(asked)


def _few(questions: tuple[Question, ...], half: int, seed: int) -> tuple[Question, ...]:
    """Return a few questions of one half, of all kinds."""
    some = [one for one in questions if half_of(one.id, seed) == half]
    return tuple(some[:: -(-len(some) // _QUICK_QUESTIONS)])


def _halves(found: tuple[Case, ...], seed: int) -> tuple[list[Case], list[Case]]:
    """Return the half to choose on and the half to report.

    Raises:
        ConfigError: one of them is empty.
    """
    chosen_on = [case for case in found if half_of(case.asked.id, seed) == 0]
    reported = [case for case in found if half_of(case.asked.id, seed) == 1]
    if not chosen_on or not reported:
        message = f"{len(found)} questions are too few for two halves"
        raise ConfigError(message)
    return chosen_on, reported


def _outcome(
    config: Config, options: Options, book: Book, found: tuple[Case, ...], *, began_s: float
) -> Outcome:
    """Choose on one half, report on the other."""
    chosen_on, reported = _halves(found, options.seed)
    learned = policies.learn(
        chosen_on,
        tuple(sorted(book.deployments.values(), key=lambda one: one.name)),
        profile=profile(options.profile),
        cpu_w_per_core=config.energy.cpu_w_per_core,
    )
    ranked = sorted(book.deployments, key=lambda name: policies.quality(chosen_on, name))
    made = compare(
        chosen_on,
        reported,
        learned,
        ranked=ranked,
        seed=options.seed,
        energy=config.energy,
        splits=options.splits,
    )
    return Outcome(
        report=report(
            "cascade",
            seed=options.seed,
            seconds=time.perf_counter() - began_s,
            quick=options.quick,
            notes=made.notes,
            figures=made.figures,
            rows=made.rows,
            missing=made.missing,
        ),
        beliefs=policies.beliefs(found, book.deployments, min_confidence=learned.min_confidence),
        min_confidence=learned.min_confidence,
        checkpoints=tuple(
            at
            for name in ranked[:-1]
            for at in certified.windows(found, first=name, min_confidence=learned.min_confidence)
        ),
    )
