"""DCGM-exporter's text, from a server on loopback or a file."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from metabolic.core.hardware import HardwareState
from metabolic.sense import dcgm
from metabolic.sense.nvidia_gpu import Gpu
from metabolic.sense.prometheus_text import parse
from metabolic.testing.sensors import check_sensor

RECORDING = Path(__file__).parents[3] / "shared" / "telemetry" / "dcgm" / "t4-datadog.prom"
EMPTY = HardwareState(taken_at_s=0.0)
ONE = 'gpu="0",UUID="GPU-1",device="nvidia0",modelName="Example T4",Hostname="a"'
TEXT = f"""
# HELP DCGM_FI_DEV_GPU_TEMP GPU temperature (in C).
# TYPE DCGM_FI_DEV_GPU_TEMP gauge
DCGM_FI_DEV_GPU_TEMP{{{ONE}}} 45
DCGM_FI_DEV_MEMORY_TEMP{{{ONE}}} 0
DCGM_FI_DEV_POWER_USAGE{{{ONE}}} 33.25
DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{{{ONE}}} 128996013
DCGM_FI_DEV_GPU_UTIL{{{ONE}}} 75
DCGM_FI_DEV_FB_FREE{{{ONE}}} 15000
DCGM_FI_DEV_FB_USED{{{ONE}}} 100
DCGM_FI_DEV_FB_RESERVED{{{ONE}}} 9
DCGM_FI_DEV_SLOWDOWN_TEMP{{{ONE}}} 93
DCGM_FI_DEV_ENFORCED_POWER_LIMIT{{{ONE}}} 140737488355328
DCGM_FI_DEV_POWER_MGMT_LIMIT{{{ONE}}} 70
DCGM_FI_DEV_CLOCK_THROTTLE_REASONS{{{ONE}}} 4
other_metric 1
"""


def test_figures_by_uuid_in_si_units() -> None:
    assert dcgm.gpus_of(parse(TEXT)) == (
        Gpu(
            name="nvidia0",
            uuid="GPU-1",
            model="Example T4",
            temperature_c=45.0,
            slowdown_c=93.0,
            held=("power_cap",),
            power_w=33.25,
            power_limit_w=70.0,
            energy_j=128996.013,
            utilization_ratio=0.75,
            memory_used_bytes=100 * 2.0**20,
            memory_total_bytes=15109 * 2.0**20,
        ),
    )


def test_a_mig_instance_speaks_for_its_board_only_in_heat_and_power() -> None:
    part = ONE + ',GPU_I_PROFILE="1g.5gb",GPU_I_ID="3"'
    text = "\n".join(
        f"DCGM_FI_DEV_{name}{{{part}}} {value}"
        for name, value in (("GPU_TEMP", 50), ("FB_USED", 10), ("FB_FREE", 90), ("GPU_UTIL", 7))
    )
    (gpu,) = dcgm.gpus_of(parse(text))
    assert (gpu.shared, gpu.temperature_c) == (True, 50.0)
    assert (gpu.memory_used_bytes, gpu.utilization_ratio) == (None, None)


def test_gpus_of_several_hosts_do_not_become_one() -> None:
    two = ONE.replace("GPU-1", "GPU-2").replace('"a"', '"b"')
    text = f"DCGM_FI_DEV_GPU_TEMP{{{ONE}}} 40\nDCGM_FI_DEV_GPU_TEMP{{{two}}} 60\n"
    found = dcgm.gpus_of(parse(text), prefix="rack-")
    assert [(gpu.name, gpu.temperature_c) for gpu in found] == [("rack-0", 40.0), ("rack-1", 60.0)]


@contextmanager
def exporter(answers: list[tuple[int, str]]) -> Generator[str]:
    """Serve these answers on loopback, the last for ever."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its base's name
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/metrics"
        server.shutdown()
        thread.join(5)


def test_an_exporter_is_polled_and_its_counter_made_to_never_fall() -> None:
    fell = TEXT.replace(" 128996013", " 5000")
    with exporter([(200, TEXT), (200, fell)]) as url:
        sensor = dcgm.create(dcgm.Options(url=url))
        assert sensor.wait(5)
        (device,) = sensor.read(EMPTY).devices
        assert device.energy_j is not None
        assert (device.energy_j.value, device.energy_j.source) == (0.0, "dcgm:counter")
        assert device.energy_j.age_s > 0
        fetched = sensor._background.renew(5)
        assert fetched is not None
        assert (fetched.value[0].energy_j, fetched.value[0].energy_epoch) == (0.0, 1)
        assert sensor.obstacles() == ()
        sensor.close()


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [(200, "up 1\n", "configuration"), (404, "", "configuration"), (401, "", "permission")],
)
def test_an_exporter_that_shows_no_gpu_is_an_obstacle(status: int, body: str, kind: str) -> None:
    with exporter([(status, body)]) as url:
        sensor = dcgm.create(dcgm.Options(url=url))
        assert sensor.wait(5)
        assert sensor.read(EMPTY) == EMPTY
        assert [one.kind for one in sensor.obstacles()] == [kind]
        sensor.close()


def test_an_exporter_that_is_not_there_is_unreachable() -> None:
    with exporter([(200, TEXT)]) as url:
        pass
    sensor = dcgm.create(dcgm.Options(url=url))
    assert sensor.wait(10)
    assert [one.kind for one in sensor.obstacles()] == ["unreachable"]
    sensor.close()


def test_it_keeps_the_seam(tmp_path: Path) -> None:
    (tmp_path / "scrape").write_text(TEXT)
    sensor = dcgm.create(dcgm.Options(file=str(tmp_path / "scrape"), prefix="far"))
    assert sensor.wait(5)
    assert [device.name for device in sensor.read(EMPTY).devices] == ["far0"]
    check_sensor(sensor)


@pytest.mark.skipif(not RECORDING.exists(), reason="no recordings here")
def test_a_recorded_scrape() -> None:
    first, *_ = dcgm.gpus_of(parse(RECORDING.read_text()))
    assert first.model == "Tesla T4"
    assert (first.temperature_c, first.power_w) == (25.0, 8.969)
    assert first.energy_j == 128996.013
    assert first.memory_total_bytes == 15109 * 2.0**20
