"""The command itself: fast to start, clear when it fails."""

import subprocess
import sys

import pytest

from metabolic.cli import main
from metabolic.core.errors import ConfigError, StoreError


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "metabolic", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_lists_every_command_without_importing_one() -> None:
    script = (
        "import sys\n"
        "from metabolic.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as stop: assert not stop.code\n"
        "print([m for m in sys.modules if m.startswith('metabolic.cli.')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    for name, _, text in main.COMMANDS:
        assert name in done.stdout
        assert text.split(";")[0] in done.stdout
    assert done.stdout.splitlines()[-1] == "['metabolic.cli.main']"


def test_version_is_printed() -> None:
    assert run("--version").stdout.strip() == "0.1.0"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError("m.toml: [server] prot: unknown key"), 2, "configuration: m.toml: [server]"),
        (StoreError("no space"), 1, "metabolic: no space"),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(), 1, ""),
    ],
)
def test_an_expected_error_is_one_line_and_an_exit_code(
    error: BaseException,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(_: object) -> None:
        raise error

    monkeypatch.setattr(main, "app", fail)
    if isinstance(error, BrokenPipeError):
        monkeypatch.setattr(sys, "stderr", type("Closable", (), {"close": lambda _: None})())
    with pytest.raises(SystemExit) as stop:
        main.main(["x"])
    assert stop.value.code == code
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(("result", "code"), [(None, 0), (3, 3), (0, 0)])
def test_a_commands_result_is_the_exit_code(
    result: int | None, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main, "app", lambda _: result)
    with pytest.raises(SystemExit) as stop:
        main.main([])
    assert stop.value.code == code


@pytest.mark.parametrize("name", [name for name, _, _ in main.COMMANDS])
def test_every_command_explains_itself(name: str) -> None:
    done = run(name, "--help")
    assert done.returncode == 0, done.stderr
    assert name in done.stdout
