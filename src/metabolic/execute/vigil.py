"""Keeps the drift watches of the certificates in force, and raises alarms."""

__all__ = ["Vigil"]

import logging
from collections.abc import Callable, Iterable

from metabolic.core.certificate import Certificate
from metabolic.decide.drift import Label, Watch, alarmed, watch

_log = logging.getLogger("metabolic.drift")


class Vigil:
    """One watch a certified lane; tells when lanes are to go to their reference.

    Labels come from whoever judges shadow answers or takes feedback. An alarm stays until the
    certificates are made anew and the gateway takes them over.
    """

    def __init__(
        self, certificates: Iterable[Certificate], *, alarm: Callable[[tuple[str, ...]], None]
    ) -> None:
        """Watch these; ``alarm`` is called with all lanes whose alarm is up, when one goes up."""
        self._alarm = alarm
        self._watches = {
            one.lane: Watch(lane=one.lane, epsilon=one.max_loss_ratio)
            for one in certificates
            if one.refused is None
        }

    def label(self, lane: str, *, loss: float, propensity: float = 1.0) -> None:
        """Take one label; ``loss`` is 1 where the reference was preferred to a kept draft.

        A lane without a certificate is not watched. Raises ``ValueError`` for a propensity below
        the smallest.
        """
        before = self._watches.get(lane)
        if before is None:
            return
        after = watch(before, Label(loss=loss, propensity=propensity))
        self._watches[lane] = after
        if after.alarm and not before.alarm:
            _log.warning("certificate drifted", extra={"lane": lane, "labels": after.labels})
            self._alarm(alarmed(tuple(self._watches.values())))

    def watches(self) -> tuple[Watch, ...]:
        """Return all watches, by lane."""
        return tuple(self._watches[lane] for lane in sorted(self._watches))
