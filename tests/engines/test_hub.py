"""The hub's way, against a fake hub on loopback."""

import socket
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from metabolic.core.errors import StoreError
from metabolic.engines import hub

DATA = bytes(range(256)) * 4000


def test_a_file_is_fetched_and_checked(
    make: SimpleNamespace, fake_hub: Any, tmp_path: Path
) -> None:
    source = fake_hub.add("small", DATA)
    got = hub.fetch(source, make.job(tmp_path, DATA), endpoint=fake_hub.endpoint)
    assert got.read_bytes() == DATA


def test_the_hubs_own_record_is_read(make: SimpleNamespace, fake_hub: Any) -> None:
    remote = hub.resolve(fake_hub.add("small", DATA), endpoint=fake_hub.endpoint)
    assert (remote.sha256, remote.size_bytes) == (make.sha256(DATA), len(DATA))


def test_the_endpoint_comes_from_the_environment_of_the_library(
    fake_hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = fake_hub.add("small", DATA)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", fake_hub.endpoint)
    template = fake_hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    assert hub.resolve(source).size_bytes == len(DATA)


def test_a_record_with_another_digest_is_refused_before_a_byte_is_fetched(
    make: SimpleNamespace, fake_hub: Any, tmp_path: Path
) -> None:
    source = fake_hub.add("small", DATA)
    fake_hub.claims = dict.fromkeys(fake_hub.files, "0" * 64)
    with pytest.raises(StoreError, match=r"not the pinned .* refused"):
        hub.fetch(source, make.job(tmp_path, DATA), endpoint=fake_hub.endpoint)
    assert all(method == "HEAD" for method, _, _ in fake_hub.requests)


def test_bytes_that_are_not_the_recorded_ones_are_thrown_away(
    make: SimpleNamespace, fake_hub: Any, tmp_path: Path
) -> None:
    poison = bytes(len(DATA))
    source = fake_hub.add("small", poison)
    fake_hub.claims = dict.fromkeys(fake_hub.files, make.sha256(DATA))
    reported: list[int] = []
    job = make.job(tmp_path, DATA, report=reported.append)
    with pytest.raises(StoreError, match="it was thrown away"):
        hub.fetch(source, job, endpoint=fake_hub.endpoint)
    assert not list(tmp_path.iterdir())
    assert sum(reported) == 0


def test_a_connection_that_breaks_is_taken_up_where_it_broke(
    make: SimpleNamespace, fake_hub: Any, tmp_path: Path
) -> None:
    source = fake_hub.add("small", DATA)
    fake_hub.break_after = len(DATA) // 2 + 1
    got = hub.fetch(source, make.job(tmp_path, DATA), endpoint=fake_hub.endpoint)
    assert got.read_bytes() == DATA
    ranges = [asked for method, _, asked in fake_hub.requests if method == "GET"]
    assert ranges == [None, f"bytes={fake_hub.break_after}-"]


def test_a_fetch_that_was_stopped_resumes_in_the_next_process(
    make: SimpleNamespace, fake_hub: Any, tmp_path: Path
) -> None:
    source = fake_hub.add("small", DATA)
    fake_hub.break_after = 300_000
    fake_hub.go_on.clear()
    stop = threading.Event()

    def stop_it() -> None:
        fake_hub.arrived.wait(10)
        stop.set()
        fake_hub.go_on.set()

    stopper = threading.Thread(target=stop_it)
    stopper.start()
    with pytest.raises(StoreError, match="stopped"):
        hub.fetch(source, make.job(tmp_path, DATA, stop=stop), endpoint=fake_hub.endpoint)
    stopper.join()
    (partial,) = tmp_path.iterdir()
    here = partial.stat().st_size
    assert 0 < here < len(DATA)
    assert hub.missing_bytes(len(DATA), tmp_path) == len(DATA) - here

    fake_hub.break_after = None
    fake_hub.requests.clear()
    reported: list[int] = []
    again = make.job(tmp_path, DATA, report=reported.append)
    assert hub.fetch(source, again, endpoint=fake_hub.endpoint).read_bytes() == DATA
    assert fake_hub.requests[-1][2] == f"bytes={here}-"
    assert sum(reported) == len(DATA)


def test_a_hub_without_ranges_begins_anew(
    make: SimpleNamespace, fake_hub: Any, tmp_path: Path
) -> None:
    source = fake_hub.add("small", DATA)
    fake_hub.ranges = False
    (tmp_path / f"{make.sha256(DATA)[:16]}.partial").write_bytes(b"not what it serves")
    reported: list[int] = []
    job = make.job(tmp_path, DATA, report=reported.append)
    assert hub.fetch(source, job, endpoint=fake_hub.endpoint).read_bytes() == DATA
    assert sum(reported) == len(DATA)


def test_a_hub_that_sends_nothing_is_given_up(
    make: SimpleNamespace, fake_hub: Any, tmp_path: Path
) -> None:
    source = fake_hub.add("small", DATA)
    fake_hub.break_after = 0
    with pytest.raises(StoreError):
        hub.fetch(source, make.job(tmp_path, DATA), endpoint=fake_hub.endpoint)


def test_a_missing_file_is_a_store_error_that_names_it(fake_hub: Any) -> None:
    source = fake_hub.add("small", DATA)
    fake_hub.files.clear()
    with pytest.raises(StoreError, match=r"maker/small/small\.gguf: .*404"):
        hub.resolve(source, endpoint=fake_hub.endpoint)


def test_a_hub_that_answers_has_no_problem_and_is_asked_once(fake_hub: Any) -> None:
    probe = hub.Probe(fake_hub.add("small", DATA), endpoint=fake_hub.endpoint)
    assert probe.problem() is None
    assert probe.problem() is None
    assert len(fake_hub.requests) == 1


def test_a_hub_that_is_not_there_is_named_as_such(fake_hub: Any) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        probe = hub.Probe(fake_hub.add("small", DATA), endpoint=f"http://127.0.0.1:{port}")
        assert "refused" in (probe.problem() or "").lower()


def test_a_hub_that_does_not_answer_is_given_up_within_the_timeout(fake_hub: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        probe = hub.Probe(fake_hub.add("small", DATA), endpoint=endpoint, timeout_s=0.2)
        assert probe.problem() is not None


def test_an_address_that_is_none_is_a_problem_not_a_crash(fake_hub: Any) -> None:
    probe = hub.Probe(fake_hub.add("small", DATA), endpoint="not an address")
    assert probe.problem() is not None
