"""Nodes over Redfish: what is read, what is refused, and what a failure says."""

import base64
import json
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from metabolic.core.hardware import DeviceState, HardwareState
from metabolic.sense import redfish, redfish_meter
from metabolic.sense.redfish_resource import NodeFigures, added, figures, joined
from metabolic.testing.sensors import check_meter, check_sensor

AT_S = 1_700_000_000.0
CHASSIS = "/redfish/v1/Chassis"
POWER: dict[str, Any] = {
    "PowerControl": [
        {"PowerConsumedWatts": None},
        {"PowerConsumedWatts": 429, "PowerLimit": {"LimitInWatts": 700}},
        {"PowerConsumedWatts": 80},
    ]
}
THERMAL: dict[str, Any] = {
    "Temperatures": [
        {"Name": "Inlet", "ReadingCelsius": 19, "UpperThresholdCritical": 42},
        {"Name": "CPU1", "ReadingCelsius": 70, "UpperThresholdCritical": 85},
        {
            "Name": "CPU2",
            "ReadingCelsius": 84,
            "UpperThresholdCritical": 85,
            "Status": {"State": "Absent"},
        },
        {"Name": "No limit", "ReadingCelsius": 99},
    ]
}
TREE: dict[str, Any] = {
    CHASSIS: {"Members": [{"@odata.id": f"{CHASSIS}/0"}, {"@odata.id": f"{CHASSIS}/1"}]},
    f"{CHASSIS}/0": {"Id": "0"},
    f"{CHASSIS}/1": {
        "Power": {"@odata.id": f"{CHASSIS}/1/Power"},
        "Thermal": {"@odata.id": f"{CHASSIS}/1/Thermal"},
    },
    f"{CHASSIS}/1/Power": POWER,
    f"{CHASSIS}/1/Thermal": THERMAL,
}
SUPPLIES: dict[str, Any] = {
    CHASSIS: {"Members": [{"@odata.id": f"{CHASSIS}/1"}]},
    f"{CHASSIS}/1": {"PowerSubsystem": {"@odata.id": f"{CHASSIS}/1/PowerSubsystem"}},
    f"{CHASSIS}/1/PowerSubsystem": {"PowerSupplies": {"@odata.id": f"{CHASSIS}/1/PS"}},
    f"{CHASSIS}/1/PS": {"Members": [{"@odata.id": f"{CHASSIS}/1/PS/a"}]},
    f"{CHASSIS}/1/PS/a": {
        "Metrics": {"@odata.id": f"{CHASSIS}/1/PowerSubsystem/PowerSupplies/a/Metrics"}
    },
    f"{CHASSIS}/1/PowerSubsystem/PowerSupplies/a/Metrics": {
        "InputPowerWatts": {"Reading": 937.5},
        "EnergykWh": {"Reading": 2.0},
    },
}


class _Bmc(ThreadingHTTPServer):
    """Answers a tree of resources to whom the password is known."""

    daemon_threads = True

    def __init__(self, tree: dict[str, Any]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.tree = tree
        self.word = "Basic " + base64.b64encode(b"reader:secret").decode()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, _Bmc)
        if self.headers.get("Authorization") != server.word:
            self.send_error(401)
            return
        found = server.tree.get(self.path)
        if isinstance(found, str):
            self.send_response(302)
            self.send_header("Location", found)
            self.end_headers()
            return
        if found is None:
            self.send_error(404)
            return
        body = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def bmc() -> Iterator[_Bmc]:
    with _Bmc(dict(TREE)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _options(at: str, **more: Any) -> redfish.Options:
    table: dict[str, Any] = {"url": at, "username": "reader", "password": "secret"}
    return redfish.Options(**(table | more))


def _until(sensor: redfish.RedfishSensor) -> DeviceState | None:
    end_s = time.monotonic() + 10
    while time.monotonic() < end_s:
        devices = sensor.read(HardwareState(taken_at_s=AT_S)).devices
        if devices or sensor.obstacles():
            return devices[0] if devices else None
        time.sleep(0.01)
    return None


def test_a_node_s_power_limit_and_hottest_place_are_read(bmc: _Bmc) -> None:
    sensor = redfish.create(_options(bmc.url))
    node = _until(sensor)
    assert node is not None
    assert (node.name, node.kind) == ("node", "node")
    assert node.power_w is not None
    assert (node.power_w.value, node.power_w.origin) == (429.0, "measured")
    assert node.power_w.age_s >= 0
    assert node.power_limit_w is not None
    assert node.power_limit_w.value == 700.0
    assert node.temperature_c is not None
    assert node.limit_c is not None
    assert (node.temperature_c.value, node.limit_c.value) == (70.0, 85.0)
    assert node.temperature_c.source == "redfish:CPU1"
    sensor.close()


def test_supplies_speak_where_the_chassis_does_not(bmc: _Bmc) -> None:
    bmc.tree = SUPPLIES
    sensor = redfish.create(_options(bmc.url))
    node = _until(sensor)
    assert node is not None
    assert node.power_w is not None
    assert node.energy_j is not None
    assert (node.power_w.value, node.energy_j.value) == (937.5, 7_200_000.0)
    sensor.close()


def test_a_named_chassis_is_the_one_that_is_read(bmc: _Bmc) -> None:
    sensor = redfish.create(_options(bmc.url, chassis="0"))
    assert _until(sensor) is None
    (obstacle,) = sensor.obstacles()
    assert (obstacle.kind, "no chassis tells its power" in obstacle.what) == ("absent", True)
    sensor.close()


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"password": "wrong"}, "permission"),
        ({"url": "http://127.0.0.1:1"}, "unreachable"),
        ({"url": ""}, "configuration"),
        ({"ca_file": "/nonexistent", "url": "https://127.0.0.1:1"}, "configuration"),
    ],
)
def test_a_failure_says_what_to_do_and_never_the_password(
    bmc: _Bmc, options: dict[str, Any], kind: str
) -> None:
    sensor = redfish.create(_options(bmc.url, **options))
    assert _until(sensor) is None
    (obstacle,) = sensor.obstacles()
    assert obstacle.kind == kind
    assert "secret" not in str(obstacle)
    assert "wrong" not in str(obstacle)
    sensor.close()


def test_credentials_follow_no_redirect(bmc: _Bmc) -> None:
    bmc.tree = {CHASSIS: "http://127.0.0.1:1/elsewhere"}
    sensor = redfish.create(_options(bmc.url))
    assert _until(sensor) is None
    assert "302" in sensor.obstacles()[0].what
    sensor.close()


def test_a_certificate_is_checked_unless_told_not_to(bmc: _Bmc, tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    bmc.socket = context.wrap_socket(bmc.socket, server_side=True)
    url = bmc.url.replace("http:", "https:")
    strict = redfish.create(_options(url))
    assert _until(strict) is None
    assert "ca_file" in strict.obstacles()[0].remedy
    for trusting in ({"ca_file": str(bundle)}, {"verify_tls": False}):
        sensor = redfish.create(_options(url, **trusting))
        assert _until(sensor) is not None
        sensor.close()
    strict.close()


def test_environment_metrics_are_read_as_they_are_excerpted() -> None:
    found = figures(
        {
            "PowerWatts": {"Reading": 374.5},
            "EnergyJoules": {"Reading": 1200.0},
            "EnergykWh": {"Reading": 9.0},
            "PowerLimitWatts": {"SetPoint": 500, "ControlMode": "Automatic"},
        }
    )
    assert found == NodeFigures(power_w=374.5, energy_j=1200.0, power_limit_w=500.0)
    assert figures({"PowerLimitWatts": {"SetPoint": 5, "ControlMode": "Disabled"}}) == NodeFigures()


@pytest.mark.parametrize(
    "odd", [None, 0, -3, "N/A", True, [], {}, 1e9, [None], [{"PowerConsumedWatts": "x"}]]
)
def test_odd_values_are_no_reading(odd: object) -> None:
    for key in ("PowerControl", "PowerWatts", "EnergykWh", "Temperatures", "PowerLimitWatts"):
        assert figures({key: odd}) == NodeFigures()
        assert figures({key: {"Reading": odd}}).power_w is None


def test_the_first_resource_that_knows_a_figure_says_it() -> None:
    whole = joined((NodeFigures(power_w=1.0), NodeFigures(power_w=2.0, energy_j=3.0)))
    assert whole == NodeFigures(power_w=1.0, energy_j=3.0)
    both = added((NodeFigures(power_w=1.0, energy_j=3.0), NodeFigures(power_w=2.0)))
    assert both == NodeFigures(power_w=3.0), "one supply's joules alone are not the node's"


def test_recorded_resources_are_read_by_the_same_code(tmp_path: Path) -> None:
    power, thermal = tmp_path / "power.json", tmp_path / "thermal.json"
    power.write_text(json.dumps(POWER))
    thermal.write_text(json.dumps(THERMAL))
    options = redfish.Options(files=(str(power), str(thermal)))
    node = _until(redfish.create(options))
    assert node is not None
    assert node.power_w is not None
    assert node.limit_c is not None
    assert (node.power_w.value, node.limit_c.value) == (429.0, 85.0)
    check_sensor(redfish.create(options))
    check_meter(redfish_meter.create(options))
    power.write_text("[]")
    broken = redfish.create(options)
    assert _until(broken) is None
    assert broken.obstacles()[0].kind == "configuration"


def test_the_meter_covers_the_node(tmp_path: Path) -> None:
    power = tmp_path / "power.json"
    power.write_text(json.dumps(POWER))
    meter = redfish_meter.create(redfish.Options(files=(str(power),)))
    reading = meter.read(())
    assert meter.domain == "node"
    assert reading is not None
    assert reading.origin == "derived"
    meter.close()
