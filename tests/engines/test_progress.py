"""Fetches are shown as bars on a terminal, as lines elsewhere."""

import io

import pytest

from metabolic.engines.progress import Bars, Lines, Quiet, progress_on


class Out(io.StringIO):
    """A stream that may be a terminal."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def test_progress_is_lines_in_a_pipe_and_bars_on_a_terminal() -> None:
    assert isinstance(progress_on(Out(terminal=False)), Lines)
    assert isinstance(progress_on(Out(terminal=True)), Bars)


def test_lines_tell_of_the_quarters_once(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Out(terminal=False)
    lines = Lines(out)
    lines.note("tiny: from somewhere")
    lines.begin("tiny", 4_000_000)
    for count in (500_000, 600_000, -600_000, 700_000, 2_800_000):
        lines.advance("tiny", count)
    lines.end("tiny", ready=True)
    first, *rest = out.getvalue().splitlines()
    assert first == "tiny: from somewhere"
    assert rest[:2] == ["tiny: fetching 4 MB", "tiny: 28%"]
    assert rest[2].startswith("tiny: ready after ")
    assert len(rest) == 3


def test_bars_draw_each_model_and_end() -> None:
    out = Out(terminal=True)
    bars = Bars(out)
    bars.begin("tiny", 100)
    bars.begin("other", 100)
    bars.advance("tiny", 60)
    bars.note("tiny: from [somewhere]")
    bars.end("tiny", ready=True)
    bars.end("other", ready=False)
    assert "tiny" in out.getvalue()
    assert "from [somewhere]" in out.getvalue()


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    quiet = Quiet()
    quiet.note("x")
    quiet.begin("x", 1)
    quiet.advance("x", 1)
    quiet.end("x", ready=True)
    assert capsys.readouterr() == ("", "")
