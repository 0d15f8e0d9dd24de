"""The three profiles, and when one gives way to another."""

import pytest
from msgspec.structs import replace

from metabolic.core.errors import ConfigError
from metabolic.core.hardware import Battery, DeviceState, HardwareState, Reading
from metabolic.core.metabolic import Fold, Level, MetabolicState
from metabolic.decide.profiles import PROFILES, detect, profile, transition


def _reading(value: float) -> Reading:
    return Reading(value=value, origin="measured", source="s")


def _threshold(name: str, level: Level) -> float:
    (found,) = (one for one in profile(name).thresholds if one.level == level)
    return found.min_confidence


def test_the_three_profiles_stand_from_generous_to_thrifty() -> None:
    assert [one.name for one in PROFILES] == ["datacenter", "edge", "mcu"]
    assert [one.preference for one in PROFILES] == sorted(one.preference for one in PROFILES)
    losses = [one.max_loss_ratio for one in PROFILES]
    assert losses == sorted(losses)
    weights = [one.heat_weight for one in PROFILES]
    assert weights == sorted(weights)
    assert [one.speculation for one in PROFILES] == ["on", "conditional", "off"]
    assert profile("mcu").tiers == ("tiny", "small")


@pytest.mark.parametrize("level", ["unknown", "nominal", "elevated", "critical"])
def test_the_datacenter_is_stricter_with_drafts_and_the_mcu_looser(level: Level) -> None:
    assert _threshold("datacenter", level) > _threshold("edge", level) > _threshold("mcu", level)


@pytest.mark.parametrize("name", ["datacenter", "edge", "mcu"])
def test_heat_never_asks_more_of_a_draft(name: str) -> None:
    assert _threshold(name, "nominal") == _threshold(name, "unknown")
    assert _threshold(name, "nominal") > _threshold(name, "elevated")
    assert _threshold(name, "elevated") > _threshold(name, "critical")


def test_the_edge_keeps_a_draft_at_the_measured_threshold() -> None:
    assert _threshold("edge", "unknown") == 0.82


def test_an_unknown_profile_is_a_configuration_error_that_lists_the_known() -> None:
    with pytest.raises(ConfigError, match='"laptop"; known: datacenter, edge, mcu'):
        profile("laptop")


@pytest.mark.parametrize(
    ("hardware", "cores", "name"),
    [
        (HardwareState(taken_at_s=0.0), None, "edge"),
        (HardwareState(taken_at_s=0.0), 32, "datacenter"),
        (HardwareState(taken_at_s=0.0, memory_total_bytes=_reading(1e9)), 2, "mcu"),
        (HardwareState(taken_at_s=0.0, memory_total_bytes=_reading(25e9)), 2, "edge"),
        (
            HardwareState(
                taken_at_s=0.0,
                devices=(DeviceState(name="amd0", kind="gpu", integrated=True),),
            ),
            None,
            "edge",
        ),
        (
            HardwareState(taken_at_s=0.0, devices=(DeviceState(name="gpu0", kind="gpu"),)),
            2,
            "datacenter",
        ),
        (
            HardwareState(
                taken_at_s=0.0,
                devices=(DeviceState(name="gpu0", kind="gpu"),),
                battery=Battery(charge_ratio=_reading(0.5)),
            ),
            64,
            "edge",
        ),
        (HardwareState(taken_at_s=0.0, battery=Battery(on_battery=False)), None, "edge"),
    ],
)
def test_a_machine_s_profile_is_found(
    hardware: HardwareState, cores: int | None, name: str
) -> None:
    assert detect(hardware, cores=cores) == name


@pytest.mark.parametrize(
    ("battery_ratio", "on_battery", "now", "name"),
    [
        (None, None, "edge", "edge"),
        (0.19, True, "edge", "mcu"),
        (0.19, None, "edge", "mcu"),
        (0.19, False, "mcu", "edge"),
        (0.21, True, "edge", "edge"),
        (0.21, True, "mcu", "mcu"),
        (0.25, True, "mcu", "edge"),
        (0.9, True, "mcu", "edge"),
    ],
)
def test_a_low_battery_forces_thrift_until_it_has_recovered(
    battery_ratio: float | None,
    on_battery: bool | None,  # noqa: FBT001 - a column of the table
    now: str,
    name: str,
) -> None:
    state = MetabolicState(battery_ratio=battery_ratio, on_battery=on_battery, profile=now)
    assert transition(profile("edge"), state).name == name


def test_recovery_takes_one_profile_a_dwell() -> None:
    home = profile("datacenter")
    states = [
        MetabolicState(profile=name, at_s=at_s, fold=Fold(profile_since_s=100.0), battery_ratio=0.9)
        for name, at_s in (("mcu", 110.0), ("mcu", 131.0), ("edge", 110.0), ("edge", 131.0))
    ]
    found = [transition(home, one).name for one in states]
    assert found == ["mcu", "edge", "edge", "datacenter"]


def test_the_operator_s_power_budget_holds_in_every_profile() -> None:
    low = MetabolicState(battery_ratio=0.05, on_battery=True)
    home = replace(profile("edge"), power_budget_w=40.0)
    assert transition(home, low).power_budget_w == 40.0


def test_what_an_operator_says_wins_over_the_battery() -> None:
    low = MetabolicState(battery_ratio=0.05, on_battery=True)
    assert transition(profile("edge"), low, override="datacenter").name == "datacenter"
    assert transition(profile("edge"), low, override="edge") is profile("edge")
    with pytest.raises(ConfigError):
        transition(profile("edge"), low, override="nonsense")


def test_a_datacenter_with_a_battery_is_not_forced() -> None:
    low = MetabolicState(battery_ratio=0.05, on_battery=True)
    assert transition(profile("datacenter"), low).name == "datacenter"


def test_thrift_keeps_the_machine_s_own_bands_of_heat() -> None:
    low = MetabolicState(battery_ratio=0.05, on_battery=True)
    spare = transition(profile("edge"), low)
    assert spare.elevated_below_c == profile("edge").elevated_below_c
    assert spare.battery_reserve_ratio == profile("edge").battery_reserve_ratio
    assert transition(profile("mcu"), low) is profile("mcu")
