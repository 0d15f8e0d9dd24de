"""Do the joules add up, and do they reach those who drew them?

Three parts. Random schedules: what every meter read against what was shared and left over, exactly.
A simulated batching server whose physics is not the accounting's, and measured energies of real
runs where recordings are given: what each request was charged against what it took, beside an equal
split, a split by tokens and one by seconds, all on the same windows.
"""

__all__ = ["run"]

import time
from collections.abc import Sequence
from pathlib import Path

from metabolic.bench import energy_phases, energy_served
from metabolic.bench.energy_schedules import Conserved, conserve
from metabolic.bench.energy_scores import METHODS, Score, pooled, scored
from metabolic.bench.report import Figure, Missing, Report, Row, progress, report

_FIGURES = {
    name: "attribution_mape" if name == "ours" else f"attribution_mape_{name}" for name in METHODS
}


def run(*, seed: int = 0, quick: bool = False, data: Path | None = None) -> Report:
    """Measure, and say what it was; ``quick`` takes fewer schedules, seconds and windows.

    ``data`` is where recordings of measured energies may lie; without it they are not used.
    """
    began_s = time.monotonic()
    schedules = 500 if quick else 10_000
    progress(f"{schedules} random schedules")
    conserved = conserve(schedules, seed=seed)
    scores: list[Score] = []
    missing: list[Missing] = []
    progress("a simulated server")
    found = energy_served.cases(seconds=40.0 if quick else 300.0, seed=seed)
    for load, cases in found.items():
        scores += scored(f"simulator {load}", cases, seed=seed)
    tables = {} if data is None else energy_phases.read(data)
    if not tables:
        where = "no --data" if data is None else "no such tables below --data"
        why = f"{where}: measured phase energies were not compared"
        missing.append(Missing(figure="attribution_mape of recordings", why=why))
    for name, runs in tables.items():
        progress(f"{name}: {len(runs)} metered runs")
        cases = energy_phases.cases(runs, seed=seed, most=60 if quick else None)
        scores += scored(name, cases, seed=seed)
    return report(
        "energy",
        seed=seed,
        seconds=time.monotonic() - began_s,
        quick=quick,
        notes=_NOTES,
        figures=_conservation(conserved) | _attribution(scores),
        rows=[_row(one) for one in scores],
        missing=missing,
    )


_NOTES = """
conservation: each meter's shares + unattributed against what its counter advanced between \
readings, counted apart in whole units of 2**-14 J; the greatest of all schedules and meters
schedules hold wraps, resets, lost readings, cancelled and silent calls, on a package, a GPU and a \
node around both; much is unattributed because half the joules are idle and calls are few
attribution: mean of |charged - true| / true; intervals resample windows (simulator: ten seconds), \
sources taken as given; a figure is the mean over sources, each counting the same
simulator: joules above idle, one 8e9 model on one GPU, its speeds unknown to the accounting
tables: four metered runs in one window, one after another; idle is not known apart there
runs of equal batch that follow each other are shared by time alone: there ours is seconds_only
worse: by how much a method's error exceeds ours on the same cases
""".strip().splitlines()


def _conservation(one: Conserved) -> dict[str, Figure]:
    """Return what became of every joule."""
    n = one.schedules
    return {
        "conservation_max_error_j": Figure(value=one.max_error_j, unit="J", n=n),
        "unattributed_ratio": Figure(
            value=one.unattributed_j / one.energy_j,
            unit="ratio",
            n=n,
            unit_note="of what the charging meters read",
        ),
        "idle_ratio": Figure(
            value=one.idle_j / one.energy_j,
            unit="ratio",
            n=n,
            unit_note="charged as idle, of the same",
        ),
        "gap_ratio": Figure(
            value=one.gap_j / (one.energy_j + one.gap_j),
            unit="ratio",
            n=one.gaps,
            unit_note="joules in gaps, over read and gaps of all meters",
        ),
    }


def _attribution(scores: Sequence[Score]) -> dict[str, Figure]:
    """Return every method's error, the mean over sources."""
    found: dict[str, Figure] = {}
    for method, name in _FIGURES.items():
        one = pooled(scores, method)
        if one is not None:
            value, low, high, n = one
            found[name] = Figure(
                value=value,
                unit="ratio",
                n=n,
                low=low,
                high=high,
                unit_note="mean over sources; 95 % of resampled windows",
            )
    return found


def _row(one: Score) -> Row:
    """Return one method on one source."""
    return {
        "source": one.source,
        "method": one.method,
        "n": one.n,
        "mape": one.mape,
        "low": one.low,
        "high": one.high,
        "ape_median": one.median,
        "worse": one.worse,
        "worse_low": one.worse_low,
        "worse_high": one.worse_high,
    }
