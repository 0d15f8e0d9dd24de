"""What a machine may spend: three profiles as data, and when one gives way to another.

``datacenter`` puts quality first, ``edge`` balances, ``mcu`` is thrift. The confidence a draft
needs is the geometric mean probability of its tokens: the edge's 0.82 is exp(-0.2), that is, a
mean token log-probability of at least -0.2, which kept .900 of .917 of the larger model's right
answers at 0.84 of its CPU seconds on the default fleet (lab log). The other values move that
figure: stricter where quality comes first, looser where the machine is hot or small, because an
escalation costs more heat than the draft it replaces.

Each profile has three bands: *cool* (nominal or unknown), *warm* (elevated) and *hot* (critical, or
the power budget used up). They differ in the confidence asked of a draft (``thresholds``), in the
quality that may be given up (``max_loss_ratio`` by the dial, ``warm_loss_ratio``,
``hot_loss_ratio``) and in speculation, which is off unless cool. The losses are judgement, not
measurement: at *hot* the device is about to slow everything down by itself.
"""

__all__ = ["PROFILES", "detect", "profile", "transition"]

from msgspec.structs import replace

from metabolic.core.errors import ConfigError
from metabolic.core.hardware import HardwareState
from metabolic.core.metabolic import MetabolicState, Profile, Threshold

_DATACENTER_CORES = 32
_MCU_MEMORY_BYTES = 2 * 1024**3
_RECOVERY_RATIO = 0.05
"""A battery must be this much above its reserve before the profile it forced is left."""


def _thresholds(*, nominal: float, elevated: float, critical: float) -> tuple[Threshold, ...]:
    """Return the confidence a draft needs at each level; unknown counts as nominal."""
    return (
        Threshold(level="unknown", min_confidence=nominal),
        Threshold(level="nominal", min_confidence=nominal),
        Threshold(level="elevated", min_confidence=elevated),
        Threshold(level="critical", min_confidence=critical),
    )


PROFILES: tuple[Profile, ...] = (
    Profile(
        name="datacenter",
        preference=0.1,
        max_loss_ratio=0.02,
        min_gain_ratio=0.02,
        speculation="on",
        thresholds=_thresholds(nominal=0.90, elevated=0.86, critical=0.82),
        heat_weight=1.0,
        battery_reserve_ratio=0.0,
        warm_loss_ratio=0.05,
        hot_loss_ratio=0.15,
    ),
    Profile(
        name="edge",
        preference=0.5,
        max_loss_ratio=0.05,
        min_gain_ratio=0.02,
        speculation="conditional",
        thresholds=_thresholds(nominal=0.82, elevated=0.77, critical=0.70),
        heat_weight=2.0,
        warm_loss_ratio=0.10,
        hot_loss_ratio=0.30,
        battery_weight=1.0,
    ),
    Profile(
        name="mcu",
        preference=1.0,
        max_loss_ratio=0.15,
        min_gain_ratio=0.02,
        tiers=("tiny", "small"),
        speculation="off",
        thresholds=_thresholds(nominal=0.74, elevated=0.70, critical=0.65),
        heat_weight=4.0,
        warm_loss_ratio=0.25,
        hot_loss_ratio=0.50,
        battery_weight=2.0,
        defer_above_ratio=0.5,
    ),
)
"""The profiles, most generous first."""


def profile(name: str) -> Profile:
    """Return a profile by name.

    Raises:
        ConfigError: there is none of that name.
    """
    for known in PROFILES:
        if known.name == name:
            return known
    listed = ", ".join(known.name for known in PROFILES)
    message = f'profile: there is no "{name}"; known: {listed}'
    raise ConfigError(message)


def detect(hardware: HardwareState, *, cores: int | None = None) -> str:
    """Return the name of the profile that suits a machine.

    A battery makes it ``edge``; a GPU of its own or 32 cores (``cores``; ``None`` is unknown) a
    ``datacenter``; less than 2 GiB of memory ``mcu``; anything else is ``edge``.
    """
    if hardware.battery is not None and hardware.battery.charge_ratio is not None:
        return "edge"
    if any(device.kind == "gpu" and not device.integrated for device in hardware.devices):
        return "datacenter"
    if cores is not None and cores >= _DATACENTER_CORES:
        return "datacenter"
    memory = hardware.memory_total_bytes
    if memory is not None and memory.value < _MCU_MEMORY_BYTES:
        return "mcu"
    return "edge"


def transition(home: Profile, state: MetabolicState, *, override: str | None = None) -> Profile:
    """Return the profile in force: ``override`` if given, ``mcu`` on a low battery, else ``home``.

    A battery is low when it feeds the machine (or nothing says what does) and holds less than
    the home profile's reserve; while ``mcu`` is in force (``state.profile``) it must hold 5
    points more before that ends. Degradation is at once; recovery is gradual, one profile after
    each dwell. Heat does not change the profile: its bands cool, warm and hot are within each.

    Raises:
        ConfigError: ``override`` names no profile.
    """
    if override is not None:
        return home if override == home.name else profile(override)
    if home.name == "mcu" or _is_low(home, state):
        return _spare(home, "mcu")
    return _recovered(home, state)


def _is_low(home: Profile, state: MetabolicState) -> bool:
    """Say whether the battery asks for thrift."""
    if state.battery_ratio is None or state.on_battery is False:
        return False
    reserve = home.battery_reserve_ratio
    if state.profile == "mcu" and reserve > 0:
        reserve += _RECOVERY_RATIO
    return state.battery_ratio < reserve


def _recovered(home: Profile, state: MetabolicState) -> Profile:
    """Return home, or on the way there the next more generous profile than the one in force."""
    names = [one.name for one in PROFILES]
    if state.profile not in names:
        return home
    now, goal = names.index(state.profile), names.index(home.name)
    if now <= goal:
        return home
    fold = state.fold
    if fold is not None and state.at_s - fold.profile_since_s < home.dwell_s:
        return _spare(home, names[now])
    return _spare(home, names[now - 1])


def _spare(home: Profile, name: str) -> Profile:
    """Return a profile with what belongs to the machine: bands of heat, reserve, power budget."""
    if name == home.name:
        return home
    return replace(
        profile(name),
        elevated_below_c=home.elevated_below_c,
        critical_below_c=home.critical_below_c,
        hysteresis_c=home.hysteresis_c,
        dwell_s=home.dwell_s,
        battery_reserve_ratio=home.battery_reserve_ratio,
        power_budget_w=home.power_budget_w,
    )
