"""Does a certificate still hold? A bet on shadow labels that is settled at every one of them.

Theory. The certificate says that keeping drafts loses at most ``epsilon`` on average. We bet that
it loses more: with evidence ``E`` and a stake chosen before the label is seen,
``E (1 + stake (loss - epsilon))``. While the certificate holds ``E`` cannot grow on average, so
the chance that it *ever* reaches ``1 / alpha`` is at most ``alpha``, however often one looks
(Ville): a threshold for an alarm that needs no correction for repeated looks.

A request is labelled with probability ``p`` (its propensity), whatever becomes of it. Among the
labelled, those with a high propensity are too many, so each counts ``least / p``: then the bet is
one about all traffic. Several stakes are played side by side, since nobody knows how much will be
lost; their mean is again a bet.

Evidence does not fall below ``FLOOR``, so that a change after long good times is soon seen. That
trades the guarantee for all time for one on average: at least about ``1 / (alpha FLOOR)`` labels
between two false alarms (the bet is at most ``FLOOR`` times Shiryaev and Roberts' statistic).

Source: Waudby-Smith and Ramdas, JRSS-B 2024 (the bet); Shin, Ramdas and Rinaldo, "E-detectors",
2023 (restarts).
"""

__all__ = ["FLOOR", "Label", "Watch", "alarmed", "watch"]

from msgspec import Struct
from msgspec.structs import replace

_STAKES = (0.1, 0.3, 0.6, 0.9)
"""Shares of the largest stake that cannot ruin, played side by side."""

_WORST = 2.0
"""A label can lose at most ``1 + epsilon``, which is below this."""

FLOOR = 0.5
"""Evidence never falls below this: what was won for the certificate long ago says little now."""


class Label(Struct, frozen=True, kw_only=True, gc=False):
    """One labelled request: what keeping lost, 0 where the draft was not kept.

    ``loss`` is in [-1, 1], 1 where the reference was preferred; ``propensity`` in (0, 1] is the
    probability with which this request was chosen to be labelled.
    """

    loss: float
    propensity: float = 1.0


class Watch(Struct, frozen=True, kw_only=True, gc=False):
    """How much speaks against one lane's certificate.

    ``bets`` is the evidence of each stake. ``least_propensity`` is the smallest with which requests
    are labelled. ``alarm`` stays once it is up.
    """

    lane: str
    epsilon: float
    alpha: float = 0.001
    least_propensity: float = 0.01
    bets: tuple[float, ...] = (1.0,) * len(_STAKES)
    labels: int = 0
    alarm: bool = False

    @property
    def evidence(self) -> float:
        """Return the evidence against the certificate: 1 says nothing, ``1 / alpha`` alarms."""
        return sum(self.bets) / len(self.bets)


def watch(state: Watch, label: Label) -> Watch:
    """Return the watch after one label.

    Raises:
        ValueError: the propensity is below ``least_propensity``.
    """
    if label.propensity < state.least_propensity:
        message = f"propensity {label.propensity:g} is below {state.least_propensity:g}"
        raise ValueError(message)
    gain = state.least_propensity / label.propensity * (label.loss - state.epsilon)
    bets = tuple(
        max(bet, FLOOR) * (1 + stake * gain / _WORST)
        for bet, stake in zip(state.bets, _STAKES, strict=True)
    )
    moved = replace(state, bets=bets, labels=state.labels + 1)
    return replace(moved, alarm=state.alarm or moved.evidence >= 1 / state.alpha)


def alarmed(states: tuple[Watch, ...]) -> tuple[str, ...]:
    """Return the lanes whose alarm is up, sorted, as ``Policy.alarms`` wants them."""
    return tuple(sorted({one.lane for one in states if one.alarm}))
