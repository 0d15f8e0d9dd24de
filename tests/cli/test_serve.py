"""Serving says where it listens and how to ask it, and stops cleanly."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from metabolic.cli.serve import serve
from metabolic.cli.serving import Plain, address, banner, plain
from metabolic.config import Config, parse
from metabolic.core.errors import ConfigError

KEYED = f'[[key]]\nname = "me"\nsha256 = "{"0" * 64}"\n'


def test_a_shadow_is_not_asked_for_a_model_of_ours() -> None:
    text = banner(parse('[shadow]\nupstream = "http://x/v1"', source="t"), names=(), source="")
    assert "point your clients here" in text
    assert "auto" not in text.split("shadow:")[1]


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080/v1"),
        ("0.0.0.0", "http://127.0.0.1:8080/v1"),
        ("::", "http://[::1]:8080/v1"),
        ("::1", "http://[::1]:8080/v1"),
    ],
)
def test_the_address_is_one_that_a_client_can_use(host: str, url: str) -> None:
    assert address(parse(f'{KEYED}[server]\nhost = "{host}"', source="m")) == url


def test_the_banner_names_models_source_and_a_command_to_try() -> None:
    text = banner(Config(), names=("a", "b"), source="the hub was reached")
    assert "models: the hub was reached" in text
    assert "deployments: a, b" in text
    assert "curl http://127.0.0.1:8080/v1/chat/completions" in text
    assert "Authorization" not in text
    assert "Authorization: Bearer $KEY" in banner(parse(KEYED, source="m"), names=(), source="")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "page: http://127.0.0.1:8080/ui"),
        ("[admin]\nport = 9000\n", "page: http://127.0.0.1:9000/ui"),
        ('[admin]\nhost = "::1"\nport = 0\n', "page: http://[::1]:<port>/ui"),
        (KEYED, "page: none beside clients with keys"),
    ],
)
def test_the_page_is_named(text, said):
    assert said in banner(parse(text, source="m"), names=(), source="")


def test_no_page_is_not_named():
    assert "page:" not in banner(parse("[admin]\npage = false\n", source="m"), names=(), source="")


CONFIG = """
[server]
port = 0
[models]
fleet = "none"
[ledger]
kind = "memory"
[[deployment]]
name = "far"
base_url = "http://127.0.0.1:9/v1"
"""


def test_it_listens_answers_and_stops_when_told(tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_text(CONFIG)
    command = [sys.executable, "-m", "metabolic", "serve", "--config", str(path), "--json"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        try:
            line = next(line for line in process.stderr if "listening" in line)
            port = int(line.split("port=")[1].split()[0])
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                assert json.load(answer)["status"] == "ok"
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=10) == 0
            about = json.loads(process.stdout.read())
        finally:
            process.kill()
    assert about["deployments"] == ["far"]
    assert about["config"] == str(path)


HEAVY = (
    "aiohttp",
    "cyclopts",
    "filelock",
    "huggingface_hub",
    "jsonschema",
    "metabolic.engines",
    "prometheus_client",
    "psutil",
    "rich",
)


def test_a_gateway_of_remote_deployments_starts_without_what_it_does_not_need(
    tmp_path: Path,
) -> None:
    path = tmp_path / "m.toml"
    path.write_text(CONFIG)
    script = (
        "import sys\n"
        "from metabolic.cli import main\n"
        "from metabolic.gateway import server\n"
        "server.serve = lambda runtime, load: 0\n"
        "try: main.main(['serve', '--config', sys.argv[1]])\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "print(*sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "metabolic.wiring.runtime" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_plain_arguments_are_read_as_the_library_reads_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("METABOLIC_CONFIG", raising=False)
    assert plain([]) == Plain()
    words = ["--config", "m.toml", "--host", "::1", "--port", "0", "--profile", "edge", "--json"]
    assert plain(words) == Plain(
        config=Path("m.toml"), host="::1", port=0, profile="edge", json=True
    )
    monkeypatch.setenv("METABOLIC_CONFIG", "env.toml")
    assert plain([]) == Plain(config=Path("env.toml"))
    assert plain(["--config", "m.toml"]) == Plain(config=Path("m.toml"))


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--port"],
        ["--port", "many"],
        ["--port", "65536"],
        ["--port", "-1"],
        ["--port=8080"],
        ["--port", "1", "--port", "2"],
        ["--profile", "huge"],
        ["--json", "--json"],
        ["m.toml"],
    ],
)
def test_all_other_arguments_are_left_to_the_library(words: list[str]) -> None:
    assert plain(words) is None


def test_a_wrong_configuration_never_starts(tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_text("[sever]")
    with pytest.raises(ConfigError, match="unknown table"):
        serve(config=path)
