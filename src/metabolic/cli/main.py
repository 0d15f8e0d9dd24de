"""The ``metabolic`` command: a table of commands, and what becomes of their errors."""

__all__ = ["COMMANDS", "app", "main"]

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from metabolic import __version__
from metabolic.core.errors import ConfigError, MetabolicError

if TYPE_CHECKING:
    from cyclopts import App

COMMANDS = (
    ("serve", "metabolic.cli.serve:serve", "Run the gateway with its engines and sensors."),
    ("models", "metabolic.cli.models:app", "List, fetch, verify and remove local models."),
    ("sense", "metabolic.cli.sense:sense", "Show what the machine reads, and what it can afford."),
    ("explain", "metabolic.cli.explain:explain", "Show how a prompt would be routed, and why."),
    ("receipts", "metabolic.cli.receipts:receipts", "Show what requests took."),
    ("audit", "metabolic.cli.audit:audit", "What a log cost, and what a change would save."),
    ("prices", "metabolic.cli.prices:app", "Show and update the prices that audits go by."),
    ("calibrate", "metabolic.cli.calibrate:calibrate", "Certify which drafts may be kept."),
    ("lanes", "metabolic.cli.lanes:lanes", "Show what is known of each lane; pin one."),
    ("shadow", "metabolic.cli.shadow:app", "What shadow mode has found, and the switch."),
    ("replay", "metabolic.cli.replay:replay", "Fold stored records again and compare."),
    ("train", "metabolic.cli.train:train", "Learn from tables of outcomes (extra: bench)."),
    ("bench", "metabolic.cli.bench:app", "Measure the gateway, the cascade and their parts."),
    ("capacity", "metabolic.cli.capacity:capacity", "What fits into memory, and how fast at best."),
    ("doctor", "metabolic.cli.doctor:doctor", "Check configuration, models, sensors and ports."),
)
"""Name, where it is (imported only when it runs), and what ``--help`` says."""


def app(words: list[str]) -> object:
    """Run the command that ``words`` name and return what it returns."""
    return _app()(words)


def _app() -> "App":
    """Return the command with all its commands, none of them imported."""
    from cyclopts import App  # noqa: PLC0415 - `serve` starts without it

    made = App(
        name="metabolic",
        help="Answer every query with the least hardware that answers it well, and prove it.",
        version=__version__,
        result_action="return_value",
    )
    for name, target, text in COMMANDS:
        made.command(target, name=name, help=text)
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and leave with its exit code.

    0 is success, 1 a failure, 2 a configuration or usage that is wrong, 130 an interrupt.
    """
    try:
        result = _run(sys.argv[1:] if arguments is None else list(arguments))
    except ConfigError as exc:
        _fail(f"configuration: {exc}", code=2)
    except MetabolicError as exc:
        _fail(str(exc), code=1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(result if isinstance(result, int) else 0)


def _run(words: list[str]) -> object:
    """Run the command; a plain ``serve`` does without the command-line library."""
    if words[:1] == ["serve"]:
        from metabolic.cli import serving  # noqa: PLC0415 - only for this command

        asked = serving.plain(words[1:])
        if asked is not None:
            return serving.run(asked)
    return app(words)


def _fail(message: str, *, code: int) -> NoReturn:
    """Say what is wrong in one line, without a traceback."""
    print(f"metabolic: {message}", file=sys.stderr)
    sys.exit(code)
