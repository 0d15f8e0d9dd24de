"""``[lanes]`` and ``[[lane]]``: what is learned from traffic, and what an operator pins."""

__all__ = ["LanesTable", "PinTable"]

from typing import Annotated, Literal

from msgspec import Meta, Struct

from metabolic.core.lanes import LanePin

_Text = Annotated[str, Meta(min_length=1, max_length=128)]


class LanesTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[lanes]``: ``observe`` keeps the table and shows it, ``route`` decides by it.

    ``explore_ratio`` of the answers on a known lane go to a rival that may be adequate, at most
    ``explore_per_epoch`` in five minutes. A lane is known from ``min_labels`` labels. One epoch
    takes at most ``labels_per_epoch`` labels for one deployment on one lane, and at most a half of
    them from one tenant. Gateways with the same ``share``, a folder, add up what they learned.
    """

    mode: Literal["off", "observe", "route"] = "observe"
    explore_ratio: Annotated[float, Meta(ge=0, le=0.5)] = 0.02
    explore_per_epoch: Annotated[int, Meta(ge=0)] = 100
    min_labels: Annotated[int, Meta(ge=1)] = 20
    labels_per_epoch: Annotated[int, Meta(ge=1)] = 64
    share: str | None = None


class PinTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[lane]]``: this lane is answered by this deployment, whatever the evidence says."""

    name: _Text
    deployment: _Text
    variant: str | None = None

    def pin(self) -> LanePin:
        """Return it as a value of the core."""
        return LanePin(lane=self.name, deployment=self.deployment, variant=self.variant)
