"""Models of one's own as alternatives, and what a learned router foresees of them."""

import json
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("duckdb", reason="needs the extra audit")

from metabolic.audit.catalogue import catalogue_of
from metabolic.cli.audit_inputs import candidates_in, files_of
from metabolic.cli.main import main
from metabolic.core.errors import ConfigError
from metabolic.core.fleet import Price
from metabolic.testing.fleets import deployment

ROOT = Path(__file__).parents[2]
LOGS = Path(__file__).parent / "logs"


def audited(capsys, *words: str):
    with pytest.raises(SystemExit) as left:
        main(["audit", *words, "--json"])
    assert left.value.code == 0
    return json.loads(capsys.readouterr().out)


def figure(found, name: str):
    return next((one for one in found["figures"] if one["name"] == name), None)


def test_a_price_list_is_taken_as_it_is():
    price = Price(input_usd_per_token=1e-6, output_usd_per_token=4e-6, cached_usd_per_token=1e-7)
    made = catalogue_of([deployment("api", price=price)], usd_per_kwh=0.3)
    assert made.entries[0].price == price


def test_a_machine_of_ones_own_asks_for_its_electricity():
    made = catalogue_of([deployment("cpu", decode_tokens_per_s=20.0)], usd_per_kwh=0.36)
    one = made.entries[0]
    assert one.output == pytest.approx(4.0 / 20.0 * 0.36 / 3.6e6 * 1e6)
    assert one.input == pytest.approx(one.output / 3)


def test_what_has_no_price_is_left_out_by_name():
    bare = deployment("bare", price=Price(input_usd_per_token=0, output_usd_per_token=0))
    made = catalogue_of([msgspec.structs.replace(bare, price=None)], usd_per_kwh=0.3)
    assert (made.entries, made.left_out) == ((), ("bare",))


def test_a_configuration_is_a_catalogue_and_its_secrets_are_not_needed(capsys, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    path = ROOT / "examples" / "cloud.toml"
    assert {one.model for one in candidates_in(path).entries} == {"mini", "full"}
    found = audited(capsys, str(LOGS / "openai.jsonl"), "--catalogue", str(path))
    assert {one["model"] for one in found["lanes"]} == {"mini"}
    assert "always mini, cached" in [one["policy"] for one in found["policies"]]


def test_a_table_of_prices_is_a_catalogue(tmp_path, capsys):
    path = tmp_path / "mine.toml"
    path.write_text('as_of = "x"\nprice = [{ model = "own-8b", input = 0.01, output = 0.02 }]\n')
    found = audited(capsys, str(LOGS / "openai.jsonl"), "--catalogue", str(path))
    assert {one["model"] for one in found["lanes"]} == {"own-8b"}


@pytest.mark.parametrize("text", ["[", "[server]\nport = 1\n[models]\nfleet = 'none'\n"])
def test_a_catalogue_that_is_none_is_refused(tmp_path, text):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"bad\.toml"):
        candidates_in(path)


def test_without_labels_the_router_gives_a_range_that_moves_no_verdict(capsys):
    found = audited(capsys, str(LOGS / "openai.jsonl"))
    foreseen = figure(found, "foreseen_good_ratio")
    assert foreseen["origin"] == "modelled"
    assert 0 < foreseen["low"] < foreseen["high"] < 1
    assert foreseen["value"] is None
    assert found["verdict"]["word"] == "measure first"
    ranged = [one for one in found["lanes"] if one["foreseen_low"] is not None]
    assert ranged
    assert all(one["loss"] is None and one["adequate"] == "unknown" for one in ranged)


@pytest.mark.parametrize("name", ["rows.jsonl", "usage.csv", "nginx.log"])
def test_where_labels_are_or_text_is_not_the_router_is_not_asked(name, capsys):
    assert figure(audited(capsys, str(LOGS / name)), "foreseen_good_ratio") is None


def test_a_larger_model_is_foreseen_to_do_better(capsys, tmp_path):
    path = tmp_path / "two.toml"
    path.write_text(
        'as_of = "x"\n'
        'price = [{ model = "a", input = 0.01, output = 0.02, parameters = 100_000_000 },'
        ' { model = "b", input = 0.01, output = 0.02, parameters = 30_000_000_000 }]\n'
    )
    found = audited(capsys, str(LOGS / "openai.jsonl"), "--catalogue", str(path))
    by = {one["model"]: one for one in found["lanes"] if one["lane"] == "open_qa"}
    assert by["a"]["foreseen_high"] < by["b"]["foreseen_high"]


def test_hidden_files_of_folders_are_left_out(tmp_path):
    for name in (".hidden", "b", "a"):
        (tmp_path / name).write_text("x")
    assert [one.name for one in files_of((tmp_path,))] == ["a", "b"]
