"""What a killed gateway left is put back at the next start, and what a running one holds is not."""

import os

import psutil
import pytest

from metabolic.config import parse
from metabolic.core.actuation import Saved
from metabolic.core.errors import ConfigError
from metabolic.core.metabolic import MetabolicState
from metabolic.execute.clock import ManualClock
from metabolic.execute.governor import Journal
from metabolic.wiring.governor import governor_of, journal_of, restore


def machine(tmp_path):
    """Return a made powercap tree whose limit was set from 65 W to 45 W."""
    zone = tmp_path / "sys/class/powercap/intel-rapl:0"
    zone.mkdir(parents=True)
    (zone / "name").write_text("package-0\n")
    (zone / "constraint_0_name").write_text("long_term\n")
    file = zone / "constraint_0_power_limit_uw"
    file.write_text("45000000\n")
    return file


def left(tmp_path, *, pid, born_s):
    journal = Journal(tmp_path / "limits.json", pid=pid, born_s=born_s)
    journal.write(
        [
            Saved(
                kind="rapl",
                options={"root": str(tmp_path)},
                knob="intel-rapl:0/constraint_0_power_limit_uw",
                value=65.0,
                set_to=45.0,
            )
        ]
    )
    return journal


def config_of(tmp_path, *, enabled="true", more=""):
    text = f'[actuators]\nenabled = {enabled}\nstate_path = "{tmp_path}/limits.json"\n{more}'
    return parse(text, source="t")


def governor(config):
    return governor_of(config, clock=ManualClock(), state=MetabolicState)


def test_the_next_start_puts_back_what_a_killed_gateway_left_even_when_limits_are_off(tmp_path):
    file = machine(tmp_path)
    left(tmp_path, pid=os.getpid(), born_s=0.0)
    assert governor(config_of(tmp_path, enabled="false")) is None
    assert file.read_text() == "65000000\n"
    assert not (tmp_path / "limits.json").exists()


def test_limits_that_a_running_gateway_holds_are_left_to_it(tmp_path):
    file = machine(tmp_path)
    parent = psutil.Process(os.getppid())
    left(tmp_path, pid=parent.pid, born_s=parent.create_time())
    config = config_of(tmp_path, more="[[actuator]]\nkind = 'fake'")
    assert f"pid {parent.pid}" in restore(journal_of(config))[0]
    assert governor(config) is None
    assert file.read_text() == "45000000\n"


def test_another_process_of_the_same_number_is_not_that_gateway(tmp_path):
    file = machine(tmp_path)
    left(tmp_path, pid=os.getppid(), born_s=1.0)
    assert restore(journal_of(config_of(tmp_path))) == [
        "intel-rapl:0/constraint_0_power_limit_uw: put back to 65 W"
    ]
    assert file.read_text() == "65000000\n"


def test_a_file_that_is_no_journal_is_no_reason_not_to_start(tmp_path):
    (tmp_path / "limits.json").write_text("{")
    assert governor(config_of(tmp_path, enabled="false")) is None


def test_limits_without_an_actuator_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="no \\[\\[actuator\\]\\]"):
        governor(config_of(tmp_path))
