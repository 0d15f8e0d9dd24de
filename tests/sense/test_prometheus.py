"""Exporters: configured metrics become signals."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from metabolic import plugins
from metabolic.core.errors import ConfigError
from metabolic.core.hardware import DeviceState, HardwareState
from metabolic.sense import prometheus, prometheus_meter
from metabolic.sense.prometheus import Options, Rule
from metabolic.testing.sensors import check_meter, check_sensor

KEPLER = """# HELP kepler_node_cpu_watts x
kepler_node_cpu_joules_total{zone="package",path="/a"} 100
kepler_node_cpu_joules_total{zone="package",path="/b"} 50.5
kepler_node_cpu_joules_total{zone="core",path="/a"} 70
kepler_node_cpu_watts{zone="package",path="/a"} 30
kepler_node_cpu_watts{zone="dram",path="/a"} 5
"""
ALL_SMI = """all_smi_gpu_temperature_celsius{gpu="X",index="0"} 65
all_smi_gpu_temperature_celsius{gpu="X",index="1"} 66
all_smi_gpu_power_consumption_watts{gpu="X",index="0"} 400.5
all_smi_gpu_power_consumption_watts{gpu="X",index="1"} NaN
all_smi_gpu_utilization{gpu="X",index="0"} 12.5
all_smi_gpu_memory_used_bytes{gpu="X",index="0"} 1024
all_smi_gpu_memory_total_bytes{gpu="X"} 4096
"""


def _devices(sensor: prometheus.PrometheusSensor) -> dict[str, DeviceState]:
    end_s = time.monotonic() + 10
    while time.monotonic() < end_s:
        devices = sensor.read(HardwareState(taken_at_s=1.0)).devices
        if devices or sensor.obstacles():
            return {device.name: device for device in devices}
        time.sleep(0.01)
    return {}


@pytest.fixture
def scrape(tmp_path: Path) -> Path:
    return tmp_path / "scrape.prom"


def test_kepler_s_packages_are_added_and_its_cores_left_out(scrape: Path) -> None:
    scrape.write_text(KEPLER)
    cpu = _devices(prometheus.create(Options(file=str(scrape), preset="kepler")))["cpu"]
    assert cpu.energy_j is not None
    assert cpu.power_w is not None
    assert (cpu.energy_j.value, cpu.power_w.value) == (150.5, 30.0)
    assert cpu.energy_j.source == "prometheus:kepler_node_cpu_joules_total"


def test_all_smi_s_accelerators_are_devices_of_their_own(scrape: Path) -> None:
    scrape.write_text(ALL_SMI)
    found = _devices(prometheus.create(Options(file=str(scrape), preset="all_smi")))
    assert sorted(found) == ["gpu0", "gpu1"]
    first = found["gpu0"]
    assert first.utilization_ratio is not None
    assert first.utilization_ratio.value == pytest.approx(0.125)
    assert first.memory_total_bytes is None, "its sample has no index"
    assert found["gpu1"].power_w is None, "no number is no reading"


@pytest.mark.parametrize(
    ("preset", "text", "watts"),
    [
        ("scaphandre", "scaph_host_power_microwatts 12500000", 12.5),
        ("ipmi", "ipmi_dcmi_power_consumption_watts 321", 321.0),
    ],
)
def test_hosts_are_nodes(scrape: Path, preset: str, text: str, watts: float) -> None:
    scrape.write_text(text)
    table = {"file": str(scrape), "preset": preset}
    sensor = plugins.sensor("prometheus", table)
    node = sensor.read(HardwareState(taken_at_s=1.0)).devices[0]
    assert node.power_w is not None
    assert (node.kind, node.power_w.value) == ("node", watts)


def test_rules_of_one_s_own_come_first(scrape: Path) -> None:
    scrape.write_text('pdu_watts{outlet="a"} 90\npdu_watts{outlet="b"} 10\nhot{at="x"} 3040\n')
    rules = (
        Rule(metric="pdu_watts", signal="power_w", labels={"outlet": "a"}),
        Rule(metric="pdu_watts", signal="power_w"),
        Rule(metric="hot", signal="temperature_c", scale=0.01, device="{at}", kind="board"),
        Rule(metric="hot", signal="temperature_c", device="y"),
    )
    found = _devices(prometheus.create(Options(file=str(scrape), rules=rules)))
    assert sorted(found) == ["node", "x"], "3040 degrees are none"
    assert found["node"].power_w is not None
    assert found["node"].power_w.value == 90.0
    assert found["x"].temperature_c is not None
    assert found["x"].temperature_c.value == pytest.approx(30.4)


def test_a_scrape_without_the_metrics_says_so(scrape: Path) -> None:
    scrape.write_text("up 1\n")
    sensor = prometheus.create(Options(file=str(scrape), preset="ipmi"))
    assert _devices(sensor) == {}
    assert sensor.obstacles()[0].kind == "configuration"
    gone = prometheus.create(Options(file=str(scrape) + "x", preset="ipmi"))
    assert _devices(gone) == {}
    assert "No such file" in gone.obstacles()[0].what


def test_a_wrong_signal_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="power_kw"):
        plugins.sensor("prometheus", {"rules": [{"metric": "x", "signal": "power_kw"}]})


class _Exporter(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        authorised = self.headers.get("Authorization") == "Bearer t"
        self.send_response(200 if authorised else 403)
        self.end_headers()
        if authorised:
            self.wfile.write(KEPLER.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def exporter() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Exporter) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/metrics"
        server.shutdown()
        thread.join()


def test_an_exporter_is_scraped_with_its_token(exporter: str) -> None:
    sensor = prometheus.create(Options(url=exporter, preset="kepler", token="t"))
    assert "cpu" in _devices(sensor)
    refused = prometheus.create(Options(url=exporter, preset="kepler"))
    assert _devices(refused) == {}
    assert refused.obstacles()[0].kind == "permission"
    sensor.close()
    refused.close()


def test_it_keeps_the_contract(scrape: Path) -> None:
    scrape.write_text(ALL_SMI)
    check_sensor(prometheus.create(Options(file=str(scrape), preset="all_smi")))
    options = prometheus_meter.Options(
        file=str(scrape), preset="all_smi", device="gpu0", domain="gpu"
    )
    check_meter(prometheus_meter.create(options))
