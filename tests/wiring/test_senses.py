"""Which sensors a configuration means, and in what order."""

import sys
import urllib.request  # noqa: F401 # pyright: ignore[reportUnusedImport] - before a test says that the platform is another one
from pathlib import Path

import pytest

from metabolic.config import parse
from metabolic.core.errors import ConfigError
from metabolic.wiring.senses import probe_of, sensors_of


def _kinds(text: str) -> list[str]:
    return [kind for kind, _ in sensors_of(parse(text, source="m"))]


def test_auto_stands_for_all_that_ship_at_its_place() -> None:
    shipped = _kinds("")
    assert {"host", "hwmon", "thermal", "rapl", "battery"} <= set(shipped)
    assert _kinds('[[sensor]]\nkind = "auto"') == shipped
    both = '[[sensor]]\nkind = "fake"\n[[sensor]]\nkind = "auto"'
    assert _kinds(both) == ["fake", *shipped]
    assert _kinds('[[sensor]]\nkind = "host"') == ["host"]


def test_nothing_is_read_when_sense_is_off() -> None:
    assert _kinds("[sense]\nenabled = false") == []


def test_a_mac_has_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert _kinds("")[-2:] == ["macmon", "apple_pressure"]


def test_an_unknown_sensor_is_refused() -> None:
    with pytest.raises(ConfigError, match="there is no"):
        _kinds('[[sensor]]\nkind = "hwmom"')


def test_a_probe_apart_reads_the_same(tmp_path: Path) -> None:
    config = parse(f'[sense]\nroot = "{tmp_path}"', source="m")
    for apart in (True, False):
        probe = probe_of(config, apart=apart)
        assert probe.poll().devices == ()
        probe.close()
