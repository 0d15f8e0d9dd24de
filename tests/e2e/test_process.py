"""The gateway as a process: signals, keys, secrets, the ledger's disk."""

import concurrent.futures
import hashlib
import json
import signal
import sqlite3
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from metabolic.testing.fakeanswers import TEXT
from metabolic.testing.fakeserver import FakeServer, serve_in_thread
from metabolic.testing.gateway import GatewayProcess, config_for, free_port

HI: list[Any] = [{"role": "user", "content": "Hi there"}]
KEY, CANARY = "client-key-of-the-test", "canary-upstream-7c1d93e2"


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeServer]:
    with serve_in_thread() as server:
        yield server


def start(folder: Path, upstream: FakeServer, *, more: str = "", **options: Any) -> GatewayProcess:
    """Start a gateway over ``good`` and ``slow``."""
    port = free_port()
    fleet = {"good": (upstream.base_url, "fake"), "slow": (upstream.base_url, "slow:20")}
    path = folder / "metabolic.toml"
    path.write_text(config_for(fleet, port=port, more=more, **options))
    return GatewayProcess(path, port=port, environ={"UPSTREAM_KEY": CANARY})


def ask(process: GatewayProcess, model: str = "good", key: str = "none", **more: Any) -> Any:
    """Ask with the official client."""
    with openai.OpenAI(base_url=process.base_url, api_key=key, max_retries=0) as client:
        return client.chat.completions.create(model=model, messages=HI, **more)


def read(url: str, key: str = "none") -> str:
    """Return the body of a ``GET``."""
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {key}"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=10) as got:  # noqa: S310 - our own address
        return got.read().decode()


def ask_for_stream(process: GatewayProcess, model: str) -> str:
    """Ask for a stream, and return its text."""
    with openai.OpenAI(base_url=process.base_url, api_key="none", max_retries=0) as client:
        stream = client.chat.completions.create(model=model, messages=HI, stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream)


def test_sigterm_lets_answers_finish_and_takes_no_new_ones(
    tmp_path: Path, upstream: FakeServer
) -> None:
    with start(tmp_path, upstream) as process:
        seen = len(upstream.seen)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            whole = pool.submit(ask, process, "slow")
            streamed = pool.submit(ask_for_stream, process, "slow")
            while len(upstream.seen) < seen + 2:
                time.sleep(0.005)
            process.signal(signal.SIGTERM)
            assert whole.result().choices[0].message.content == TEXT
            assert streamed.result() == TEXT
        assert process.process.wait(10) == 0
        assert process.status("/health") is None
        assert "Traceback" not in process.log


def test_what_does_not_end_in_time_is_cut_off(tmp_path: Path, upstream: FakeServer) -> None:
    with start(
        tmp_path, upstream, drain_s=1.0, more=_deployment("never", upstream, "fault:stall")
    ) as process:
        seen = len(upstream.seen)
        failed = threading.Event()

        def hopeless() -> None:
            try:
                ask(process, "never")
            except openai.OpenAIError:
                failed.set()

        threading.Thread(target=hopeless, daemon=True).start()
        while len(upstream.seen) == seen:
            time.sleep(0.005)
        process.signal(signal.SIGTERM)
        assert process.process.wait(10) == 0
        assert failed.wait(5)


def test_sighup_takes_a_valid_configuration_and_refuses_an_invalid_one(
    tmp_path: Path, upstream: FakeServer
) -> None:
    path = tmp_path / "metabolic.toml"
    with start(tmp_path, upstream) as process:
        with pytest.raises(openai.NotFoundError):
            ask(process, "ours")
        valid = path.read_text() + '[[virtual]]\nname = "ours"\nallowed = ["good"]\n'
        path.write_text(valid)
        process.signal(signal.SIGHUP)
        process.wait_log("configuration reloaded")
        assert ask(process, "ours").choices

        path.write_text(valid + "[server.nonsense]\nx = 1\n")
        process.signal(signal.SIGHUP)
        process.wait_log("configuration refused")
        assert "nonsense" in process.log
        assert ask(process, "ours").choices

        path.write_text(valid.replace('upstream_model = "fake"', 'upstream_model = "other"'))
        process.signal(signal.SIGHUP)
        process.wait_log("restart to change it")
        assert ask(process, "good").choices


def test_sighup_changes_keys(tmp_path: Path, upstream: FakeServer) -> None:
    path = tmp_path / "metabolic.toml"
    with start(tmp_path, upstream) as process:
        assert ask(process).choices
        path.write_text(path.read_text() + _key(KEY))
        process.signal(signal.SIGHUP)
        process.wait_log("configuration reloaded")
        with pytest.raises(openai.AuthenticationError):
            ask(process)
        assert ask(process, key=KEY).choices


def test_no_key_is_in_any_log_answer_or_metric(tmp_path: Path, upstream: FakeServer) -> None:
    secret = _deployment("locked", upstream, "fault:422").replace(
        "upstream_model", 'api_key = "env:UPSTREAM_KEY"\nupstream_model'
    )
    said: list[str] = []
    with start(tmp_path, upstream, more=secret + _key(KEY)) as process:
        for key in (KEY, "wrong-key-of-the-test", CANARY):
            for model in ("good", "locked", CANARY):
                try:
                    said.append(str(ask(process, model, key=key)))
                except openai.APIStatusError as error:
                    said.append(error.response.text + str(error.response.headers))
        said.append(read(f"http://127.0.0.1:{process.port}/metrics", KEY))
        said.append(process.log)
    assert any(seen.header("authorization") == f"Bearer {CANARY}" for seen in upstream.seen)
    for text in said:
        assert CANARY not in text
        assert KEY not in text
        assert "wrong-key" not in text


def test_a_public_address_without_keys_is_refused_at_start(
    tmp_path: Path, upstream: FakeServer
) -> None:
    path = tmp_path / "metabolic.toml"
    fleet = {"good": (upstream.base_url, "fake")}
    text = config_for(fleet, port=free_port()).replace("[server]", '[server]\nhost = "0.0.0.0"')
    path.write_text(text)
    process = GatewayProcess(path, port=1)
    assert process.process.wait(20) == 2
    assert "[[key]]" in process.log


def test_a_port_that_is_taken_is_said_so(tmp_path: Path, upstream: FakeServer) -> None:
    path = tmp_path / "metabolic.toml"
    path.write_text(config_for({"good": (upstream.base_url, "fake")}, port=upstream.port))
    process = GatewayProcess(path, port=1)
    assert process.process.wait(20) != 0
    assert "address already in use" in process.log.lower()


def test_a_full_disk_costs_receipts_and_never_an_answer(
    tmp_path: Path, upstream: FakeServer
) -> None:
    """The ledger's file may not grow: a limit on file sizes stands in for a full disk."""
    ledger = tmp_path / "ledger.sqlite"
    more = f'path = "{ledger}"\n'
    port = free_port()
    fleet = {"good": (upstream.base_url, "fake")}
    text = config_for(fleet, port=port, ledger="sqlite").replace(
        'kind = "sqlite"\n', f'kind = "sqlite"\n{more}'
    )
    path = tmp_path / "metabolic.toml"
    path.write_text(text)
    with GatewayProcess(path, port=port) as process:
        process.limit_files(128 * 1024)
        with openai.OpenAI(base_url=process.base_url, api_key="none", max_retries=0) as client:
            answers = [
                client.chat.completions.create(model="good", messages=HI) for _ in range(250)
            ]
        assert {answer.choices[0].message.content for answer in answers} == {TEXT}
        metrics = read(f"http://127.0.0.1:{port}/metrics")
        assert process.status("/health") == 200
    counted = {
        line.split('"')[1]: float(line.rsplit(" ", 1)[1])
        for line in metrics.splitlines()
        if line.startswith("metabolic_internal_events_total{")
    }
    assert counted["ledger.failed"] + counted["ledger.spooled"] + counted["ledger.dropped"] > 0
    with sqlite3.connect(ledger) as stored:
        assert stored.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def _deployment(name: str, upstream: FakeServer, model: str) -> str:
    return (
        f'[[deployment]]\nname = "{name}"\nbase_url = "{upstream.base_url}"\n'
        f'upstream_model = "{model}"\n'
    )


def _key(key: str) -> str:
    return f'[[key]]\nname = "test"\nsha256 = "{hashlib.sha256(key.encode()).hexdigest()}"\n'


def test_the_json_of_a_start_names_the_address(tmp_path: Path, upstream: FakeServer) -> None:
    with start(tmp_path, upstream) as process:
        names = [item["id"] for item in json.loads(read(f"{process.base_url}/models"))["data"]]
        assert "good" in names
