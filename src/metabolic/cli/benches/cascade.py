"""``metabolic bench cascade``."""

__all__ = ["What", "cascade"]

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter
from cyclopts.validators import Number

from metabolic.bench.cascade import Options, Outcome, run
from metabolic.bench.report import show
from metabolic.config import load

Flag = Annotated[bool, Parameter(negative="")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class What:
    """What to ask, and whom.

    Attributes:
        config: The configuration file; the default fleet without one.
        data: A folder with tables of further questions (needs the extra `bench`).
        questions: How many of them to sample, evenly from each set.
        save: Keep the answers in this file as they come; a second run goes on from there.
        replay: Ask nobody: fold the answers kept in this file, or the tables of stored answers
            in this folder (needs the extra `bench`).
        profile: Whose loss and preference hold.
        seed: Of the sample, the two halves and the lots.
        quick: Ask a few questions only (under 30 s).
    """

    config: Annotated[Path | None, Parameter(env_var="METABOLIC_CONFIG")] = None
    data: Path | None = None
    questions: Annotated[int, Parameter(validator=Number(gte=1))] = 1000
    save: Path | None = None
    replay: Path | None = None
    profile: Literal["datacenter", "edge", "mcu"] = "edge"
    seed: int = 0
    quick: Flag = False


_ALL = What()


def cascade(*, what: What = _ALL, beliefs: Flag = False, json: Flag = False) -> None:
    """Compare the cascade with its baselines on questions that have exact answers.

    Starts the configured fleet, asks every model every question once, and folds all policies from
    the same answers; what is thrown away is charged. Without --data it asks the questions that
    come along.

    Args:
        what: What to ask, and whom.
        beliefs: Print what was measured of each deployment as `[[belief]]` tables for a
            configuration, over all questions, instead of the comparison; and `[[checkpoint]]`
            tables where the answers are enough for them.
        json: Print one JSON object instead of tables.
    """
    outcome = run(
        load(what.config),
        Options(
            data=what.data,
            count=what.questions,
            save=what.save,
            replay=what.replay,
            seed=what.seed,
            profile=what.profile,
            quick=what.quick,
        ),
    )
    if beliefs:
        _show_beliefs(outcome, as_json=json)
    else:
        show(outcome.report, as_json=json)


def _show_beliefs(outcome: Outcome, *, as_json: bool) -> None:
    """Print beliefs and checkpoints as one JSON object or as TOML."""
    if as_json:
        found = {
            "min_confidence": outcome.min_confidence,
            "beliefs": outcome.beliefs,
            "checkpoints": outcome.checkpoints,
        }
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
        return
    lines = [f"# measured by `metabolic bench cascade`, at min_confidence {outcome.min_confidence}"]
    tables = [("belief", one) for one in outcome.beliefs]
    for name, one in (*tables, *(("checkpoint", at) for at in outcome.checkpoints)):
        lines.append(f"[[{name}]]")
        for key, value in msgspec.to_builtins(one).items():
            if value is not None:
                shown = f'"{value}"' if isinstance(value, str) else round(value, 4)
                lines.append(f"{key} = {shown}")
        lines.append("")
    sys.stdout.write("\n".join(lines) + "\n")
