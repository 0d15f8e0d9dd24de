"""The examples work: the plugin is found by its entry point, and passes the suite for strangers."""

import doctest
import importlib
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import pytest

from metabolic import plugins
from metabolic.core.errors import ConfigError
from metabolic.core.hardware import HardwareState
from metabolic.testing.sensors import check_sensor

ROOT = Path(__file__).parents[1]
PLUGIN = ROOT / "examples" / "plugin"
GROUP = "metabolic.sensors"
SOURCE = ROOT / "src"
TAUGHT = [path for path in sorted(SOURCE.rglob("*.py")) if ">>> " in path.read_text("utf-8")]


@pytest.fixture(name="installed")
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Offer the plugin as if it were installed, by what its pyproject says."""
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text("utf-8"))
    points = tuple(
        EntryPoint(name=name, value=value, group=GROUP)
        for name, value in project["project"]["entry-points"][GROUP].items()
    )
    monkeypatch.syspath_prepend(str(PLUGIN / "src"))
    monkeypatch.setattr(plugins, "_entry_points", lambda group: points if group else ())
    yield importlib.import_module(points[0].value)
    sys.modules.pop(points[0].value)


@pytest.mark.usefixtures("installed")
def test_the_plugin_is_found_by_its_name() -> None:
    assert "shelf" in plugins.kinds("sensors")
    with pytest.raises(ConfigError, match="shelf"):
        plugins.sensor("shelf", {"pth": "x"})


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("content", ["21.5\n", "", "warm", None])
def test_the_plugin_keeps_the_seam(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "shelf"
    if content is not None:
        path.write_text(content)
    check_sensor(plugins.sensor("shelf", {"path": str(path)}))


@pytest.mark.usefixtures("installed")
def test_the_plugin_reads_what_the_file_says(tmp_path: Path) -> None:
    path = tmp_path / "shelf"
    path.write_text("21.5\n")
    state = plugins.sensor("shelf", {"path": str(path)}).read(HardwareState(taken_at_s=0.0))
    air = state.devices[0].temperature_c
    assert air is not None
    assert (air.value, air.origin) == (21.5, "measured")


@pytest.mark.parametrize("path", TAUGHT, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_examples_in_docstrings_are_true(path: Path) -> None:
    module = importlib.import_module(".".join(path.relative_to(SOURCE).with_suffix("").parts))
    failed, tried = doctest.testmod(module)
    assert tried
    assert failed == 0
