"""Which meters a configuration gives, and that what they learn is kept."""

from pathlib import Path

import pytest

from metabolic.config import parse
from metabolic.core.errors import ConfigError
from metabolic.core.fleet import Deployment, Model
from metabolic.execute.clock import ManualClock
from metabolic.execute.meters import Meters
from metabolic.wiring.meters import Memory, meters_of

MODEL = Model(id="m", tier="small")
FLEET = {
    "a": Deployment(name="a", model=MODEL, kind="local", device="cpu"),
    "b": Deployment(name="b", model=MODEL, kind="pool", device="gpu0"),
}


def _meters(text: str, fleet: dict[str, Deployment] | None = None) -> Meters:
    config = parse(text, source="test", environ={})
    return meters_of(config, fleet or FLEET, clock=ManualClock(), settled=lambda _: None)


def test_without_any_the_processor_has_its_own() -> None:
    assert _meters("", {"a": FLEET["a"]}).nesting.meters == {"cpu": "cpu"}


def test_several_meters_each_charge_their_device() -> None:
    found = _meters("""
[[meter]]
kind = "fake"
[[meter]]
kind = "fake"
name = "card"
domain = "gpu"
covers = ["gpu0"]
[[meter]]
kind = "fake"
name = "wall"
domain = "node"
""")
    assert found.nesting.meters == {"cpu": "cpu", "gpu0": "card"}
    assert found.nesting.enclosing == (("wall", ("card", "cpu")),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[[meter]]\nkind = "fake"\n[[meter]]\nkind = "fake"', "two are named cpu"),
        ('[[meter]]\nkind = "fake"\ncovers = "cpu"', "covers"),
        ('[[meter]]\nkind = "none-such"', "none-such"),
    ],
)
def test_what_is_wrong_with_a_meter_is_named(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        _meters(text)


def test_what_was_learned_is_found_again(tmp_path: Path) -> None:
    text = f'[ledger]\nkind = "sqlite"\npath = "{tmp_path}/ledger.sqlite"'
    memory = Memory(parse(text, source="test", environ={}))
    assert memory.load() == ()
    state = _meters('[[meter]]\nkind = "fake"', {"a": FLEET["a"]}).state()
    assert memory.save(state)
    assert memory.load() == state
    assert memory.path == tmp_path / "ledger.learned.json"
    memory.path.write_bytes(b"not json")
    assert memory.load() == ()


def test_a_ledger_in_memory_keeps_nothing_learned(tmp_path: Path) -> None:
    memory = Memory(parse('[ledger]\nkind = "memory"', source="test", environ={}))
    assert memory.path is None
    assert not memory.save(())
    assert memory.load() == ()
    blocked = Memory(
        parse(f'[ledger]\npath = "{tmp_path}/file/ledger.sqlite"', source="test", environ={})
    )
    (tmp_path / "file").write_text("in the way")
    state = _meters('[[meter]]\nkind = "fake"', {"a": FLEET["a"]}).state()
    assert not blocked.save(state)


def test_the_zone_and_the_building_make_the_intensity() -> None:
    energy = parse('[energy]\nzone = "se"', source="test", environ={}).energy
    assert energy.intensity_g_per_kwh() == 41.0
    both = parse('[energy]\nzone = "SE"\ng_per_kwh = 7.0', source="test", environ={}).energy
    assert both.intensity_g_per_kwh() == 7.0
    assert parse("", source="test", environ={}).energy.intensity_g_per_kwh() == 473.0
    with pytest.raises(ConfigError, match=r"zone.*not known"):
        parse('[energy]\nzone = "Atlantis"', source="test", environ={})
    with pytest.raises(ConfigError, match="device"):
        parse(
            '[[deployment]]\nname = "x"\nbase_url = "http://h/v1"\ndevice = "gpu0"',
            source="test",
            environ={},
        )


def _tree(root: Path, files: dict[str, str]) -> str:
    for name, content in ({"proc/stat": "cpu  1 0 0 9 0 0 0\ncpu0 1\n"} | files).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return f'[sense]\nroot = "{root}"'


CARD = "sys/class/drm/card0/device"
APU = {
    f"{CARD}/vendor": "0x1002",
    f"{CARD}/hwmon/hwmon0/name": "amdgpu",
    f"{CARD}/hwmon/hwmon0/in1_label": "vddnb",
    f"{CARD}/hwmon/hwmon0/power1_average": "9000000",
}


def test_an_apu_s_power_takes_the_place_of_the_model(tmp_path: Path) -> None:
    found = _meters(_tree(tmp_path, APU), {"a": FLEET["a"]})
    assert found.nesting.meters == {"cpu": "amd0"}


def test_a_counter_that_can_be_read_comes_before_an_apu_s_power(tmp_path: Path) -> None:
    zone = "sys/class/powercap/intel-rapl:0"
    rapl = {f"{zone}/name": "package-0", f"{zone}/energy_uj": "1"}
    found = _meters(_tree(tmp_path, APU | rapl), {"a": FLEET["a"]})
    assert found.nesting.meters == {"cpu": "cpu"}


def test_a_jetson_s_board_takes_the_place_of_the_model(tmp_path: Path) -> None:
    chip = "sys/class/hwmon/hwmon1"
    rails = {"name": "ina3221", "in1_label": "VDD_IN", "in1_input": "5000", "curr1_input": "900"}
    files = {f"{chip}/{name}": content for name, content in rails.items()}
    found = _meters(_tree(tmp_path, files), {"a": FLEET["a"]})
    assert found.nesting.meters == {"cpu": "board"}


@pytest.mark.parametrize("device", ["amd0", "intel0", "nvidia0"])
def test_a_gpu_that_is_drawn_from_has_a_meter(tmp_path: Path, device: str) -> None:
    fleet = {"b": Deployment(name="b", model=MODEL, kind="pool", device=device)}
    assert _meters(_tree(tmp_path, {}), fleet).nesting.meters == {device: device}
