"""Turns go to the smallest file first; digests are those of hashlib."""

import hashlib
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from metabolic.core.errors import StoreError
from metabolic.engines.transfer import BLOCK_BYTES, Turns, Writer, sha256_of


def test_a_free_turn_goes_to_the_smallest_that_waits() -> None:
    turns = Turns(1)
    order: list[int] = []

    def take(priority: int) -> None:
        with turns.turn(priority):
            order.append(priority)

    with turns.turn(0):
        threads = [threading.Thread(target=take, args=(size,)) for size in (30, 10, 20)]
        for thread in threads:
            thread.start()
        while len(turns._waiting) < 3:
            threading.Event().wait(0.001)
    for thread in threads:
        thread.join()
    assert order == [10, 20, 30]


def test_an_announced_download_goes_before_larger_ones_that_already_wait() -> None:
    turns = Turns(1)
    order: list[int] = []

    def take(priority: int) -> None:
        with turns.turn(priority):
            order.append(priority)

    turns.announce(10)
    large = threading.Thread(target=take, args=(30,))
    large.start()
    while not turns._waiting:
        threading.Event().wait(0.001)
    take(10)
    large.join()
    assert order == [10, 30]


def test_a_withdrawn_download_holds_nobody_up() -> None:
    turns = Turns(1)
    turns.announce(10)
    turns.withdraw(10)
    with turns.turn(30):
        pass


def test_as_many_turns_are_held_at_once_as_allowed() -> None:
    turns = Turns(2)
    both = threading.Barrier(2, timeout=10)

    def hold() -> None:
        with turns.turn(1):
            both.wait()

    threads = [threading.Thread(target=hold) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not both.broken


def test_a_turn_is_given_back_after_an_error() -> None:
    turns = Turns(1)
    with pytest.raises(ValueError, match="x"), turns.turn(1):
        raise ValueError("x")  # noqa: EM101 - nobody reads it
    with turns.turn(1):
        pass


def test_a_digest_is_that_of_the_whole_file(tmp_path: Path) -> None:
    data = bytes(BLOCK_BYTES + 17)
    (tmp_path / "file").write_bytes(data)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(data).hexdigest()


def test_a_writer_keeps_only_the_file_it_was_promised(
    make: SimpleNamespace, tmp_path: Path
) -> None:
    job = make.job(tmp_path, b"right")
    with Writer(tmp_path / "file", job) as out:
        out.write(b"ri")
        out.write(b"ght")
    assert (tmp_path / "file").read_bytes() == b"right"
    with pytest.raises(StoreError, match="not"), Writer(tmp_path / "file", job) as out:
        out.write(b"wrong")
    assert not (tmp_path / "file").exists()
