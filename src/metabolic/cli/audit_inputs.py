"""What an audit is made from: files, a catalogue, a classifier; and a bar on the terminal."""

__all__ = ["Bar", "candidates_in", "files_of", "records", "router"]

import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from metabolic import plugins
from metabolic.audit.catalogue import Catalogue, catalogue_of
from metabolic.audit.prices import decoded_prices
from metabolic.audit.progress import Tell
from metabolic.audit.tasks import Classify
from metabolic.cli.ledgers import open_ledger
from metabolic.config import load
from metabolic.core.errors import ConfigError
from metabolic.core.receipt import Record
from metabolic.core.request import Message, Request, Text
from metabolic.core.signals import Signals
from metabolic.wiring.fleet import assemble


def files_of(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Return all files, those of folders by name; hidden ones are left out."""
    found: list[Path] = []
    for path in paths:
        inside = path.rglob("*") if path.is_dir() else (path,)
        found += sorted(one for one in inside if not one.is_dir() and not one.name.startswith("."))
    return tuple(found)


def candidates_in(path: Path) -> Catalogue:
    """Return the models in a file: a table of prices, or a configuration with its deployments.

    A configuration's secrets are not looked up: nobody is called.

    Raises:
        ConfigError: it cannot be read, or holds no model whose tokens have a price.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        message = f"{path}: {exc}"
        raise ConfigError(message) from exc
    if "price" in document:
        return Catalogue(entries=decoded_prices(path).price)
    config = load(path, environ=_Unused())
    fleet = assemble(config).fleet.deployments
    found = catalogue_of(fleet, usd_per_kwh=config.energy.usd_per_kwh)
    if not found.entries:
        message = (
            f"{path}: no deployment whose tokens have a price: give input_ and "
            "output_usd_per_million_tokens, or speeds and active_w"
        )
        raise ConfigError(message)
    return found


class _Unused(Mapping[str, str]):
    """An environment in which every secret is set, to something nobody will use."""

    def __getitem__(self, key: str) -> str:
        return "unused"

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def router() -> Classify:
    """Return what reads prompts: the rules with the learned heads."""
    made = plugins.classifier("learned")

    def classify(text: str) -> Signals:
        message = Message(role="user", content=(Text(text=text),))
        return made.classify(Request(id="log", dialect="chat", model="log", messages=(message,)))

    return classify


def records(path: Path) -> Iterable[Record]:
    """Iterate over a ledger's records."""
    opened = open_ledger(path, load(None))
    try:
        yield from opened.records()
    finally:
        opened.close()


class Bar:
    """A bar on the terminal, where standard error is one."""

    def __init__(self) -> None:
        """Show it only to people; ``tell`` is ``None`` for anybody else."""
        self.tell: Tell | None = None
        if sys.stderr.isatty():
            from rich import progress  # noqa: PLC0415 - only on a terminal
            from rich.console import Console  # noqa: PLC0415 - as above

            self._made = progress.Progress(
                progress.TextColumn("{task.description}"),
                progress.BarColumn(),
                progress.TaskProgressColumn(show_speed=False),
                progress.TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._made.add_task("", total=None)
            self.tell = self._tell

    def _tell(self, text: str, ratio: float | None) -> None:
        total = None if ratio is None else 1.0
        self._made.update(self._task, description=text, completed=ratio or 0.0, total=total)

    def __enter__(self) -> Self:
        """Begin to show it."""
        if self.tell is not None:
            self._made.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None
    ) -> None:
        """Take it away."""
        if self.tell is not None:
            self._made.stop()
