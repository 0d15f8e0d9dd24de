"""Is what is said of the heat true? Forecasts, times to throttling and alarms on a strange device.

The device (``thermal_plant``) is not the model that is fitted: two masses, a fan, drifting air, a
lagging sensor of whole degrees. Beside ours: the naive alarm below a headroom, which is chosen on
devices of their own (``_threshold``), the former rule that extrapolates the trend (``_trend``), and
no forecast at all (``_none``). The power model is judged on recordings (``thermal_power``).
"""

__all__ = ["Options", "run"]

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from metabolic.bench.report import Figure, Missing, Report, Row, interval, progress, quantile
from metabolic.bench.report import report as make_report
from metabolic.bench.thermal_loads import SCENARIOS, made, recorded
from metabolic.bench.thermal_plant import PARTS, Plant, draw
from metabolic.bench.thermal_power import power_model
from metabolic.bench.thermal_track import (
    CAP_S,
    HORIZON_S,
    Moment,
    Track,
    alarms,
    follow,
    onsets,
)
from metabolic.decide.forecast import HORIZONS_S

_RESAMPLES = 200
_EVERY_S = 5.0
_QUICK_S = 240.0
_MARGIN = 1.4
_WARMUP_S = 60.0
_THRESHOLDS_C = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 15.0)

_RISKS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)

_Rule = Callable[[Moment], bool]
_Guess = Callable[[Moment], float]


class Options(Struct, frozen=True, kw_only=True):
    """What to run: seeds per scenario and device, and how long each run is."""

    data: Path | None = None
    seeds: int = 4
    seconds: float = 1200.0
    seed: int = 0
    quick: bool = False


class _Naive(Struct, frozen=True, kw_only=True):
    """What is chosen on devices of their own: when alarms ring, and what the naive one then says.

    ``below_c`` is the naive alarm's headroom, ``from_ratio`` the risk from which ours rings.
    """

    below_c: float
    ttt_s: float
    from_ratio: float


class _Errors(Struct, frozen=True, kw_only=True):
    """A run's errors: of the time to throttling by method, of forecasts by horizon."""

    track: Track
    ttt: dict[str, list[float]]
    held: dict[str, list[float]]
    forecast: tuple[list[float], ...]
    steady: tuple[list[float], ...]
    within: tuple[list[float], ...]


def run(options: Options) -> Report:
    """Run every scenario on every device, and judge the power model if there are recordings."""
    began_s = time.monotonic()
    if options.quick:
        options = replace(options, seeds=1, seconds=min(options.seconds, _QUICK_S))
    naive = _chosen(_tracks(options, purpose="choose", seeds=max(1, options.seeds // 2)))
    progress(f"alarms: below {naive.below_c:g} C; from a risk of {naive.from_ratio:g}")
    tracks = _tracks(options, purpose="report", seeds=options.seeds)
    if options.data is not None:
        tracks += _recorded(options)
    errors = [_errors(track, naive) for track in tracks]
    figures, rows = _figures(errors, naive, options.seed), _rows(errors, naive)
    missing = [
        Missing(figure="false_alarm_ratio_none", why="it never alarms"),
    ]
    more, more_rows, absent = power_model(options.data)
    return make_report(
        "thermal",
        seed=options.seed,
        seconds=time.monotonic() - began_s,
        quick=options.quick,
        notes=_notes(naive, options),
        figures=figures | more,
        rows=[*rows, *more_rows],
        missing=[*missing, *absent],
    )


def _notes(naive: _Naive, options: Options) -> tuple[str, ...]:
    """Return what to mind."""
    chosen = (
        f"naive alarm: headroom below {naive.below_c:g} C, then {naive.ttt_s:.0f} s; ours: risk "
        f"from {naive.from_ratio:g}; chosen on other devices for fewest missed and false together"
    )
    what = (
        f"times up to {CAP_S:.0f} s, at moments from which the device did slow down within that "
        "(held: would have, at unchanged power); an alarm counts from 30 to 10 s before; the first "
        f"{_WARMUP_S:.0f} s of a run do not count"
    )
    return (
        "simulated devices: no public recording of GPU temperature and power was found",
        chosen,
        what,
        f"{options.seeds} seeds for each device and scenario; intervals by resampling runs",
    )


def _tracks(options: Options, *, purpose: str, seeds: int) -> list[Track]:
    """Run all devices under all loads; each purpose has devices of its own."""
    found: list[Track] = []
    for part in PARTS:
        for scenario in SCENARIOS:
            for seed in range(seeds):
                random = Random(f"{options.seed}/{purpose}/{part.name}/{scenario}/{seed}")
                one = draw(part, random)
                top_w = _MARGIN * Plant(one, Random(0)).limit_w()
                one = replace(one, full_w=max(one.full_w, top_w))
                load = made(scenario, random)
                found.append(
                    follow(one, load, scenario=scenario, random=random, seconds=options.seconds)
                )
        progress(f"{purpose}: {part.name}")
    return found


def _recorded(options: Options) -> list[Track]:
    """Run the servers' GPU under recorded power series."""
    found: list[Track] = []
    most = 1 if options.quick else 6
    for name, load in recorded(options.data or Path(), most=most):
        random = Random(f"{options.seed}/recorded/{name}")
        part = draw(PARTS[0], random)
        track = follow(part, load, scenario="recorded", random=random, seconds=options.seconds)
        found.append(track)
    return found


def _chosen(tracks: Sequence[Track]) -> _Naive:
    """Choose alarms on devices that are not reported: fewest missed and false together."""
    below_c = min(_THRESHOLDS_C, key=lambda one: _wrong(tracks, _below(one)))
    from_ratio = min(_RISKS, key=lambda one: _wrong(tracks, _risky(one)))
    waits: list[float] = []
    for track in tracks:
        starts = onsets(track)
        waits += [
            truth
            for moment in track.moments
            if moment.headroom_c < below_c
            and not moment.slowed
            and (truth := _truth(moment, starts)) < CAP_S
        ]
    return _Naive(below_c=below_c, ttt_s=quantile(waits, 0.5) or 0.0, from_ratio=from_ratio)


def _wrong(tracks: Sequence[Track], rule: _Rule) -> float:
    """Return the shares of missed and of false alarms together."""
    counts = [alarms(one, onsets(one), rule) for one in tracks]
    missed = sum(one.missed for one in counts) / max(1, sum(one.onsets for one in counts))
    return missed + sum(one.false for one in counts) / max(1, sum(one.alarms for one in counts))


def _below(below_c: float) -> _Rule:
    """Return the naive rule."""
    return lambda moment: moment.headroom_c < below_c


def _risky(from_ratio: float) -> _Rule:
    """Return our rule: the risk that the machine's state states."""
    return lambda moment: moment.risk_ratio >= from_ratio


def _soon_by_trend(moment: Moment) -> bool:
    """Say whether the extrapolated trend is."""
    return moment.trend_ttt_s is not None and moment.trend_ttt_s <= HORIZON_S


def _truth(moment: Moment, starts: Sequence[float]) -> float:
    """Return the seconds until the device slows down, at most the cap."""
    return min([at_s - moment.at_s for at_s in starts if at_s >= moment.at_s], default=CAP_S)


def _guesses(naive: _Naive) -> dict[str, _Guess]:
    """Return each method's time to throttling."""

    def capped(value: float | None) -> float:
        return CAP_S if value is None else min(CAP_S, value)

    return {
        "": lambda moment: capped(moment.ttt_s),
        "_threshold": lambda moment: naive.ttt_s if moment.headroom_c < naive.below_c else CAP_S,
        "_trend": lambda moment: capped(moment.trend_ttt_s),
        "_none": lambda _: CAP_S,
    }


def _rules(naive: _Naive) -> dict[str, _Rule]:
    """Return each method's alarm."""
    return {
        "": _risky(naive.from_ratio),
        "_threshold": _below(naive.below_c),
        "_trend": _soon_by_trend,
        "_none": lambda _: False,
    }


def _errors(track: Track, naive: _Naive) -> _Errors:
    """Compare a run with what then happened, every five seconds."""
    starts, guesses = onsets(track), _guesses(naive)
    ttt: dict[str, list[float]] = {name: [] for name in guesses}
    held: dict[str, list[float]] = {name: [] for name in guesses}
    ours: list[list[float]] = [[] for _ in HORIZONS_S]
    steady: list[list[float]] = [[] for _ in HORIZONS_S]
    within: list[list[float]] = [[] for _ in HORIZONS_S]
    step = track.moments[1].at_s - track.moments[0].at_s
    for index in range(0, len(track.moments), max(1, round(_EVERY_S / step))):
        moment = track.moments[index]
        if moment.at_s < _WARMUP_S:
            continue
        truth = _truth(moment, starts)
        if truth < CAP_S and not moment.slowed:
            for name, guess in guesses.items():
                ttt[name].append(abs(guess(moment) - truth))
        if moment.held_ttt_s is not None and moment.held_ttt_s < CAP_S:
            for name, guess in guesses.items():
                held[name].append(abs(guess(moment) - moment.held_ttt_s))
        for place, horizon_s in enumerate(HORIZONS_S):
            then = index + round(horizon_s / step)
            if then < len(track.moments):
                true_c = track.moments[then].true_headroom_c
                error_c = abs(moment.ahead_c[place] - true_c)
                ours[place].append(error_c)
                steady[place].append(abs(moment.headroom_c - true_c))
                within[place].append(float(error_c <= moment.error_c[place]))
    return _Errors(
        track=track,
        ttt=ttt,
        held=held,
        forecast=tuple(ours),
        steady=tuple(steady),
        within=tuple(within),
    )


def _figures(errors: Sequence[_Errors], naive: _Naive, seed: int) -> dict[str, Figure]:
    """Return the figures over all runs."""
    figures: dict[str, Figure] = {}
    for name in _guesses(naive):
        for kind, field in (("ttt", "ttt"), ("held_ttt", "held")):
            series = [getattr(one, field)[name] for one in errors]
            for share, word in ((0.5, "median"), (0.9, "p90")):
                found = _resampled(series, share, seed, unit="s")
                if found is not None:
                    figures[f"{kind}_abs_error_{word}_s{name}"] = found
    for place, horizon_s in enumerate(HORIZONS_S):
        for suffix, field in (("", "forecast"), ("_none", "steady")):
            series = [getattr(one, field)[place] for one in errors]
            for share, word in ((0.5, "median"), (0.9, "p90")):
                found = _resampled(series, share, seed, unit="C")
                if found is not None:
                    figures[f"forecast_{horizon_s:.0f}s_abs_error_{word}_c{suffix}"] = found
        held = [value for one in errors for value in one.within[place]]
        share = interval(sum(held), len(held))
        figures[f"forecast_{horizon_s:.0f}s_within_error_ratio"] = Figure(
            value=share.value,
            unit="ratio",
            n=len(held),
            low=share.low,
            high=share.high,
            unit_note="share of forecasts within their stated error; 0.68 if errors were normal",
        )
    for name, rule in _rules(naive).items():
        figures |= _alarm_figures(errors, name, rule)
    return figures


def _alarm_figures(errors: Sequence[_Errors], name: str, rule: _Rule) -> dict[str, Figure]:
    """Return a rule's shares of false and of missed alarms."""
    counts = [alarms(one.track, onsets(one.track), rule) for one in errors]
    figures: dict[str, Figure] = {}
    for word, bad, whole in (
        ("false_alarm_ratio", "false", "alarms"),
        ("missed_alarm_ratio", "missed", "onsets"),
    ):
        n = sum(getattr(one, whole) for one in counts)
        if n:
            share = interval(sum(getattr(one, bad) for one in counts), n)
            figures[f"{word}{name}"] = Figure(
                value=share.value, unit="ratio", n=n, low=share.low, high=share.high
            )
    return figures


def _resampled(
    series: Sequence[Sequence[float]], share: float, seed: int, *, unit: str
) -> Figure | None:
    """Return a quantile over all runs, with an interval by resampling whole runs."""
    known = [one for one in series if one]
    value = quantile([error for one in known for error in one], share)
    if value is None:
        return None
    random = Random(seed)
    drawn = sorted(
        quantile([error for one in random.choices(known, k=len(known)) for error in one], share)
        or 0.0
        for _ in range(_RESAMPLES)
    )
    return Figure(
        value=value,
        unit=unit,
        n=sum(len(one) for one in known),
        low=drawn[int(0.025 * _RESAMPLES)],
        high=drawn[int(0.975 * _RESAMPLES) - 1],
    )


def _rows(errors: Sequence[_Errors], naive: _Naive) -> list[Row]:
    """Return a line for each scenario and device."""
    groups: dict[tuple[str, str], list[_Errors]] = {}
    for one in errors:
        groups.setdefault((one.track.scenario, one.track.part), []).append(one)
    return [_row(scenario, part, found, naive) for (scenario, part), found in groups.items()]


def _row(scenario: str, part: str, found: Sequence[_Errors], naive: _Naive) -> Row:
    """Return what came out of one scenario on one device."""
    row: dict[str, float | int | str | None] = {
        "scenario": scenario,
        "device": part,
        "runs": len(found),
    }
    for name in _guesses(naive):
        errors = [error for one in found for error in one.ttt[name]]
        row[f"ttt_abs_error_median_s{name}"] = quantile(errors, 0.5)
        row[f"ttt_abs_error_p90_s{name}"] = quantile(errors, 0.9)
    row["onsets"] = sum(len(onsets(one.track)) for one in found)
    for name, rule in _rules(naive).items():
        counts = [alarms(one.track, onsets(one.track), rule) for one in found]
        row[f"alarms{name}"] = sum(one.alarms for one in counts)
        row[f"false{name}"] = sum(one.false for one in counts)
        row[f"missed{name}"] = sum(one.missed for one in counts)
    for place, horizon_s in enumerate(HORIZONS_S):
        ours = [error for one in found for error in one.forecast[place]]
        steady = [error for one in found for error in one.steady[place]]
        row[f"forecast_{horizon_s:.0f}s_p90_c"] = quantile(ours, 0.9)
        row[f"forecast_{horizon_s:.0f}s_p90_c_none"] = quantile(steady, 0.9)
    return row
