"""The doctor names what is there, what is not, and what keeps the gateway from running."""

import json
import socket
from pathlib import Path

import pytest

from metabolic.cli.doctor import doctor, findings
from metabolic.config import parse
from metabolic.core.errors import ConfigError


def by_name(text: str) -> dict[str, tuple[str, str]]:
    config = parse("[server]\nport = 0\n" + text, source="m.toml", environ={"K": "sk-secret"})
    return {f.name: (f.status, f.value) for f in findings(config)}


def test_every_setting_is_shown_with_its_origin() -> None:
    found = by_name('[profile]\nname = "mcu"')
    assert found["profile.name"] == ("ok", '"mcu"  (m.toml)')
    assert found["server.host"] == ("ok", '"127.0.0.1"  (default)')
    assert found["source"] == ("ok", "m.toml")


def test_secrets_are_never_shown() -> None:
    found = by_name(
        '[[deployment]]\nname = "a"\nbase_url = "http://x"\napi_key = "env:K"\n'
        '[[sensor]]\nkind = "host"\ntoken = "env:K"'
    )
    assert "sk-secret" not in str(found)
    assert "env:K" in found["[[deployment]]"][1]
    assert "env:K" in found["[[sensor]]"][1]


def test_a_port_in_use_is_a_failure() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = {f.name: f for f in findings(parse(f"[server]\nport = {port}", source="m"))}
    assert found["listen"].status == "fail"
    assert "Address already in use" in found["listen"].value


def test_an_unknown_adapter_is_a_failure_that_lists_those_there_are() -> None:
    status, said = by_name('[routing]\nclassifier = "oracle"')["classifiers: oracle"]
    assert status == "fail"
    assert "known: fake, rules" in said


def test_a_sensor_that_is_not_there_is_a_note_and_not_a_failure(tmp_path: Path) -> None:
    found = by_name(f'[sense]\nroot = "{tmp_path}"')
    assert found["hwmon"] == ("note", "nothing to read on this machine")


def test_json_is_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.toml"
    path.write_text("[server]\nport = 0\n")
    assert doctor(config=path, json=True) == 0
    rows = json.loads(capsys.readouterr().out)["findings"]
    assert {"area": "configuration", "name": "source", "value": str(path), "status": "ok"} in rows


def test_tables_are_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.toml"
    path.write_text("[server]\nport = 0\n")
    assert doctor(config=path) == 0
    shown = capsys.readouterr().out
    assert "metabolic" in shown
    assert "server.port" in shown


def test_a_wrong_file_is_refused_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_text("[sever]")
    with pytest.raises(ConfigError, match="unknown table"):
        doctor(config=path)
