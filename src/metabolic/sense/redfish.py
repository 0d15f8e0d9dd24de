"""A node's power from its management controller over Redfish.

Whole-node figures: seconds old when they come, shared with whatever else the node does, and
behind credentials. They are a bound on the meters inside, never added to them. A thread reads the
controller every ``every_s``; the age is what has passed since then, to which the controller adds
its own delay (a second or more, which it does not tell).
Source: DMTF DSP0266 and DSP0268.
"""

__all__ = ["Options", "RedfishSensor", "create"]

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
from msgspec import Struct

from metabolic.core.errors import SensorError
from metabolic.core.hardware import HardwareState, Reading
from metabolic.core.obstacle import Obstacle
from metabolic.sense.background import Background
from metabolic.sense.merge import with_device
from metabolic.sense.node_http import Connection, get
from metabolic.sense.redfish_resource import NodeFigures, added, figures, joined

_ROOT = "/redfish/v1/Chassis"
_LINKS = ("EnvironmentMetrics", "Power", "Thermal")
_RETRY_S = 60.0
"""After a failure: a wrong password asked every few seconds locks the account."""


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which controller, and how to reach it.

    ``password`` and ``token`` are written ``"env:NAME"``. ``chassis`` is the member to read (the
    last part of its path); unset takes the first that tells its power, since chassis contain one
    another. ``files`` are recorded resources, read instead.
    """

    url: str = ""
    username: str | None = None
    password: str | None = None
    token: str | None = None
    ca_file: str | None = None
    verify_tls: bool = True
    chassis: str | None = None
    device: str = "node"
    every_s: float = 5.0
    stale_s: float = 30.0
    timeout_s: float = 10.0
    files: tuple[str, ...] = ()


class RedfishSensor:
    """Reads one node."""

    name = "redfish"

    def __init__(self, options: Options) -> None:
        """Ask nothing yet."""
        self._options = options
        paced = options.every_s
        self._background = Background(
            _files(options.files) if options.files else _Controller(options).read,
            name=f"redfish {options.url}",
            every_s=paced,
            stale_s=options.stale_s,
            retry_s=max(paced, _RETRY_S),
        )
        if options.files:
            self._background.wait(options.timeout_s)

    def read(self, state: HardwareState) -> HardwareState:
        """Return the state with the node's power, energy, limit and hottest place."""
        found = self._background.latest()
        if found is None:
            return state
        node, age_s = found.value, found.age_s

        def reading(value: float | None, source: str) -> Reading | None:
            if value is None:
                return None
            return Reading(value=value, origin="measured", source=source, age_s=age_s)

        place = f"redfish:{node.place}"
        return with_device(
            state,
            self._options.device,
            kind="node",
            power_w=reading(node.power_w, self.name),
            power_limit_w=reading(node.power_limit_w, self.name),
            energy_j=reading(node.energy_j, self.name),
            temperature_c=reading(node.temperature_c, place),
            limit_c=reading(node.limit_c, f"{place} critical"),
        )

    def obstacles(self) -> tuple[Obstacle, ...]:
        """Return why there is nothing."""
        problem = self._background.problem()
        return () if problem is None else (problem,)

    def close(self) -> None:
        """Stop asking."""
        self._background.close()


class _Controller:
    """Finds the chassis once and reads its resources."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._base = options.url.rstrip("/")
        self._paths: tuple[str, ...] | None = None
        self._connection = Connection(
            username=options.username,
            password=options.password,
            token=options.token,
            ca_file=options.ca_file,
            verify_tls=options.verify_tls,
            timeout_s=options.timeout_s,
        )

    def read(self) -> NodeFigures:
        """Return the node's figures now. Raises ``SensorError``."""
        if not self._base:
            what = "redfish has no url"
            remedy = 'name the controller: url = "https://bmc.example"'
            raise SensorError(what, Obstacle(kind="configuration", what=what, remedy=remedy))
        if self._paths is None:
            self._paths = self._find()
        parts = tuple(figures(self._get(path)) for path in self._paths)
        thermal = tuple(p for p in parts if p.power_w is None)
        powers = tuple(p for p in parts if p.power_w is not None)
        supplies = all("/PowerSupplies/" in path for path in self._paths if "Thermal" not in path)
        whole = joined(((added(powers),) if supplies and powers else powers) + thermal)
        return _something(whole, where=self._base)

    def _find(self) -> tuple[str, ...]:
        """Return the resources of the first chassis that tells its power."""
        for path in self._members(_ROOT):
            if self._options.chassis not in {None, path.rstrip("/").rpartition("/")[2]}:
                continue
            chassis = self._get(path)
            links = [_link(chassis, name) for name in _LINKS]
            known = [link for link in links if link]
            supplies = self._supplies(_link(chassis, "PowerSubsystem"))
            resources = (*known, *([] if any(map(self._tells_power, known)) else supplies))
            if any(map(self._tells_power, resources)):
                return tuple(resources)
        what = f"{self._base}: no chassis tells its power"
        raise SensorError(what, Obstacle(kind="absent", what=what))

    def _supplies(self, subsystem: str | None) -> list[str]:
        """Return the metrics of every power supply."""
        if subsystem is None:
            return []
        listed = _link(self._get(subsystem), "PowerSupplies")
        found = [_link(self._get(path), "Metrics") for path in self._members(listed or "")]
        return [path for path in found if path]

    def _tells_power(self, path: str) -> bool:
        """Say whether a resource holds the power drawn."""
        return figures(self._get(path)).power_w is not None

    def _members(self, path: str) -> list[str]:
        """Return the members of a collection."""
        if not path:
            return []
        listed: object = self._get(path).get("Members")
        members = cast("list[object]", listed) if isinstance(listed, list) else []
        found = [_link({"m": member}, "m") for member in members]
        return [member for member in found if member]

    def _get(self, path: str) -> dict[str, Any]:
        """Return one resource. Raises ``SensorError``."""
        return _decoded(get(self._base + path, self._connection), path)


def _link(table: Mapping[str, Any], name: str) -> str | None:
    """Return where a link leads; only paths of this service are followed."""
    target: object = table.get(name)
    path = cast("dict[str, object]", target).get("@odata.id") if isinstance(target, dict) else None
    return path if isinstance(path, str) and path.startswith("/redfish/") else None


def _decoded(data: bytes, where: str) -> dict[str, Any]:
    """Return a JSON object. Raises ``SensorError``."""
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError) as exc:
        what = f"{where} is no JSON object"
        raise SensorError(what, Obstacle(kind="configuration", what=what)) from exc


def _files(files: tuple[str, ...]) -> Callable[[], NodeFigures]:
    """Return what reads recorded resources as one node's."""

    def read() -> NodeFigures:
        try:
            parts = [figures(_decoded(Path(file).read_bytes(), file)) for file in files]
        except OSError as exc:
            what = f"{exc.filename}: {exc.strerror}"
            raise SensorError(what, Obstacle(kind="configuration", what=what)) from exc
        return _something(joined(tuple(parts)), where=" and ".join(files))

    return read


def _something(node: NodeFigures, *, where: str) -> NodeFigures:
    """Return figures of which there is at least one. Raises ``SensorError``."""
    if node == NodeFigures():
        what = f"{where}: nothing of power, energy or heat"
        raise SensorError(what, Obstacle(kind="absent", what=what))
    return node


def create(options: Options) -> RedfishSensor:
    """Return the sensor."""
    return RedfishSensor(options)
