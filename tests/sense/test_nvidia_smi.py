"""nvidia-smi's XML and text: the same figures under many names, from a file or the tool itself."""

import contextlib
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.core.errors import SensorError
from metabolic.core.hardware import HardwareState
from metabolic.sense import nvidia_smi
from metabolic.sense.nvidia_gpu import Gpu
from metabolic.sense.nvidia_smi_text import parse
from metabolic.testing.sensors import check_sensor

Write = Callable[[Mapping[str, str]], Path]
RECORDINGS = Path(__file__).parents[3] / "shared" / "telemetry" / "nvidia-smi"
EMPTY = HardwareState(taken_at_s=0.0)

XML = """<?xml version="1.0" ?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">
<nvidia_smi_log>
  <attached_gpus>2</attached_gpus>
  <gpu id="00000000:0C:00.0">
    <product_name>NVIDIA Example 80GB</product_name>
    <uuid>GPU-1</uuid>
    <mig_mode><current_mig>Disabled</current_mig><pending_mig>Disabled</pending_mig></mig_mode>
    <clocks_event_reasons>
      <clocks_event_reason_gpu_idle>Not Active</clocks_event_reason_gpu_idle>
      <clocks_event_reason_sw_power_cap>Active</clocks_event_reason_sw_power_cap>
      <clocks_event_reason_hw_slowdown>Active</clocks_event_reason_hw_slowdown>
      <clocks_event_reason_hw_thermal_slowdown>Active</clocks_event_reason_hw_thermal_slowdown>
    </clocks_event_reasons>
    <fb_memory_usage><total>81559 MiB</total><used>59 MiB</used></fb_memory_usage>
    <utilization><gpu_util>42 %</gpu_util></utilization>
    <temperature>
      <gpu_temp>59 C</gpu_temp>
      <gpu_temp_tlimit>26 C</gpu_temp_tlimit>
      <gpu_temp_slow_tlimit_threshold>-2 C</gpu_temp_slow_tlimit_threshold>
      <gpu_temp_slow_threshold>N/A</gpu_temp_slow_threshold>
      <memory_temp>55 C</memory_temp>
    </temperature>
    <gpu_power_readings>
      <power_state>Requested functionality has been deprecated</power_state>
      <average_power_draw>629.45 W</average_power_draw>
      <instant_power_draw>588.39 W</instant_power_draw>
      <current_power_limit>700.00 W</current_power_limit>
    </gpu_power_readings>
    <module_power_readings><instant_power_draw>N/A</instant_power_draw></module_power_readings>
  </gpu>
  <gpu id="00000000:0D:00.0">
    <product_name>NVIDIA Example Old</product_name>
    <uuid>GPU-2</uuid>
    <mig_mode><current_mig>Enabled</current_mig></mig_mode>
    <mig_devices><mig_device>
      <fb_memory_usage><total>19968 MiB</total><used>12 MiB</used></fb_memory_usage>
    </mig_device></mig_devices>
    <clocks_throttle_reasons>
      <clocks_throttle_reason_hw_slowdown>Not Active</clocks_throttle_reason_hw_slowdown>
    </clocks_throttle_reasons>
    <fb_memory_usage><total>40960 MiB</total><used>[Unknown Error]</used></fb_memory_usage>
    <utilization><gpu_util>12 %</gpu_util></utilization>
    <temperature>
      <gpu_temp>41 C</gpu_temp>
      <gpu_temp_slow_threshold>93 C</gpu_temp_slow_threshold>
      <gpu_temp_max_gpu_threshold>85 C</gpu_temp_max_gpu_threshold>
    </temperature>
    <power_readings>
      <power_draw>25.58 W</power_draw>
      <enforced_power_limit>300.00 W</enforced_power_limit>
    </power_readings>
  </gpu>
</nvidia_smi_log>
"""
TEXT = """
==============NVSMI LOG==============

Driver Version                                         : 610.57.04
Attached GPUs                                          : 1
GPU 00000000:0C:00.0
    Product Name                                       : NVIDIA Example
    MIG Mode
        Current                                        : Disabled
    GPU UUID                                           : GPU-3
    Clocks Event Reasons
        SW Power Cap                                   : Not Active
        HW Slowdown                                    : Active
            HW Thermal Slowdown                        : Not Active
            HW Power Brake Slowdown                    : Active
        SW Thermal Slowdown                            : Not Active
    FB Memory Usage
        Total                                          : 8192 MiB
        Used                                           : 211 MiB
    Utilization
        GPU                                            : 7 %
    Temperature
        GPU Current Temp                               : 33 C
        GPU Current T.Limit Temp                       : N/A
        GPU Slowdown Temp                              : 97 C
        GPU Max Operating Temp                         : 89 C
        Memory Current Temp                            : N/A
    GPU Power Readings
        Average Power Draw                             : N/A
        Instantaneous Power Draw                       : 38.89 W
        GPU Ceiling Power Limit
            Current Power Limit                        : 250.00 W
        Min Power Limit                                : 105.00 W
    Processes                                          : None
"""


def test_xml_of_a_newer_and_an_older_driver() -> None:
    assert parse(XML) == (
        Gpu(
            name="nvidia0",
            uuid="GPU-1",
            model="NVIDIA Example 80GB",
            shared=False,
            temperature_c=59.0,
            memory_c=55.0,
            margin_c=26.0,
            slowdown_margin_c=-2.0,
            held=("thermal", "power_cap"),
            power_w=588.39,
            power_kind="instant",
            power_limit_w=700.0,
            utilization_ratio=0.42,
            memory_used_bytes=59 * 2.0**20,
            memory_total_bytes=81559 * 2.0**20,
        ),
        Gpu(
            name="nvidia1",
            uuid="GPU-2",
            model="NVIDIA Example Old",
            shared=True,
            temperature_c=41.0,
            slowdown_c=93.0,
            highest_c=85.0,
            held=(),
            power_w=25.58,
            power_limit_w=300.0,
            memory_total_bytes=40960 * 2.0**20,
        ),
    )


def test_text_says_the_same_by_its_indents() -> None:
    expected = Gpu(
        name="nvidia0",
        uuid="GPU-3",
        model="NVIDIA Example",
        shared=False,
        temperature_c=33.0,
        slowdown_c=97.0,
        highest_c=89.0,
        held=("power_brake",),
        power_w=38.89,
        power_kind="instant",
        power_limit_w=250.0,
        utilization_ratio=0.07,
        memory_used_bytes=211 * 2.0**20,
        memory_total_bytes=8192 * 2.0**20,
    )
    assert parse(TEXT) == (expected,)
    assert parse(TEXT.replace("\n", "\r\n")) == (expected,)
    (last,) = parse(TEXT + TEXT.replace(": 33 C", ": 60 C"))
    assert last.temperature_c == 60.0, "of the same GPU the last run counts"


@pytest.mark.parametrize(
    "text",
    ["", "<nvidia_smi_log>", "NVIDIA-SMI has failed", "<a/>", "No devices were found", "GPU x\n"],
)
def test_what_is_no_output_of_the_tool_is_told(text: str) -> None:
    with pytest.raises(SensorError):
        parse(text)


@given(st.integers(0, len(XML)), st.text(max_size=5))
def test_a_cut_or_spoilt_output_raises_nothing_but_sensor_errors(at: int, junk: str) -> None:
    for text in (XML[:at] + junk, XML[:at] + junk + XML[at:], TEXT[:at] + junk + TEXT[at:]):
        with contextlib.suppress(SensorError):
            assert all(gpu.name for gpu in parse(text))


def tool(tmp_path: Path, body: str) -> tuple[str, ...]:
    """Return a command that is our Python running ``body``."""
    script = tmp_path / "tool.py"
    script.write_text(body)
    return sys.executable, "-S", "-E", str(script)


def sensor(tmp_path: Path, body: str, *, deadline_s: float = 10.0) -> nvidia_smi.NvidiaSmiSensor:
    options = nvidia_smi.Options(
        sysfs=str(tmp_path), command=tool(tmp_path, body), deadline_s=deadline_s
    )
    made = nvidia_smi.create(options)
    made._background.wait(40)
    return made


def test_the_tool_is_run_and_its_answer_carries_its_age(tmp_path: Path) -> None:
    reads = sensor(tmp_path, f"print({XML!r})")
    first, second = reads.read(EMPTY).devices
    assert first.temperature_c is not None
    assert (first.temperature_c.value, first.temperature_c.source) == (59.0, "nvidia-smi")
    assert first.temperature_c.age_s > 0
    assert (second.shared, second.utilization_ratio) == (True, None)
    assert reads.obstacles() == ()
    reads.close()
    assert reads.read(EMPTY) == EMPTY


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        ("print('NVIDIA-SMI has failed: no driver'); raise SystemExit(9)", "driver", "no driver"),
        ("print('<nvidia_smi_log>')", "driver", "cannot be read"),
        ("import threading; threading.Event().wait(60)", "driver", "longer than"),
    ],
)
def test_a_tool_that_fails_is_an_obstacle(tmp_path: Path, body: str, kind: str, said: str) -> None:
    reads = sensor(tmp_path, body, deadline_s=0.5)
    assert reads.read(EMPTY) == EMPTY
    (obstacle,) = reads.obstacles()
    assert obstacle.kind == kind
    assert said in obstacle.what
    reads.close()


def test_a_tool_that_is_not_there_is_an_obstacle(tmp_path: Path) -> None:
    options = nvidia_smi.Options(sysfs=str(tmp_path), command=("no-such-tool",))
    reads = nvidia_smi.create(options)
    assert reads._background.wait(10)
    assert reads.read(EMPTY) == EMPTY
    assert [one.kind for one in reads.obstacles()] == ["absent"]
    reads.close()


def test_a_sleeping_gpu_is_not_woken_by_the_tool(write: Write) -> None:
    folder = "sys/bus/pci/devices/0000:01:00.0/"
    root = write(
        {
            folder + "vendor": "0x10de",
            folder + "class": "0x030000",
            folder + "power/runtime_status": "suspended",
        }
    )
    reads = sensor(root, f"open({str(root / 'ran')!r}, 'w')")
    (device,) = reads.read(EMPTY).devices
    assert (device.name, device.asleep, device.temperature_c) == ("nvidia0", True, None)
    assert not (root / "ran").exists()
    reads.close()


def test_a_file_counts_while_it_is_fresh_and_a_recording_always(tmp_path: Path) -> None:
    path = tmp_path / "out.xml"
    path.write_text(XML)
    fresh = nvidia_smi.create(nvidia_smi.Options(file=str(path)))
    assert fresh._background.wait(10)
    assert len(fresh.read(EMPTY).devices) == 2
    fresh.close()
    os.utime(path, (1e9, 1e9))
    old = nvidia_smi.create(nvidia_smi.Options(file=str(path)))
    assert old._background.wait(10)
    assert old.read(EMPTY) == EMPTY
    assert [one.kind for one in old.obstacles()] == ["stale"]
    old.close()
    recording = nvidia_smi.create(nvidia_smi.Options(file=str(path), file_age_s=0.0))
    assert recording._background.wait(10)
    assert len(recording.read(EMPTY).devices) == 2
    recording.close()
    gone = nvidia_smi.create(nvidia_smi.Options(file=str(tmp_path / "none")))
    assert gone._background.wait(10)
    assert gone.read(EMPTY) == EMPTY
    assert [one.kind for one in gone.obstacles()] == ["unreachable"]
    gone.close()


def test_below_another_root_nothing_is_run(tmp_path: Path) -> None:
    options = nvidia_smi.Options(root=str(tmp_path), command=tool(tmp_path, f"print({XML!r})"))
    reads = nvidia_smi.create(options)
    assert reads.read(EMPTY) == EMPTY
    assert [one.kind for one in reads.obstacles()] == ["configuration"]
    reads.close()


def test_it_keeps_the_seam(tmp_path: Path) -> None:
    (tmp_path / "out.txt").write_text(TEXT)
    check_sensor(nvidia_smi.create(nvidia_smi.Options(file=str(tmp_path / "out.txt"))))
    check_sensor(nvidia_smi.create(nvidia_smi.Options(root=str(tmp_path))))


def recordings(pattern: str) -> list[Path]:
    found = sorted(path for path in RECORDINGS.glob(pattern) if "LICENSE" not in path.name)
    return found or [pytest.param(Path(), marks=pytest.mark.skip("no recordings here"))]  # pyright: ignore[reportReturnType]


def said(text: str, pattern: str) -> float | None:
    """Return the last number the raw text gives, found without the parser."""
    found = re.findall(pattern + r"\s*(-?[\d.]+)", text)
    return float(found[-1]) if found else None


@pytest.mark.parametrize("path", recordings("xml/*.xml"), ids=lambda path: path.name)
def test_recorded_xml(path: Path) -> None:
    text = path.read_text()
    (gpu,) = parse(text)
    assert gpu.temperature_c == said(text, "<gpu_temp>")
    assert gpu.margin_c == said(text, "<gpu_temp_tlimit>")
    assert gpu.slowdown_c == said(text, "<gpu_temp_slow_threshold>")
    assert gpu.memory_c == said(text, "<memory_temp>")
    draw = said(text, "<instant_power_draw>") or said(text, "<power_draw>")
    assert gpu.power_w == draw
    whole = re.sub(r"<mig_device>[\s\S]*?</mig_device>", "", text)
    total = said(whole, r"<fb_memory_usage>\s*<total>")
    assert total is not None
    assert gpu.memory_total_bytes == total * 2**20
    assert gpu.held in {None, ()}


@pytest.mark.parametrize("path", recordings("captures/*.txt"), ids=lambda path: path.name)
def test_recorded_text(path: Path) -> None:
    text = path.read_text(errors="replace")
    queries = re.findall(r":: query \(-q\)\n.*\n#+\n([\s\S]*?)\n####", text)
    assert len(queries) == 2, "idle and under load"
    for query in queries:
        (gpu,) = parse(query)
        assert gpu.temperature_c == said(query, "GPU Current Temp +:")
        assert gpu.margin_c == said(query, r"GPU (?:Current )?T\.Limit Temp +:")
        assert gpu.slowdown_margin_c == said(query, r"GPU Slowdown T\.Limit Temp +:")
        assert gpu.slowdown_c == said(query, "GPU Slowdown Temp +:")
        assert gpu.power_w == said(query, "Instantaneous Power Draw +:")
        assert gpu.power_limit_w == said(query, "Current Power Limit +:")
        assert (gpu.shared is True) == ("MIG Device" in query)
        assert gpu.held == ()
