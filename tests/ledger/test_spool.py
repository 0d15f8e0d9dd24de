"""The spool: whole lines or none, bounded, and nothing of it is read twice."""

from pathlib import Path

import pytest

from metabolic.ledger.codec import BlobEntry, line_of
from metabolic.ledger.spool import Spool

_ENTRIES = [BlobEntry(digest=f"digest-{number}", blob=b"x" * 10) for number in range(10)]
_LINES = [line_of(entry) for entry in _ENTRIES]


def _spool(path: Path, *, max_bytes: int = 10_000) -> Spool:
    return Spool(path / "spool.jsonl", max_bytes=max_bytes)


def test_what_is_spooled_is_read_in_order_and_then_gone(tmp_path: Path) -> None:
    spool = _spool(tmp_path)
    assert not spool.waiting
    assert spool.write(_LINES) == 10
    assert spool.read(4) == (_ENTRIES[:4], 0)
    spool.passed()
    assert spool.waiting
    assert spool.read(100) == (_ENTRIES[4:], 0)
    spool.passed()
    assert not spool.waiting
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_passed_is_read_again(tmp_path: Path) -> None:
    spool = _spool(tmp_path)
    spool.write(_LINES[:2])
    spool.read(2)
    assert spool.read(2) == (_ENTRIES[:2], 0)


def test_what_comes_while_it_is_read_is_read_later(tmp_path: Path) -> None:
    spool = _spool(tmp_path)
    spool.write(_LINES[:2])
    spool.read(2)
    spool.write(_LINES[2:4])
    spool.passed()
    assert spool.waiting
    assert spool.read(9) == (_ENTRIES[2:4], 0)


def test_another_process_finds_what_was_left(tmp_path: Path) -> None:
    _spool(tmp_path).write(_LINES)
    spool = _spool(tmp_path)
    assert spool.waiting
    assert spool.read(100) == (_ENTRIES, 0)


def test_it_takes_no_more_than_its_bound(tmp_path: Path) -> None:
    spool = _spool(tmp_path, max_bytes=sum(map(len, _LINES[:3])))
    assert spool.write(_LINES) == 3
    assert spool.write(_LINES) == 0
    assert spool.read(100) == (_ENTRIES[:3], 0)


def test_a_torn_line_spoils_only_itself(tmp_path: Path) -> None:
    spool = _spool(tmp_path)
    spool.write(_LINES[:1])
    with (tmp_path / "spool.jsonl").open("ab") as file:
        file.write(_LINES[1][:-9])
    spool.write(_LINES[2:3])
    assert spool.read(100) == ([_ENTRIES[0], _ENTRIES[2]], 1)


def test_a_spool_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "spool.jsonl").mkdir()
    with pytest.raises(OSError, match="directory"):
        _spool(tmp_path, max_bytes=100_000).write(_LINES)


def test_it_is_for_this_user_only(tmp_path: Path) -> None:
    _spool(tmp_path).write(_LINES)
    assert (tmp_path / "spool.jsonl").stat().st_mode & 0o077 == 0
