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
