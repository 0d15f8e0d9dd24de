"""Adapters are found by name, imported only when named, and built from checked options."""

import sys
from types import SimpleNamespace

import pytest
from msgspec import Struct

from metabolic import plugins
from metabolic.config import Secret
from metabolic.core.errors import ConfigError


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of a made-up sensor."""

    root: str = "/"


def made_up() -> plugins.Plugin:
    return SimpleNamespace(Options=Options, create=lambda options: options)  # type: ignore[return-value]


def test_an_unknown_kind_lists_those_that_exist() -> None:
    with pytest.raises(ConfigError, match=r'no "hwmo" \(did you mean "hwmon"\?\); known: .*fake'):
        plugins.load("sensors", "hwmo")


def test_options_are_converted_and_unknown_ones_refused() -> None:
    assert plugins.options(made_up(), {"root": "/x"}, where="here") == Options(root="/x")
    secret = plugins.options(made_up(), {"root": Secret("ROOT", "/y")}, where="here")
    assert secret == Options(root="/y")
    with pytest.raises(ConfigError, match="here rot: unknown option; known: root"):
        plugins.options(made_up(), {"rot": "/x"}, where="here")
    with pytest.raises(ConfigError, match="here: Expected `str`, got `int`"):
        plugins.options(made_up(), {"root": 1}, where="here")


@pytest.mark.parametrize(
    ("group", "kind"),
    [(group, kind) for group in plugins.GROUPS for kind in plugins.BUILTIN[group]],
)
def test_every_built_in_offers_options_and_create(group: str, kind: str) -> None:
    plugin = plugins.load(group, kind)
    assert issubclass(plugin.Options, Struct)
    assert plugin.Options.__struct_config__.frozen
    assert plugin.Options.__struct_config__.forbid_unknown_fields
    assert callable(plugin.create)


@pytest.mark.parametrize("group", plugins.GROUPS)
def test_every_seam_has_a_fake(group: str) -> None:
    assert {"fake", "memory"} & set(plugins.kinds(group))


def test_a_module_that_is_no_adapter_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "BUILTIN", {"sensors": {"odd": "json"}})
    with pytest.raises(ConfigError, match='"odd" is no adapter'):
        plugins.load("sensors", "odd")


def test_an_adapter_that_cannot_be_imported_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "BUILTIN", {"sensors": {"gone": "metabolic.sense.no_such"}})
    with pytest.raises(ConfigError, match='"gone" cannot be imported'):
        plugins.load("sensors", "gone")


def test_a_strangers_adapter_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    module = SimpleNamespace(Options=Options, create=lambda options: ("made", options.root))
    monkeypatch.setitem(sys.modules, "stranger", module)  # type: ignore[arg-type]
    point = SimpleNamespace(name="theirs", load=lambda: module)
    monkeypatch.setattr(plugins, "_entry_points", lambda group: (point,) if group else ())
    assert "theirs" in plugins.kinds("sensors")
    assert plugins.sensor("theirs", {"root": "/y"}) == ("made", "/y")
