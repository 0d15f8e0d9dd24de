"""``[delivery]``: how answers leave, and what windows and hedges take."""

__all__ = ["DeliveryTable"]

from typing import Annotated, Literal

from msgspec import Meta, Struct

from metabolic.core.delivery import Delivery, DeliveryRules

_Positive = Annotated[float, Meta(gt=0)]
_Ratio = Annotated[float, Meta(ge=0, le=1)]


class DeliveryTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[delivery]``: ``mode`` is for clients that send no ``metabolic-delivery``.

    ``hedge_max_share`` is the share of requests beside which a second call may be opened, over the
    latest few hundred. The rest is as in ``DeliveryRules``.
    """

    mode: Literal["auto"] | Delivery = "auto"
    window_tokens: Annotated[int, Meta(ge=1, le=4096)] = 16
    window_min_confidence: Annotated[float, Meta(gt=0, le=1)] | None = None
    hedge_after_s: Annotated[float, Meta(ge=0)] | None = None
    hedge_after_ratio: Annotated[float, Meta(ge=0, le=10)] = 0.5
    hedge_doubt_tokens: Annotated[int, Meta(ge=0, le=4096)] = 8
    hedge_max_share: _Ratio = 0.05
    late_ratio: Annotated[float, Meta(ge=1)] | None = None
    late_least_s: _Positive = 0.5

    def rules(self) -> DeliveryRules:
        """Return what decisions go by."""
        return DeliveryRules(
            window_tokens=self.window_tokens,
            min_confidence=self.window_min_confidence,
            hedge_after_s=self.hedge_after_s,
            hedge_after_ratio=self.hedge_after_ratio,
            hedge_doubt_tokens=self.hedge_doubt_tokens,
            late_ratio=self.late_ratio,
            late_least_s=self.late_least_s,
        )
