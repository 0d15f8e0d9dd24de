"""What the gateway writes, the commands read, wherever the configuration puts it."""

from pathlib import Path
from typing import Any

import pytest

from metabolic import plugins
from metabolic.cli.ledgers import open_ledger
from metabolic.config import parse
from metabolic.core.errors import ConfigError
from metabolic.ledger.place import ledger_path
from metabolic.wiring import build
from metabolic.wiring.ledgers import ledger_table

REMOTE = '[[deployment]]\nname = "far"\nbase_url = "http://127.0.0.1:9/v1"\n'


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["sqlite", "jsonl"])
@pytest.mark.parametrize("place", ["", 'path = "{}/here.db"\n'])
async def test_commands_find_the_ledger_that_the_gateway_opened(
    kind: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    table = f'[ledger]\nkind = "{kind}"\n{place.format(tmp_path)}'
    config = parse(REMOTE + table, source="m.toml")
    runtime: Any = build(config)
    await runtime.start()
    written: Path = runtime._ledger.path
    await runtime.aclose(drain_s=0.0)
    if kind == "sqlite":  # the other makes its file with the first record
        open_ledger(None, config).close()
        assert written.exists()
    assert ledger_path(config.ledger.path, written.name) == written


def test_a_ledger_of_ones_own_gets_only_the_options_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Bare:
        __struct_fields__ = ("retention_days",)

    class Plugin:
        Options = Bare

    monkeypatch.setattr(plugins, "load", lambda _group, _kind: Plugin)
    config = parse('[ledger]\nkind = "theirs"\npath = "/x"', source="m.toml")
    assert ledger_table(config) == {"retention_days": 90.0}


def test_a_ledgers_further_options_reach_it(tmp_path: Path) -> None:
    text = f'{REMOTE}[ledger]\npath = "{tmp_path}/l.db"\n[ledger.options]\ndeflate = "never"\n'
    assert ledger_table(parse(text, source="m"))["deflate"] == "never"
    with pytest.raises(ConfigError, match="shrink: unknown option"):
        build(parse(text.replace("deflate", "shrink"), source="m"))


def test_a_backends_unknown_option_is_found_before_the_first_request() -> None:
    text = f"{REMOTE}[deployment.options]\nproxi = 1\n[ledger]\nkind = 'memory'"
    with pytest.raises(ConfigError, match=r"\[\[deployment\]\] far options proxi: unknown option"):
        build(parse(text, source="m"))
