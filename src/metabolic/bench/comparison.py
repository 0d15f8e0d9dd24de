"""All policies on the same recorded answers, as rows, figures and plain words."""

__all__ = ["Comparison", "compare"]

from collections.abc import Mapping, Sequence
from math import sqrt

from msgspec import Struct

from metabolic.account.carbon import carbon_g
from metabolic.account.money import electricity_usd
from metabolic.bench import certified, policies
from metabolic.bench.folding import Case, Folded, fold, single
from metabolic.bench.report import Figure, Interval, Missing, Row, interval, quantile
from metabolic.config import EnergyTable

_Z = 1.959963984540054
_ENERGY_NOTE = "energy is modelled: CPU seconds times watts per core; no meter was read"

_SAME = 1e-9


class Comparison(Struct, frozen=True, kw_only=True):
    """What the comparison gives a report."""

    rows: tuple[Row, ...]
    figures: Mapping[str, Figure]
    missing: tuple[Missing, ...]
    notes: tuple[str, ...]


class _Policy(Struct, frozen=True, kw_only=True):
    """One policy on the reported half; ``rounds`` is how often each question was drawn."""

    name: str
    folded: tuple[Folded, ...]
    rounds: int = 1

    def of(self, name: str) -> "_Policy":
        """Return it on one set of questions; ``all`` is every set."""
        if name == "all":
            return self
        chosen = tuple(one for one in self.folded if one.case.asked.set == name)
        return _Policy(name=self.name, folded=chosen, rounds=self.rounds)

    def right(self) -> dict[str, float]:
        """Return how often each question was answered rightly."""
        found: dict[str, float] = {}
        for one in self.folded:
            name = one.case.asked.id
            found[name] = found.get(name, 0.0) + one.right / self.rounds
        return found

    def cpu_s(self) -> float | None:
        """Return the CPU seconds of one round; ``None`` when an engine's are unknown."""
        spent = [one.cpu_s for one in self.folded if one.cpu_s is not None]
        return sum(spent) / self.rounds if len(spent) == len(self.folded) else None


def compare(  # noqa: PLR0913 - what was recorded, learned and asked for
    chosen_on: Sequence[Case],
    reported: Sequence[Case],
    learned: policies.Learned,
    *,
    ranked: Sequence[str],
    seed: int,
    energy: EnergyTable,
    splits: int,
) -> Comparison:
    """Fold every policy over the reported half and set them side by side.

    ``ranked`` are the deployments by quality; the last is the one always-large means.
    """
    compared = _policies(chosen_on, reported, learned, ranked, seed=seed)
    large = next(one for one in compared if one.name == f"always-{ranked[-1]}")
    sets = ("all", *sorted({case.asked.set for case in reported}))
    rows = tuple(
        _row(one.of(name), large.of(name), set_name=name, ranked=ranked, energy=energy)
        for name in sets
        for one in compared
    )
    missing = ()
    if large.cpu_s() is None:
        why = "an engine does not run on this machine, so its CPU seconds are not known"
        missing = tuple(Missing(figure=one, why=why) for one in ("cpu_s", "energy_j", "cost_usd"))
    return Comparison(
        rows=rows,
        figures=_figures(chosen_on, reported, learned, ranked, seed=seed, splits=splits),
        missing=missing,
        notes=(_ENERGY_NOTE, *_findings(rows)),
    )


def _policies(
    chosen_on: Sequence[Case],
    reported: Sequence[Case],
    learned: policies.Learned,
    ranked: Sequence[str],
    *,
    seed: int,
) -> list[_Policy]:
    """Fold every policy over the reported half."""
    last, first = ranked[-1], ranked[max(0, len(ranked) - 2)]
    ours = tuple(policies.cascade(case, learned) for case in reported)
    shares = {name: sum(one.answered == name for one in ours) / len(ours) for name in ranked}
    strong = sum(last in one.called for one in ours) / len(ours)
    profile = learned.policy.profile
    plain = policies.choose_two_stage(
        chosen_on, first=first, last=last, max_loss=profile.preference * profile.max_loss_ratio
    )
    guarded = certified.guard(
        chosen_on, learned, first=first, last=last, min_confidence=plain, seed=seed
    )
    send = policies.by_length(chosen_on, first=first, last=last, strong_share=strong)
    lots = policies.random_share(reported, shares, seed=seed)
    return [
        *(
            _Policy(
                name=f"always-{name}",
                folded=tuple(fold(single(name), case) for case in reported),
            )
            for name in ranked
        ),
        _Policy(name="random", folded=tuple(lots), rounds=max(1, len(lots) // len(reported))),
        _Policy(name="length", folded=tuple(send(case) for case in reported)),
        *_guarded(guarded, reported, first=first, last=last, min_confidence=plain),
        _Policy(name="cascade", folded=ours),
        _Policy(name="oracle", folded=tuple(policies.oracle(case) for case in reported)),
    ]


def _guarded(
    guarded: certified.Guarded,
    reported: Sequence[Case],
    *,
    first: str,
    last: str,
    min_confidence: float,
) -> tuple[_Policy, ...]:
    """Fold the plain cascade without and with early abort, and those with certificates."""
    plain = [
        policies.two_stage(case, first=first, last=last, min_confidence=min_confidence)
        for case in reported
    ]
    early = [
        certified.early(case, guarded, first=first, last=last, min_confidence=min_confidence)
        for case in reported
    ]
    gated = [certified.gated(case, guarded, first=first, last=last) for case in reported]
    sure = [policies.cascade(case, guarded.learned) for case in reported]
    return (
        _Policy(name="two-stage", folded=tuple(plain)),
        _Policy(name="two-stage-early-abort", folded=tuple(early)),
        _Policy(name="certified-gate", folded=tuple(gated)),
        _Policy(name="certified", folded=tuple(sure)),
    )


def _row(
    one: _Policy, large: _Policy, *, set_name: str, ranked: Sequence[str], energy: EnergyTable
) -> Row:
    """Return one policy on one set. Seconds, joules and dollars are totals over its questions."""
    right = one.right()
    count = len(right)
    share = interval(sum(right.values()), count)
    gap = _paired(right, large.right())
    cpu_s, large_s = one.cpu_s(), large.cpu_s()
    joules = None if cpu_s is None else cpu_s * energy.cpu_w_per_core
    calls = len(one.folded)
    seconds = [each.seconds for each in one.folded]
    return {
        "policy": one.name,
        "set": set_name,
        "n": count,
        "accuracy": share.value,
        "accuracy_low": share.low,
        "accuracy_high": share.high,
        "accuracy_gap": gap.value,
        "accuracy_gap_low": gap.low,
        "accuracy_gap_high": gap.high,
        "cpu_s": cpu_s,
        "energy_j": joules,
        "energy_origin": None if joules is None else "modelled",
        "carbon_g": None
        if joules is None
        else carbon_g(joules, g_per_kwh=energy.intensity_g_per_kwh()),
        "cost_usd": (
            None if joules is None else electricity_usd(joules, usd_per_kwh=energy.usd_per_kwh)
        ),
        "net_cost_ratio": cpu_s / large_s if cpu_s is not None and large_s else None,
        "latency_p50_s": quantile(seconds, 0.5),
        "latency_p95_s": quantile(seconds, 0.95),
        "strong_share": sum(ranked[-1] in each.called for each in one.folded) / calls,
    } | {
        f"answered_{name}": sum(each.answered == name for each in one.folded) / calls
        for name in ranked
    }


def _paired(right: Mapping[str, float], other: Mapping[str, float]) -> Interval:
    """Return the difference of two accuracies on the same questions, with its 95 % interval.

    Normal approximation to the mean of paired differences.
    """
    gaps = [value - other[name] for name, value in right.items()]
    mean = sum(gaps) / len(gaps)
    spread = sqrt(sum((gap - mean) ** 2 for gap in gaps) / max(1, len(gaps) - 1) / len(gaps))
    return Interval(value=mean, low=mean - _Z * spread, high=mean + _Z * spread)


def _figures(
    chosen_on: Sequence[Case],
    reported: Sequence[Case],
    learned: policies.Learned,
    ranked: Sequence[str],
    *,
    seed: int,
    splits: int,
) -> dict[str, Figure]:
    """Return what was chosen, and how well confidence tells right from wrong on the other half."""
    last, first = ranked[-1], ranked[max(0, len(ranked) - 2)]
    figures = _certificates(
        (*chosen_on, *reported), first=first, last=last, seed=seed, splits=splits
    )
    figures |= {
        "min_confidence": Figure(
            value=learned.min_confidence,
            unit="probability",
            n=len(chosen_on),
            unit_note="geometric mean token probability, chosen on the other half",
        )
    }
    for name in ranked:
        value = policies.auroc(reported, name)
        if value is not None:
            figures[f"confidence_auroc_{name}"] = Figure(
                value=value, unit="ratio", n=len(reported), unit_note="no interval"
            )
    return figures


def _certificates(
    cases: Sequence[Case], *, first: str, last: str, seed: int, splits: int
) -> dict[str, Figure]:
    """Return how certificates fare on questions they were not made on, over random halves."""
    held = certified.held_out(cases, first=first, last=last, seed=seed, splits=splits)
    note = f"of splits; epsilon {certified.EPSILON:g}, delta {certified.DELTA:g}, lanes jointly"
    shown = interval(held.exceeded, held.splits)
    return {
        "certified_split_ratio": Figure(
            value=held.certified / held.splits, unit="ratio", n=held.splits, unit_note=note
        ),
        "certificate_exceeded_ratio": Figure(
            value=shown.value,
            low=shown.low,
            high=shown.high,
            unit="ratio",
            n=held.splits,
            unit_note=f"{note}; on the other half, whose own sampling error counts too",
        ),
    }


def _findings(rows: Sequence[Row]) -> tuple[str, ...]:
    """Say in words what the pooled rows show, also if it is a loss."""
    pooled = {str(row["policy"]): row for row in rows if row["set"] == "all"}
    ours = pooled["cascade"]
    ratio, gap = ours["net_cost_ratio"], ours["accuracy_gap"]
    low, high = ours["accuracy_gap_low"], ours["accuracy_gap_high"]
    assert isinstance(gap, float)
    assert isinstance(low, float)
    assert isinstance(high, float)
    if not isinstance(ratio, float):
        return ("no verdict on cost: CPU seconds are not known",)
    if abs(ratio - 1) < _SAME and abs(gap) < _SAME:
        return (
            (
                "the cascade abstains: within the loss it may cause nothing is gained here, so it"
                " answers as always-large does"
            ),
        )
    verdict = "saves" if ratio < 1 else "costs more"
    return (
        (
            f"the cascade {verdict}: {ratio:.2f}x the CPU seconds of always-large, accuracy "
            f"{gap:+.3f} (95 % interval {low:+.3f} to {high:+.3f}, paired)"
        ),
        *(
            f"on these questions {name} dominates the cascade: no dearer, at least as accurate"
            for name, row in pooled.items()
            if name not in {"cascade", "oracle"} and _dominates(row, ours)
        ),
    )


def _dominates(row: Row, ours: Row) -> bool:
    """Say whether a policy is no dearer, at least as accurate, and better in one of the two."""
    cost, our_cost = row["net_cost_ratio"], ours["net_cost_ratio"]
    accuracy, our_accuracy = row["accuracy"], ours["accuracy"]
    if not isinstance(cost, float) or not isinstance(our_cost, float):
        return False
    assert isinstance(accuracy, float)
    assert isinstance(our_accuracy, float)
    return (
        cost <= our_cost
        and accuracy >= our_accuracy
        and (cost, accuracy) != (our_cost, our_accuracy)
    )
