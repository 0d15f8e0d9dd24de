"""Kernel files: read cheaply, never raising."""

from pathlib import Path

import pytest

from metabolic.sense.files import Folder, KernelFile


@pytest.mark.parametrize(
    ("content", "number"),
    [
        (b"42\n", 42),
        (b"-256000\n", -256000),
        (b"42\0\0\0\0", 42),
        (b"7 more words", 7),
        (b"N/A\n", None),
        (b"\0\0\0", None),
        (b"", None),
        (b"\xff\xfe", None),
        (b"nan", None),
        (b"1e5", None),
    ],
)
def test_a_number_is_read_or_none(tmp_path: Path, content: bytes, number: int | None) -> None:
    path = tmp_path / "f"
    path.write_bytes(content)
    assert Folder(str(tmp_path)).number("f") == number
    assert KernelFile(str(path), keep=True).number() == number


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    assert folder.number("missing") is None
    assert folder.text("missing") is None
    assert folder.sub("missing").names() == ()
    assert not folder.exists("missing")
    assert folder.file(".").number() is None


def test_a_kept_file_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("1")
    file = KernelFile(str(path), keep=True)
    assert file.number() == 1
    path.write_text("2")
    assert file.number() == 2
    file.close()
    file.close()
    assert file.number() == 2
    file.close()


def test_a_file_under_another_root_is_seen_to_vanish(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("1")
    file = Folder(str(tmp_path)).file("f")
    assert file.number() == 1
    path.unlink()
    assert file.number() is None


def test_names_are_sorted(tmp_path: Path) -> None:
    for name in "cab":
        (tmp_path / name).touch()
    assert Folder(str(tmp_path)).names() == ("a", "b", "c")
