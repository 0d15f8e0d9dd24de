"""Hands wake engines that others started and put them to sleep; what fails is said."""

import stat
import sys
from typing import Any

import pytest

from metabolic import plugins
from metabolic.core.errors import ConfigError, EngineError
from metabolic.core.fleet import Endpoint
from metabolic.engines.control import command
from metabolic.testing.hands import FakeControl, check_hand

pytestmark = pytest.mark.anyio

SYSTEMCTL = """#!/bin/sh
state={state}
case "$3" in
  start) echo active > $state;;
  stop) echo inactive > $state;;
  is-active) cat $state; test "$(cat $state)" = active;;
  *) echo "what?" >&2; exit 1;;
esac
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def endpoint(base_url: str) -> Endpoint:
    return Endpoint(deployment="d", base_url=base_url, model="m")


def made(kind: str, base_url: str, **options: object) -> Any:
    table = {"timing": {"poll_s": 0.01, "look_s": 2.0}, **options}
    return plugins.hand(kind, table, endpoint=endpoint(base_url))


@pytest.mark.parametrize("kind", ["vllm", "llama_swap", "ollama"])
async def test_hands_by_http_keep_the_contract(kind):
    async with FakeControl() as control:
        await check_hand(lambda: made(kind, control.base_url))


async def test_a_systemd_unit_keeps_the_contract(tmp_path):
    state, tool = tmp_path / "state", tmp_path / "systemctl"
    state.write_text("active\n")
    tool.write_text(SYSTEMCTL.format(state=state))
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    options = {"unit": "vllm.service", "systemctl": str(tool), "health": None}
    await check_hand(lambda: made("systemd", "http://127.0.0.1:9/v1", **options))


async def test_commands_keep_the_contract(tmp_path):
    flag = tmp_path / "awake d m"
    flag.touch()
    place = str(tmp_path / "awake {deployment} {model}")
    options = {
        "wake": ["touch", place],
        "sleep": ["rm", "-f", place],
        "look": ["test", "-e", place],
        "health": None,
    }
    await check_hand(lambda: made("command", "http://127.0.0.1:9/v1", **options))


async def test_the_fake_keeps_the_contract():
    engines = []

    def make():
        engines.append(plugins.hand("fake", {"looks": 2}, endpoint=endpoint("http://x/v1")))
        if len(engines) > 1:
            engines[-1]._hand = engines[0]._hand
        return engines[-1]

    await check_hand(make)


async def test_a_vllm_without_sleep_mode_stays_awake_and_says_why():
    async with FakeControl() as control:
        control.sleepless = True
        engine = made("vllm", control.base_url)
        assert await engine.look() == "warm"
        assert "VLLM_SERVER_DEV_MODE=1" in engine.reason
        with pytest.raises(EngineError, match="no sleep mode"):
            await engine.sleep()
        assert engine.state == "warm"
        assert engine.endpoint is not None


async def test_vllm_is_asked_for_the_level():
    async with FakeControl() as control:
        await made("vllm", control.base_url, level=2).sleep()
        assert control.asked == ["POST /sleep?level=2"]


async def test_a_broken_control_plane_is_failed_until_it_answers_again():
    async with FakeControl() as control:
        engine = made("vllm", control.base_url)
        control.broken = True
        assert await engine.look() == "failed"
        with pytest.raises(EngineError, match="HTTP 500"):
            await engine.start()
        control.broken = False
        assert await engine.look() == "warm"


async def test_nobody_at_the_address_is_an_engine_error():
    engine = made("ollama", "http://127.0.0.1:9/v1")
    with pytest.raises(EngineError, match="does not answer"):
        await engine.start()
    assert engine.state == "failed"


async def test_an_older_llama_swap_unloads_only_what_nothing_else_is_loaded_beside():
    async with FakeControl() as control:
        control.old = True
        control.others = ["big"]
        engine = made("llama_swap", control.base_url)
        await engine.look()
        with pytest.raises(EngineError, match="big is loaded too"):
            await engine.sleep()
        assert control.awake
        control.others = []
        await engine.sleep()
        assert not control.awake


async def test_waking_that_takes_too_long_is_given_up():
    engine = plugins.hand(
        "fake",
        {"awake": False, "looks": 10_000, "timing": {"wake_s": 0.05, "poll_s": 0.001}},
        endpoint=endpoint("http://x/v1"),
    )
    with pytest.raises(EngineError, match="to wake"):
        await engine.start()


async def test_a_command_that_hangs_is_killed():
    with pytest.raises(EngineError, match="took longer"):
        await command([sys.executable, "-c", "import time; time.sleep(60)"], timeout_s=0.2)


async def test_a_command_that_is_not_there_is_an_engine_error():
    with pytest.raises(EngineError, match="cannot be run"):
        await command(["/no/such/tool"], timeout_s=1.0)


async def test_what_a_command_says_is_in_the_error(tmp_path):
    options = {"wake": ["true"], "sleep": ["sh", "-c", "echo forbidden; exit 3"], "health": None}
    engine = made("command", "http://127.0.0.1:9/v1", **options)
    with pytest.raises(EngineError, match="forbidden"):
        await engine.sleep()


def test_a_unit_is_a_name_and_no_option():
    with pytest.raises(ConfigError, match="unit"):
        made("systemd", "http://x/v1", unit="--now evil.service")


def test_an_unknown_hand_is_named_with_those_there_are():
    with pytest.raises(ConfigError, match="llama_swap"):
        made("llamaswap", "http://x/v1")
