"""No engine outlives the gateway, however the gateway ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

STANDIN = str(Path(__file__).with_name("standin.py"))
SECONDS = 1.0

PARENT = """
import asyncio, os, sys
from metabolic.core.fleet import LaunchSpec
from metabolic.engines.llamacpp import LlamaCpp, Options

async def main():
    spec = LaunchSpec(deployment="d", model_path=sys.argv[2])
    program = tuple(sys.argv[3:]) or None
    engine = LlamaCpp(Options(), spec, program=program)
    starting = asyncio.ensure_future(engine.start())
    if sys.argv[1] == "warm":
        await starting
    while engine.pid is None:
        await asyncio.sleep(0.001)
    print(engine.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def gone(process: psutil.Process, within_s: float) -> bool:
    """Say whether the process ended in time; a zombie nobody reaps is as gone as can be."""
    try:
        process.wait(within_s)
    except psutil.TimeoutExpired:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    return True


@contextmanager
def gateway(*arguments: str) -> Generator[tuple[subprocess.Popen[str], psutil.Process]]:
    """Run a program that starts an engine; yield it and the engine's process."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, *arguments], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        engine = psutil.Process(int(parent.stdout.readline()))
        try:
            yield parent, engine
        finally:
            parent.kill()
            if engine.is_running():
                engine.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_an_engine_is_gone_within_a_second_of_the_gateway(number: signal.Signals) -> None:
    with gateway("warm", "good", sys.executable, STANDIN) as (parent, engine):
        assert engine.is_running()
        parent.send_signal(number)
        assert gone(engine, SECONDS)


def test_an_engine_that_ignores_sigterm_dies_with_the_gateway_too() -> None:
    with gateway("warm", "deaf", sys.executable, STANDIN) as (parent, engine):
        parent.kill()
        assert gone(engine, SECONDS)


def test_an_engine_that_is_still_starting_dies_with_the_gateway() -> None:
    with gateway("starting", "mute", sys.executable, STANDIN) as (parent, engine):
        parent.kill()
        assert gone(engine, SECONDS)


@contextmanager
def child(parent: int) -> Generator[tuple[subprocess.Popen[bytes], int]]:
    """Run a stand-in whose pipe is ours; yield it and our end of the pipe."""
    theirs, ours = os.pipe()
    command = [sys.executable, STANDIN, "--model", "good", "--parent", str(parent)]
    process = subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE)
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.communicate()


def test_the_end_of_the_pipe_alone_ends_an_engine() -> None:
    with child(os.getpid()) as (process, pipe):
        os.write(pipe, b"key\n")
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b'{"url"')
        os.close(pipe)
        assert process.wait(SECONDS) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills a child with its parent")
def test_the_death_of_the_parent_alone_ends_an_engine() -> None:
    theirs, ours = os.pipe()
    script = (
        "import os, subprocess, sys\n"
        f"p = subprocess.Popen([sys.executable, {STANDIN!r}, '--model', 'good', '--parent',"
        " str(os.getpid())], stdin=int(sys.argv[1]), stdout=subprocess.PIPE)\n"
        "p.stdout.readline()\n"
        "print(p.pid, flush=True)\n"
        "p.wait()\n"
    )
    command = [sys.executable, "-c", script, str(theirs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=(theirs,), text=True) as parent:
        os.write(ours, b"key\n")
        assert parent.stdout is not None
        engine = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        assert gone(engine, SECONDS)
    os.close(theirs)
    os.close(ours)


def test_an_engine_whose_parent_is_dead_already_does_not_start() -> None:
    with child(parent=1) as (process, pipe):
        assert process.wait(10 * SECONDS) == 3
        os.close(pipe)


@pytest.mark.real
def test_a_real_engine_dies_with_a_killed_gateway(real_models: dict[str, Path]) -> None:
    model = str(min(real_models.values(), key=lambda path: path.stat().st_size))
    with gateway("warm", model) as (parent, engine):
        parent.kill()
        assert gone(engine, SECONDS)


@pytest.mark.real
def test_a_real_engine_dies_with_a_gateway_killed_while_it_loads(
    real_models: dict[str, Path],
) -> None:
    model = str(max(real_models.values(), key=lambda path: path.stat().st_size))
    with gateway("starting", model) as (parent, engine):
        parent.kill()
        assert gone(engine, SECONDS)
