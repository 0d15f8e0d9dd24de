"""Every ledger keeps the promises of the seam."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from metabolic import plugins
from metabolic.core.ports import Ledger
from metabolic.testing.ledgers import check_ledger


def _fresh(kind: str, directory: Path) -> Callable[[], Ledger]:
    numbers = itertools.count()
    return lambda: plugins.ledger(kind, {"path": str(directory / f"{next(numbers)}.{kind}")})


@pytest.mark.parametrize("kind", ["memory", "jsonl", "sqlite"])
def test_ledger_keeps_the_promises_of_the_seam(kind: str, tmp_path: Path) -> None:
    check_ledger(_fresh(kind, tmp_path))


@pytest.mark.parametrize("kind", ["memory", "jsonl", "sqlite"])
def test_every_kind_takes_the_common_settings(kind: str, tmp_path: Path) -> None:
    table = {"path": str(tmp_path / "ledger"), "retention_days": 7.0, "queue": 5}
    plugins.ledger(kind, table).close()
