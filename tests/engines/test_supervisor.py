"""The engines of a fleet: sized together, started in order, stopped together."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from metabolic.core.errors import EngineError
from metabolic.core.fleet import Deployment, LaunchSpec, Model, State
from metabolic.engines import llamacpp
from metabolic.engines.fake import Fake
from metabolic.engines.fake import Options as FakeOptions
from metabolic.engines.supervised import Backoff
from metabolic.engines.supervisor import Launch, Options, Supervisor, create, free_bytes
from metabolic.execute.clock import ManualClock, RealClock

pytestmark = pytest.mark.anyio

GB = 10**9
STANDIN = (sys.executable, str(Path(__file__).with_name("standin.py")))
RESERVE = 512 * 1024 * 1024


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Fleet:
    """A supervisor of fakes on a machine with so much memory."""

    def __init__(
        self,
        *files: int,
        free: int | None = 100 * GB,
        options: Options | None = None,
        paths: bool = True,
    ) -> None:
        self.free = free
        self.specs: list[LaunchSpec] = []
        self.fakes: dict[str, Fake] = {}
        self.heard: list[tuple[str, State]] = []
        self.fail = 0
        self.hold = False
        launches = tuple(
            Launch(
                deployment=deployment(f"m{file / GB:g}", file),
                model_path="f" if paths else None,
                make=self.make,
            )
            for file in files
        )
        self.supervisor = Supervisor(
            options or Options(),
            launches,
            clock=ManualClock(),
            on_change=lambda name, state, _: self.heard.append((name, state)),
            free=lambda: self.free,
        )

    def make(self, spec: LaunchSpec) -> Fake:
        self.specs.append(spec)
        self.fakes[spec.deployment] = Fake(FakeOptions(fail_starts=self.fail), spec)
        if self.hold:
            self.fakes[spec.deployment].gate.clear()
        return self.fakes[spec.deployment]


def deployment(name: str, file_bytes: int) -> Deployment:
    model = Model(id=name, tier="tiny", layers=24, kv_heads=2, head_dim=64, file_bytes=file_bytes)
    return Deployment(name=name, model=model, kind="local")


async def test_all_are_started_smallest_first() -> None:
    fleet = Fleet(3 * GB, GB, 2 * GB)
    assert await fleet.supervisor.start_all() == ()
    assert [spec.deployment for spec in fleet.specs] == ["m1", "m2", "m3"]
    await fleet.supervisor.stop_all()
    assert {one.state for one in fleet.supervisor.engines.values()} == {"stopped"}


async def test_one_that_fails_does_not_keep_the_others_from_starting() -> None:
    fleet = Fleet(GB, 2 * GB)
    fleet.fail = 1
    failed = await fleet.supervisor.start_all()
    assert [name for name, _ in failed] == ["m1", "m2"]
    assert "as told" in failed[0][1]


async def test_what_does_not_fit_above_the_reserve_is_not_started() -> None:
    fleet = Fleet(GB, free=GB + RESERVE)
    with pytest.raises(EngineError, match=r"m1 does not fit: it needs 1180 MB, 1000 MB are free"):
        await fleet.supervisor.engines["m1"].start()
    assert fleet.specs == []


async def test_a_server_takes_less_context_when_memory_is_short() -> None:
    fleet = Fleet(GB, free=100 * GB)
    await fleet.supervisor.start_all()
    least = fleet.supervisor.least_bytes("m1")
    assert least is not None
    tight = Fleet(GB, free=least + RESERVE)
    await tight.supervisor.start_all()
    assert [(spec.context_tokens, spec.slots) for spec in fleet.specs + tight.specs] == [
        (8192, 2),
        (1024, 1),
    ]


async def test_room_is_left_for_those_that_have_yet_to_start() -> None:
    least = 2 * (GB + 24 * 4 * 64 * 2 * 1024 + 160 * 1024 * 1024)
    fleet = Fleet(GB, 1_000_000_001, free=least + RESERVE + 1000)
    assert await Supervisor.start_all(fleet.supervisor) == ()
    assert fleet.specs[0].context_tokens < 8192


async def test_memory_of_a_starting_server_is_not_given_twice() -> None:
    fleet = Fleet(GB, 2 * GB, free=2 * GB + GB // 2 + RESERVE)
    fleet.hold = True
    starting = asyncio.create_task(fleet.supervisor.engines["m1"].start())
    while ("m1", "starting") not in fleet.heard:  # noqa: ASYNC110 - nothing tells when
        await asyncio.sleep(0)
    with pytest.raises(EngineError, match="m2 does not fit"):
        await fleet.supervisor.engines["m2"].start()
    fleet.fakes["m1"].gate.set()
    await starting
    await fleet.supervisor.stop_all()


async def test_a_model_is_absent_until_its_file_arrives() -> None:
    fleet = Fleet(GB, 2 * GB, paths=False)
    engine = fleet.supervisor.engines["m1"]
    assert engine.state == "absent"
    with pytest.raises(EngineError, match="the model file of m1 is not there yet"):
        await engine.start()
    await engine.sleep()
    assert engine.state == "absent"
    fleet.supervisor.arrived("m1", "file.gguf")
    assert fleet.heard == [("m1", "stopped")]
    await engine.start()
    assert fleet.specs[0].model_path == "file.gguf"
    assert fleet.supervisor.engines["m2"].state == "absent"
    await fleet.supervisor.stop_all()


async def test_unknown_memory_grants_what_is_asked_for() -> None:
    options = Options(context_tokens=2048, slots=3, threads=5, start_timeout_s=7.0)
    fleet = Fleet(GB, free=None, options=options)
    await fleet.supervisor.start_all()
    (spec,) = fleet.specs
    assert (spec.context_tokens, spec.slots, spec.threads) == (2048, 3, 5)
    assert spec.start_timeout_s == 7.0


async def test_several_tiers_share_the_cores() -> None:
    fleet = Fleet(GB, 2 * GB, 3 * GB)
    await fleet.supervisor.start_all()
    cores = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    assert all(1 <= spec.threads <= max(1, cores // 3) for spec in fleet.specs)


async def test_every_change_is_told() -> None:
    fleet = Fleet(GB)
    await fleet.supervisor.start_all()
    await fleet.supervisor.engines["m1"].sleep()
    await fleet.supervisor.stop_all()
    assert fleet.heard == [
        ("m1", "starting"),
        ("m1", "warm"),
        ("m1", "asleep"),
        ("m1", "stopped"),
    ]


async def test_stopping_all_reaches_the_others_when_one_cannot_be_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fleet = Fleet(GB, 2 * GB)
    await fleet.supervisor.start_all()

    async def stuck() -> None:
        message = "it will not die"
        raise EngineError(message)

    monkeypatch.setattr(fleet.fakes["m1"], "stop", stuck)
    with pytest.raises(EngineError, match="not stopped: m1: it will not die"):
        await fleet.supervisor.stop_all()
    assert fleet.supervisor.engines["m2"].state == "stopped"


async def test_information_before_during_and_after_a_life() -> None:
    fleet = Fleet(GB)
    (before,) = fleet.supervisor.info()
    assert (before.state, before.load_s, before.context_tokens) == ("stopped", None, None)
    await fleet.supervisor.start_all()
    (warm,) = fleet.supervisor.info()
    assert (warm.state, warm.load_s, warm.port, warm.pid) == ("warm", 1.0, 9, None)
    assert (warm.context_tokens, warm.slots, warm.restarts) == (8192, 2, 0)


async def test_information_has_the_process_and_its_memory() -> None:
    launch = Launch(
        deployment=deployment("good", GB),
        model_path="good",
        make=lambda spec: llamacpp.LlamaCpp(llamacpp.Options(), spec, program=STANDIN),
    )
    supervisor = create(Options(), launches=(launch,), clock=RealClock())
    endpoint = await supervisor.engines["good"].start()
    (warm,) = supervisor.info()
    assert warm.pid == endpoint.pid
    assert warm.rss_bytes is not None
    assert warm.rss_bytes > 1_000_000
    await supervisor.stop_all()
    (stopped,) = supervisor.info()
    assert (stopped.state, stopped.pid, stopped.rss_bytes) == ("stopped", None, None)


async def test_a_killed_process_is_replaced() -> None:
    launch = Launch(
        deployment=deployment("good", GB),
        model_path="good",
        make=lambda spec: llamacpp.LlamaCpp(llamacpp.Options(), spec, program=STANDIN),
    )
    warm = asyncio.Event()
    states: list[State] = []

    def hear(_: str, state: State, reason: str | None) -> None:
        states.append(state)
        if state == "warm":
            warm.set()

    options = Options(backoff=Backoff(first_s=0.01))
    supervisor = create(options, launches=(launch,), clock=RealClock(), on_change=hear)
    first = await supervisor.engines["good"].start()
    warm.clear()
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    await warm.wait()
    second = supervisor.engines["good"].endpoint
    assert second is not None
    assert second.pid != first.pid
    assert states == ["starting", "warm", "failed", "starting", "warm"]
    await supervisor.stop_all()


def test_free_memory_is_what_the_machine_has_available() -> None:
    free = free_bytes(cgroup=Path("/no/such/group"))
    assert free is not None
    assert 0 < free <= psutil.virtual_memory().total


def test_free_memory_in_a_container_is_what_its_limit_leaves(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("600000\n")
    (tmp_path / "memory.stat").write_text("anon 500000\ninactive_file 50000\n")
    assert free_bytes(cgroup=tmp_path) == 450_000
    (tmp_path / "memory.max").write_text("max\n")
    assert (free_bytes(cgroup=tmp_path) or 0) > 450_000
