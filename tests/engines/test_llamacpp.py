"""An engine as a process: started, refused, ended, and never a secret in the open."""

import asyncio
import json
import os
import signal
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest

from metabolic.core.errors import EngineError
from metabolic.core.fleet import Endpoint, LaunchSpec
from metabolic.core.speculation import Launch
from metabolic.engines.llamacpp import LlamaCpp, Options, create
from metabolic.testing.engines import check_engine

pytestmark = pytest.mark.anyio

STANDIN = (sys.executable, str(Path(__file__).with_name("standin.py")))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def engine(mode: str = "good", *, timeout_s: float = 15.0, grace_s: float = 3.0) -> LlamaCpp:
    spec = LaunchSpec(
        deployment="small", model_path=mode, slots=2, threads=3, start_timeout_s=timeout_s
    )
    return LlamaCpp(Options(grace_s=grace_s), spec, program=STANDIN)


async def fetch(
    endpoint: Endpoint, path: str, key: str | None, body: object = None
) -> tuple[int, bytes]:
    """GET ``path`` at the engine in a thread, or POST a body."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    data = None if body is None else json.dumps(body).encode()
    if data is not None:
        headers["Content-Type"] = "application/json"
    url = endpoint.base_url + path
    request = urllib.request.Request(url, data, headers=headers)  # noqa: S310

    def get() -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310
                return reply.status, reply.read()
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code, exc.read()

    return await asyncio.to_thread(get)


async def about(one: LlamaCpp) -> dict[str, Any]:
    endpoint = await one.start()
    status, body = await fetch(endpoint, "/about", endpoint.api_key)
    assert status == 200
    return json.loads(body)


async def test_it_keeps_the_contract_of_engines() -> None:
    await check_engine(engine)


async def test_it_keeps_the_contract_even_if_the_server_ignores_sigterm() -> None:
    await check_engine(lambda: engine("deaf", grace_s=0.05))


async def test_the_server_listens_on_loopback_and_wants_a_random_key() -> None:
    one, two = engine(), engine()
    first, second = await asyncio.gather(one.start(), two.start())
    assert first.base_url.startswith("http://127.0.0.1:")
    assert first.base_url.endswith("/v1")
    assert first.api_key
    assert first.api_key != second.api_key
    assert (await fetch(first, "/about", None))[0] == 401
    assert (await fetch(first, "/about", second.api_key))[0] == 401
    assert (await fetch(first, "/about", first.api_key))[0] == 200
    await asyncio.gather(one.stop(), two.stop())


async def test_neither_arguments_nor_environment_hold_a_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CLOUD_API_KEY", "sk-cloud")
    one = engine()
    facts = await about(one)
    assert one.endpoint is not None
    assert one.endpoint.api_key is not None
    assert one.endpoint.api_key not in json.dumps(facts)
    assert "CLOUD_API_KEY" not in facts["env"]
    await one.stop()


async def test_the_server_gets_its_size_and_sleeping_openmp_threads() -> None:
    one = engine()
    facts = await about(one)
    flags = dict(zip(facts["argv"][1::2], facts["argv"][2::2], strict=True))
    assert flags["--alias"] == "small"
    assert flags["--context"] == "4096"
    assert flags["--slots"] == "2"
    assert flags["--threads"] == "3"
    assert flags["--parent"] == str(os.getpid())
    assert facts["env"]["OMP_WAIT_POLICY"] == "passive"
    assert facts["sid"] != os.getsid(0)
    await one.stop()


async def test_options_become_arguments() -> None:
    spec = LaunchSpec(deployment="d", model_path="m", embeddings=True)
    one = create(Options(repack=False, prompt_cache_bytes=0), spec=spec)
    command = one._command()
    assert command[1:4] == ["-P", "-m", "metabolic.engines.llamacpp_server"]
    assert command[-4:] == ["--prompt-cache-bytes", "0", "--no-repack", "--embeddings"]


async def test_what_drafts_becomes_arguments() -> None:
    ngram = Launch(method="ngram", num_speculative_tokens=16)
    draft = Launch(method="draft", num_speculative_tokens=3, draft_path="small.gguf")
    for launch, told in (
        (ngram, ["--draft", "ngram", "--draft-tokens", "16", "--draft-match", "12"]),
        (draft, ["--draft-match", "12", "--draft-model", "small.gguf"]),
    ):
        spec = LaunchSpec(deployment="d", model_path="m", speculation=launch)
        assert create(Options(), spec=spec)._command()[-len(told) :] == told


async def test_a_start_that_fails_says_why_with_the_end_of_the_log() -> None:
    one = engine("bad")
    with pytest.raises(EngineError, match="small did not start") as caught:
        await one.start()
    assert "exited with status 1" in str(caught.value)
    assert "invalid magic" in str(caught.value)
    assert one.state == "failed"
    assert one.reason == str(caught.value)
    assert one.pid is None
    await one.stop()
    assert one.state == "stopped"


@pytest.mark.parametrize("mode", ["mute", "sick"])
async def test_a_start_that_takes_too_long_is_ended(mode: str) -> None:
    one = engine(mode, timeout_s=0.5)
    with pytest.raises(EngineError, match="small did not start: it was not ready after"):
        await one.start()
    assert one.state == "failed"
    assert one.pid is None


async def test_a_program_that_is_not_there_is_an_engine_error() -> None:
    spec = LaunchSpec(deployment="small", model_path="m")
    with pytest.raises(EngineError, match="cannot start /no/such/program"):
        await LlamaCpp(Options(), spec, program=("/no/such/program",)).start()


async def test_a_killed_server_is_failed_at_once_and_says_how_it_died() -> None:
    one = engine()
    endpoint = await one.start()
    assert endpoint.pid is not None
    os.kill(endpoint.pid, signal.SIGKILL)
    await one.ended()
    assert one.state == "failed"
    assert one.endpoint is None
    assert one.reason is not None
    assert one.reason.startswith("small was killed by SIGKILL")
    again = await one.start()
    assert one.state == "warm"
    assert again.pid != endpoint.pid
    assert again.api_key != endpoint.api_key
    await one.stop()


async def test_a_server_that_ends_by_itself_is_failed() -> None:
    one = engine("brief")
    await one.start()
    await one.ended()
    assert one.state == "failed"
    assert one.reason is not None
    assert "exited with status 7" in one.reason
    await one.stop()


@pytest.mark.skipif(sys.platform == "win32", reason="SIGSTOP is POSIX")
async def test_a_server_that_lives_but_hangs_is_killed_and_says_so() -> None:
    spec = LaunchSpec(deployment="small", model_path="good", start_timeout_s=15.0)
    one = LlamaCpp(Options(pulse_s=0.05, missed_pulses=2), spec, program=STANDIN)
    endpoint = await one.start()
    assert endpoint.pid is not None
    os.kill(endpoint.pid, signal.SIGSTOP)
    await asyncio.wait_for(one.ended(), 10)
    assert one.state == "failed"
    assert one.reason is not None
    assert "did not answer 2 health checks and was killed" in one.reason
    await one.stop()


async def test_a_cancelled_start_leaves_no_process() -> None:
    one = engine("mute")
    starting = asyncio.ensure_future(one.start())
    while one.pid is None:  # noqa: ASYNC110 - the process appears inside the start
        await asyncio.sleep(0)
    process = psutil.Process(one.pid)
    await one.stop()
    assert not process.is_running()
    with pytest.raises(EngineError, match="stopped while it started"):
        await starting


async def test_a_waiter_that_is_cancelled_does_not_end_the_start() -> None:
    one = engine()
    first = asyncio.ensure_future(one.start())
    await asyncio.sleep(0)
    second = asyncio.ensure_future(one.start())
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).deployment == "small"
    assert first.cancelled()
    await one.stop()


async def test_the_time_a_start_took_is_known_afterwards() -> None:
    one = engine()
    assert one.load_s is None
    await one.start()
    assert one.load_s is not None
    assert 0.0 < one.load_s < 15.0
    await one.sleep()
    assert one.load_s > 0.0
    await one.stop()


@pytest.fixture
def smallest(real_models: dict[str, Path]) -> str:
    return str(min(real_models.values(), key=lambda path: path.stat().st_size))


@pytest.mark.real
async def test_llamacpp_keeps_the_contract_on_a_real_model(smallest: str) -> None:
    spec = LaunchSpec(deployment="smol", model_path=smallest, context_tokens=1024)
    await check_engine(lambda: create(Options(), spec=spec))


@pytest.mark.real
async def test_a_real_server_drafts_says_so_and_writes_the_same(smallest: str) -> None:
    text = "one two three four five six seven eight nine ten " * 4
    body = {"prompt": text, "max_tokens": 24, "temperature": 0, "speculative": {"n_max": 0}}
    said: list[tuple[str, int | None]] = []
    for launch in (None, Launch(method="ngram", num_speculative_tokens=16, match_tokens=8)):
        spec = LaunchSpec(
            deployment="smol", model_path=smallest, context_tokens=1024, speculation=launch
        )
        one = create(Options(), spec=spec)
        endpoint = await one.start()
        try:
            answer = json.loads((await fetch(endpoint, "/completions", endpoint.api_key, body))[1])
        finally:
            await one.stop()
        said.append((answer["choices"][0]["text"], answer["timings"].get("draft_n")))
    (plain, none), (drafted, some) = said
    assert drafted == plain
    assert none is None
    assert some is not None  # although the request says not to: no request switches it
    assert some > 0


@pytest.mark.real
async def test_a_real_server_answers_its_name_and_only_with_the_key(smallest: str) -> None:
    spec = LaunchSpec(deployment="smol", model_path=smallest, context_tokens=1024, slots=2)
    one = create(Options(), spec=spec)
    endpoint = await one.start()
    try:
        assert (await fetch(endpoint, "/chat/completions", None))[0] == 401
        models = json.loads((await fetch(endpoint, "/models", endpoint.api_key))[1])
        assert [model["id"] for model in models["data"]] == ["smol"]
        root = Endpoint(
            deployment="smol", base_url=endpoint.base_url.removesuffix("/v1"), model="smol"
        )
        slots = json.loads((await fetch(root, "/slots", endpoint.api_key))[1])
        assert [slot["n_ctx"] for slot in slots] == [1024, 1024]
        assert (await fetch(root, "/metrics", endpoint.api_key))[0] == 200
        assert (await fetch(root, "/", endpoint.api_key))[0] == 404
    finally:
        await one.stop()


@pytest.mark.real
async def test_a_file_that_is_no_model_is_refused_with_the_servers_own_words(
    tmp_path: Path,
) -> None:
    junk = tmp_path / "junk.gguf"
    junk.write_bytes(b"junk")
    one = create(Options(), spec=LaunchSpec(deployment="junk", model_path=str(junk)))
    with pytest.raises(EngineError, match="invalid magic"):
        await one.start()
