"""``[shadow]``: what is measured beside live traffic before anybody switches."""

__all__ = ["ShadowTable"]

from typing import Annotated, Literal

from msgspec import Meta, Struct

from metabolic.config.secret import Secret

_Ratio = Annotated[float, Meta(ge=0, le=1)]
_NotNegative = Annotated[float, Meta(ge=0)]
_Count = Annotated[int, Meta(ge=1)]


class ShadowTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[shadow]``: off while there is no ``upstream``, a base URL or a deployment's name.

    ``observe`` passes every request on untouched, ``route`` is the switch: the upstream's models
    are then routed. ``api_key`` replaces the client's (``None``: the client's is passed through).
    ``model`` is what the upstream is asked for once routed, where ``upstream`` is a URL.
    ``candidates`` are the cheaper tiers that are tried (``()``: all but the upstream), on
    ``sample_ratio`` of the sessions, ``concurrency`` at once, while no more than ``busy_in_flight``
    requests are passed on. A day's shadows take at most ``max_usd_per_day`` and
    ``max_energy_j_per_day`` (``None``: no limit). ``judge`` is a deployment that is asked where
    nothing else can compare two answers. ``max_loss_ratio`` is what may be lost after the switch,
    ``p_exceed`` the chance that a certificate is wrong about it.
    """

    mode: Literal["observe", "route"] = "observe"
    upstream: Annotated[str, Meta(min_length=1, max_length=512)] | None = None
    api_key: Secret | None = None
    model: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    candidates: tuple[str, ...] = ()
    sample_ratio: _Ratio = 0.05
    concurrency: _Count = 1
    queue: _Count = 64
    busy_in_flight: _Count = 16
    max_usd_per_day: _NotNegative | None = 1.0
    max_energy_j_per_day: _NotNegative | None = None
    judge: str | None = None
    keep_texts: bool = False
    max_loss_ratio: Annotated[float, Meta(gt=0, lt=1)] = 0.05
    p_exceed: Annotated[float, Meta(gt=0, lt=1)] = 0.1
    body_limit_bytes: Annotated[int, Meta(ge=1024)] = 64 * 1024 * 1024
    seed: int = 0

    @property
    def url(self) -> str | None:
        """Return the upstream's base URL; ``None`` where it is a deployment's name, or off."""
        found = self.upstream
        return found if found is not None and found.startswith(("http://", "https://")) else None

    @property
    def observes(self) -> bool:
        """Say whether requests are passed on untouched."""
        return self.upstream is not None and self.mode == "observe"
