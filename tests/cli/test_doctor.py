"""The doctor names what is there, what is not, and what keeps the gateway from running."""

import json
import os
import socket
from pathlib import Path

import pytest

from metabolic.cli.doctor import Finding, doctor, findings
from metabolic.cli.surroundings import surroundings
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
    assert "known: fake, " in said


def test_a_sensor_that_is_not_there_is_a_note_and_not_a_failure(tmp_path: Path) -> None:
    found = by_name(f'[sense]\nroot = "{tmp_path}"')
    status, said = found["hwmon"]
    assert status == "note"
    assert said


def _sensors(text: str) -> list[Finding]:
    config = parse("[server]\nport = 0\n" + text, source="m", environ={})
    return [one for one in findings(config) if one.area == "sensors"]


def test_a_counter_of_root_s_is_named_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone = tmp_path / "sys/class/powercap/intel-rapl:0"
    zone.mkdir(parents=True)
    (zone / "name").write_text("package-0")
    (zone / "energy_uj").mkdir()  # root may read any file, but no directory
    monkeypatch.setattr(os, "access", lambda path, _: "energy_uj" not in str(path))
    (found,) = [one for one in _sensors(f'[sense]\nroot = "{tmp_path}"') if one.name == "rapl"]
    assert (found.why, found.status) == ("permission", "warn")
    assert "chmod" in found.remedy or "energy_uj" in found.value


def test_a_controller_that_does_not_answer_is_a_warning_with_its_reason() -> None:
    text = '[[sensor]]\nkind = "redfish"\nurl = "http://127.0.0.1:1"\n'
    (found,) = [one for one in _sensors(text) if one.name == "redfish"]
    assert (found.why, found.status) == ("unreachable", "warn")


def test_sensors_not_in_use_are_said_to_be_so() -> None:
    found = {one.name: one for one in _sensors('[[sensor]]\nkind = "host"')}
    assert found["redfish"].value.startswith("not in use: not configured")
    assert found["redfish"].why == "configuration"
    assert found["redfish"].status == "note"
    assert not found["host"].value.startswith("not in use")


def test_a_sensor_that_is_configured_wrong_is_a_failure() -> None:
    found = _sensors('[[sensor]]\nkind = "hwmom"')
    assert [one.status for one in found] == ["fail"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "the machine itself"),
        ({".dockerenv": ""}, "a container (dockerenv)"),
        ({"proc/1/cgroup": "0::/kubepods/besteffort/pod1"}, "a container (kubepods)"),
        ({"sys/class/dmi/id/sys_vendor": "QEMU\n"}, "a virtual machine (QEMU)"),
        ({"proc/sys/kernel/osrelease": "5.15-microsoft-standard-WSL2"}, "WSL2"),
        ({"proc/cpuinfo": "flags\t\t: fpu hypervisor lahf"}, "a virtual machine (hypervisor)"),
        (
            {
                "sys/class/dmi/id/sys_vendor": "Microsoft Corporation",
                "sys/class/dmi/id/product_name": "Surface Laptop 5",
            },
            "the machine itself",
        ),
    ],
)
def test_where_it_runs_is_seen_by_the_marks(
    tmp_path: Path, files: dict[str, str], said: str
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert said in surroundings(str(tmp_path)).said()


def test_json_is_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.toml"
    path.write_text("[server]\nport = 0\n")
    assert doctor(config=path, json=True) == 0
    rows = json.loads(capsys.readouterr().out)["findings"]
    wanted = {"area": "configuration", "name": "source", "value": str(path), "status": "ok"}
    assert any(wanted.items() <= row.items() for row in rows)


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
