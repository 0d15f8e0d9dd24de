"""All rows of a shadow, added up: what the switch would save, what it would lose, and is it time.

Baselines: the upstream as it was used, with the prompt cache it had; and each cheaper tier alone
on the requests it drafted, the smallest thing that could be done instead of routing.
"""

__all__ = ["Alone", "Findings", "Totals"]

from collections import Counter

from msgspec import Struct

from metabolic.core.shadow import ShadowRow
from metabolic.decide.shadow import Interval, Sum, Verdict, verdict


class Alone(Struct, frozen=True, kw_only=True):
    """One cheaper tier without a gate, on the requests it drafted."""

    deployment: str
    rows: int
    labelled: int
    saving_usd: Interval | None
    saving_energy: Interval | None
    loss: Interval | None


class Findings(Struct, frozen=True, kw_only=True):
    """What a shadow has found.

    Savings are shares of what the upstream took, ``saving`` the one the verdict goes by: dollars
    where prices are known, else joules, as ``unit`` says. ``loss`` is per request, escalated ones
    included. ``served_ratio`` is the share that a cheaper tier would have answered,
    ``unjudged_ratio`` the share of all that it would have and nobody could judge. ``spent_*`` is
    what measuring took. ``best_single`` is who would lose no more than is allowed alone and saves
    most; the upstream's name where nobody is shown to.
    """

    rows: int
    sessions: int
    labelled: int
    labellers: tuple[tuple[str, int], ...]
    policies: int
    unit: str
    saving: Interval | None
    saving_usd: Interval | None
    saving_energy: Interval | None
    usd_per_1000: float | None
    energy_j_per_1000: float | None
    loss: Interval | None
    served_ratio: float
    unjudged_ratio: float
    lost_cached_tokens: int
    spent_usd: float
    spent_energy_j: float
    best_single: str
    alone: tuple[Alone, ...]
    verdict: Verdict
    why: str


class _Tier:
    """The sums of one cheaper tier alone."""

    def __init__(self) -> None:
        self.usd, self.energy, self.loss = Sum(), Sum(), Sum()
        self.rows = self.labelled = 0

    def add(self, row: ShadowRow) -> None:
        p = row.draft_propensity
        self.rows += 1
        if row.base_usd is not None and row.draft_usd is not None:
            part = row.base_usd - row.draft_usd
            self.usd.add(row.session, part=part, whole=row.base_usd, propensity=p)
        if row.base_energy_j is not None and row.draft_energy_j is not None:
            part = row.base_energy_j - row.draft_energy_j
            self.energy.add(row.session, part=part, whole=row.base_energy_j, propensity=p)
        if row.loss is not None:
            self.labelled += 1
            self.loss.add(row.session, part=row.loss, whole=1.0, propensity=p)


class Totals:
    """Sums over rows; ``add`` takes constant time."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.rows = self.labelled = 0
        self._usd, self._energy, self._loss, self._unjudged = Sum(), Sum(), Sum(), Sum()
        self._served = Sum()
        self._tiers: dict[str, _Tier] = {}
        self._labellers: Counter[str] = Counter()
        self._policies: set[str] = set()
        self._references: Counter[str] = Counter()
        self._spent_usd = self._spent_energy_j = 0.0
        self._lost = 0

    def add(self, row: ShadowRow) -> None:
        """Add one row."""
        p, key = row.propensity, row.session
        self.rows += 1
        self._policies.add(row.policy_id)
        self._references[row.reference] += 1
        self._spent_usd += row.spent_usd
        self._spent_energy_j += row.spent_energy_j
        self._lost += row.lost_cached_tokens
        if row.labeller is not None:
            self.labelled += 1
            self._labellers[row.labeller] += 1
        if row.base_usd is not None and row.routed_usd is not None:
            part = row.base_usd - row.routed_usd
            self._usd.add(key, part=part, whole=row.base_usd, propensity=p)
        if row.base_energy_j is not None and row.routed_energy_j is not None:
            part = row.base_energy_j - row.routed_energy_j
            self._energy.add(key, part=part, whole=row.base_energy_j, propensity=p)
        unjudged = row.served and row.loss is None
        self._served.add(key, part=float(row.served), whole=1.0, propensity=p)
        self._unjudged.add(key, part=float(unjudged), whole=1.0, propensity=p)
        lost = row.loss if row.served and row.loss is not None else 0.0
        self._loss.add(key, part=lost, whole=1.0, propensity=p)
        if row.deployment is not None:
            self._tiers.setdefault(row.deployment, _Tier()).add(row)

    def findings(self, *, max_loss_ratio: float) -> Findings:
        """Return what there is to say now."""
        usd, energy = self._usd.ratio(), self._energy.ratio()
        saving, unit = (usd, "USD") if usd is not None else (energy, "J")
        loss, served, unjudged = self._loss.ratio(), self._served.ratio(), self._unjudged.ratio()
        alone = tuple(_alone(name, self._tiers[name]) for name in sorted(self._tiers))
        unjudged_ratio = 0.0 if unjudged is None else unjudged.value
        said, why = verdict(
            saving, loss, max_loss_ratio=max_loss_ratio, unjudged_ratio=unjudged_ratio
        )
        reference = self._references.most_common(1)[0][0] if self._references else ""
        best = _best(alone, unit, reference=reference, max_loss_ratio=max_loss_ratio)
        if (
            said == "switch"
            and best is not None
            and _saves(best, unit) > (0.0 if saving is None else saving.value)
        ):
            said, why = "do not switch", f"{best.deployment} alone saves more and loses no more"
        return Findings(
            rows=self.rows,
            sessions=0 if served is None else served.sessions,
            labelled=self.labelled,
            labellers=tuple(sorted(self._labellers.items())),
            policies=len(self._policies),
            unit=unit,
            saving=saving,
            saving_usd=usd,
            saving_energy=energy,
            usd_per_1000=_per_1000(self._usd, self._served),
            energy_j_per_1000=_per_1000(self._energy, self._served),
            loss=loss,
            served_ratio=0.0 if served is None else served.value,
            unjudged_ratio=unjudged_ratio,
            lost_cached_tokens=self._lost,
            spent_usd=self._spent_usd,
            spent_energy_j=self._spent_energy_j,
            best_single=reference if best is None else best.deployment,
            alone=alone,
            verdict=said,
            why=why,
        )


def _alone(name: str, tier: _Tier) -> Alone:
    """Return one tier's sums as findings."""
    return Alone(
        deployment=name,
        rows=tier.rows,
        labelled=tier.labelled,
        saving_usd=tier.usd.ratio(),
        saving_energy=tier.energy.ratio(),
        loss=tier.loss.ratio(),
    )


def _saves(one: Alone, unit: str) -> float:
    """Return the share that a tier alone saves; 0 where it is not known."""
    found = one.saving_usd if unit == "USD" else one.saving_energy
    return 0.0 if found is None else found.value


def _best(
    alone: tuple[Alone, ...], unit: str, *, reference: str, max_loss_ratio: float
) -> Alone | None:
    """Return the tier that is shown to be good enough alone and saves most; ``None``: nobody."""
    able = [
        one
        for one in alone
        if one.deployment != reference
        and one.loss is not None
        and one.loss.high is not None
        and one.loss.high <= max_loss_ratio
        and one.labelled == one.rows
    ]
    best = max(able, key=lambda one: (_saves(one, unit), one.deployment), default=None)
    return best if best is not None and _saves(best, unit) > 0 else None


def _per_1000(saved: Sum, served: Sum) -> float | None:
    """Return what a thousand requests would save; ``None`` where costs are not known."""
    return 1000 * saved.part / served.whole if saved.whole > 0 and served.whole > 0 else None
