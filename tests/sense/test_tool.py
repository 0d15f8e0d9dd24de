"""A vendor's program: run with a deadline, or its recorded words."""

import sys
from pathlib import Path

import pytest

from metabolic.sense.tool import Tool


def _tool(
    *command: str, file: str | None = None, deadline_s: float = 20.0, endless: bool = False
) -> Tool[str]:
    return Tool(
        lambda text: text.strip() or None,
        name="it",
        commands=(("no-such-program-here",), command) if command else (("no-such-program-here",),),
        file=file,
        period_s=3600.0,
        deadline_s=deadline_s,
        endless=endless,
    )


def _problem(tool: Tool[str]) -> tuple[str, str]:
    assert tool.latest() is None
    problem = tool.problem()
    assert problem is not None
    return problem.kind, problem.what


def test_the_first_program_that_is_installed_is_run() -> None:
    tool = _tool(sys.executable, "-c", "print('hello')")
    assert tool.installed()
    assert tool.wait(20.0)
    fetched = tool.latest()
    assert fetched is not None
    assert fetched.value == "hello"
    assert tool.problem() is None
    tool.close()


def test_a_program_that_is_not_there_is_told() -> None:
    tool = _tool()
    assert not tool.installed()
    assert _problem(tool) == ("library", "no-such-program-here is not installed")
    tool.close()


@pytest.mark.parametrize(
    ("code", "kind", "what"),
    [
        ("import sys; print('no driver', file=sys.stderr); sys.exit(3)", "driver", "no driver"),
        ("pass", "driver", "wrote nothing"),
    ],
)
def test_a_program_that_fails_is_told(code: str, kind: str, what: str) -> None:
    tool = _tool(sys.executable, "-c", code)
    assert tool.wait(20.0)
    found = _problem(tool)
    assert found[0] == kind
    assert what in found[1]
    tool.close()


def test_a_program_that_never_ends_is_killed_and_its_whole_lines_count() -> None:
    code = (
        "import sys, time; print('one'); print('two', end=''); sys.stdout.flush(); time.sleep(60)"
    )
    tool = _tool(sys.executable, "-c", code, deadline_s=2.0, endless=True)
    assert tool.wait(20.0)
    fetched = tool.latest()
    assert fetched is not None
    assert fetched.value == "one"
    tool.close()


def test_one_that_takes_too_long_is_killed() -> None:
    tool = _tool(sys.executable, "-c", "import time; time.sleep(60)", deadline_s=0.2)
    assert tool.wait(20.0)
    assert _problem(tool)[0] == "driver"
    tool.close()


def test_a_file_is_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "said.txt"
    path.write_text("words\n")
    tool = _tool(file=str(path))
    fetched = tool.latest()
    assert fetched is not None
    assert fetched.value == "words"
    path.write_text("")
    assert _problem(tool)[0] == "configuration"
    path.unlink()
    assert _problem(tool)[0] == "unreachable"
    tool.close()
