"""Files read apart, in turn or on Ray Data, give what reading them together gives."""

import importlib.util
import json
import shutil
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("duckdb", reason="needs the extra audit")

from metabolic.audit.parts import in_turn
from metabolic.audit.prices import read_prices
from metabolic.audit.run import Options, run
from metabolic.cli.audit_inputs import router
from metabolic.cli.main import main
from metabolic.core.errors import ConfigError

LOGS = Path(__file__).parent / "logs"
FILES = ("openai.jsonl", "litellm.csv", "rows.parquet", "nginx.log", "usage.json")
SAME = ("calls", "rows", "figures", "models", "chains", "waste", "tasks", "lanes", "verdict")


def audited(paths, **how):
    return run(Options(paths=paths, threads=1), prices=read_prices(), classify=router(), **how)


def rounded(value: object) -> object:
    """Sums of many parts differ in their last digit by the order they are added in."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list | tuple) else value


def test_in_turn_gives_what_together_gives():
    paths = tuple(LOGS / name for name in FILES)
    together, apart = audited(paths), audited(paths, spread=in_turn)
    for name in (*SAME, "sources"):
        pair = [rounded(msgspec.to_builtins(getattr(one, name))) for one in (apart, together)]
        assert pair[0] == pair[1], name
    assert set(apart.bad) == set(together.bad)


def test_a_file_that_is_no_log_is_named(tmp_path):
    bad = tmp_path / "poem.txt"
    bad.write_text("no log\n")
    with pytest.raises(ConfigError, match=r"poem\.txt"):
        audited((LOGS / "rows.jsonl", bad), spread=in_turn)


@pytest.mark.timeout(400)
@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning"
)
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra ray")
def test_on_ray_data_the_command_says_the_same(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    for name in FILES[:2]:
        shutil.copy(LOGS / name, tmp_path)
    found = []
    for more in ([], ["--ray", "local"]):
        with pytest.raises(SystemExit) as left:
            main(["audit", str(tmp_path), "--json", *more])
        assert left.value.code == 0
        found.append(json.loads(capsys.readouterr().out))
    for name in SAME:
        assert rounded(found[0][name]) == rounded(found[1][name]), name


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="the extra ray is there")
def test_without_ray_the_extra_is_named(capsys):
    with pytest.raises(SystemExit) as left:
        main(["audit", str(LOGS / "rows.jsonl"), "--ray", "local"])
    assert left.value.code == 2
    assert "metabolic[ray]" in capsys.readouterr().err
