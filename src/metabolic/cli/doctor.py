"""``metabolic doctor``: everything one asks for when something does not work."""

__all__ = ["Finding", "doctor", "findings"]

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import psutil
from cyclopts import Parameter
from msgspec import Struct

from metabolic import __version__, plugins
from metabolic.cli import senses, show
from metabolic.cli.finding import Finding, Status
from metabolic.cli.limits import limits, restored, sleeping
from metabolic.cli.surroundings import surroundings
from metabolic.config import Config, load
from metabolic.core.errors import MetabolicError
from metabolic.wiring import fleet as wiring_fleet

_PACKAGES = ("uvloop", "httptools", "uvicorn", "aiohttp", "msgspec", "xllamacpp", "huggingface_hub")
_GIB = 1024**3
_MB = 1_000_000
_LOW_MEMORY_BYTES = 1.5 * _GIB
"""Below it the second tier of the default fleet (0.5 GB of weights, its cache) is at risk."""
_LOW_DISK_BYTES = 3 * _GIB
"""The default fleet's files are 1.7 GB, and are verified before they replace anything."""

_HARMLESS = frozenset({"absent", "platform", "library", "asleep"})
"""Reasons not to read that are nobody's fault: the machine has no such thing."""


def doctor(
    *,
    config: Annotated[Path | None, Parameter(env_var="METABOLIC_CONFIG")] = None,
    json: Annotated[bool, Parameter(negative="")] = False,
    restore: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Check configuration, models, sensors and ports; nothing is changed or sent anywhere.

    Args:
        config: The configuration file; without one the embedded defaults are looked at.
        json: Print JSON instead of tables.
        restore: Put back power caps and clocks that a killed gateway left behind, and say so.

    Returns:
        1 when something keeps the gateway from running, else 0.
    """
    given = load(config)
    put_back = tuple(restored(given)) if restore else ()
    found = (*put_back, *findings(given))
    if json:
        show.print_json({"findings": found})
    else:
        _print(found)
    return int(any(finding.status == "fail" for finding in found))


def findings(config: Config) -> Iterator[Finding]:
    """Yield what is found, area by area."""
    yield from _versions()
    yield from _machine(config)
    yield from _models(config)
    yield from _sensors(config)
    yield from sleeping(config)
    yield from limits(config)
    yield from _adapters(config)
    yield from _port(config)
    yield from _settings(config)


def _print(found: tuple[Finding, ...]) -> None:
    console = show.console()
    marks: dict[Status, str] = {"ok": "✓", "note": "·", "warn": "!", "fail": "✗"}
    for area in dict.fromkeys(finding.area for finding in found):
        rows = [(marks[f.status], f.name, f.value) for f in found if f.area == area]
        console.print(show.table(area, ("", "", ""), rows))
    bad = [finding for finding in found if finding.status in {"warn", "fail"}]
    console.print(f"{len(bad)} to look at" if bad else "Nothing to complain of.")


def _versions() -> Iterator[Finding]:
    area = "versions"
    yield Finding(area=area, name="metabolic", value=__version__)
    yield Finding(area=area, name="python", value=f"{platform.python_version()} {sys.executable}")
    yield Finding(area=area, name="platform", value=platform.platform())
    for package in _PACKAGES:
        try:
            yield Finding(area=area, name=package, value=importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            local = package in {"xllamacpp", "huggingface_hub"}
            hint = "not installed; local models need metabolic[local]" if local else "not installed"
            yield Finding(area=area, name=package, value=hint, status="note")


def _machine(config: Config) -> Iterator[Finding]:
    area = "machine"
    cores = psutil.cpu_count(logical=True)
    yield Finding(area=area, name="logical cpus", value=str(cores))
    yield Finding(area=area, name="runs in", value=surroundings(config.sense.root).said())
    memory = psutil.virtual_memory()
    yield Finding(
        area=area,
        name="memory available",
        value=f"{memory.available / _GIB:.1f} of {memory.total / _GIB:.1f} GiB",
        status="ok" if memory.available >= _LOW_MEMORY_BYTES else "warn",
    )
    directory = _existing(wiring_fleet.store_of(config).root)
    free = shutil.disk_usage(directory).free
    yield Finding(
        area=area,
        name="disk free",
        value=f"{free / _GIB:.1f} GiB at {directory}",
        status="ok" if free >= _LOW_DISK_BYTES else "warn",
    )


def _existing(path: Path) -> Path:
    """Return the nearest directory above ``path`` that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _models(config: Config) -> Iterator[Finding]:
    area = "models"
    yield Finding(area=area, name="fleet", value=config.models.fleet)
    if importlib.util.find_spec("xllamacpp") is None and config.models.fleet != "none":
        text = "no engine: install metabolic[local], or name remote deployments only"
        yield Finding(area=area, name="engine", value=text, status="warn")
    for status in wiring_fleet.store_of(config).status():
        value = f"{status.state}, {status.here_bytes / _MB:.0f} MB, {status.path}"
        ready = status.state == "ready"
        name = status.entry.id
        yield Finding(area=area, name=name, value=value, status="ok" if ready else "note")
    for deployment in config.deployments:
        where = deployment.base_url or f"local: {deployment.model}"
        yield Finding(area=area, name=deployment.name, value=where)


def _sensors(config: Config) -> Iterator[Finding]:
    """Yield what each sensor reads, and for what it does not why and what would help."""
    area = "sensors"
    try:
        for found in senses.looked_at(config):
            note = "" if found.used else "not in use: "
            if found.readings:
                value = note + ", ".join(found.readings)
                yield Finding(area=area, name=found.kind, value=value)
            for one in found.obstacles:
                words = one.what + (f"; {one.remedy}" if one.remedy else "")
                bad = found.used and one.kind not in _HARMLESS
                yield Finding(
                    area=area,
                    name=found.kind,
                    value=note + words,
                    status="warn" if bad else "note",
                    why=one.kind,
                    remedy=one.remedy,
                )
    except MetabolicError as exc:
        yield Finding(area=area, name="sensors", value=str(exc), status="fail")


def _adapters(config: Config) -> Iterator[Finding]:
    area = "adapters"
    for group in plugins.GROUPS:
        yield Finding(area=area, name=group, value=", ".join(plugins.kinds(group)))
    wanted = (
        *(("sensors", table) for table in config.sensors),
        *(("meters", table) for table in config.meters),
        ("classifiers", config.routing.classifier),
        *(("validators", table) for table in config.routing.validators),
    )
    for group, table in wanted:
        name = f"{group}: {table.kind}"
        try:
            plugins.options(plugins.load(group, table.kind), table.options, where=name)
        except MetabolicError as exc:
            yield Finding(area=area, name=name, value=str(exc), status="fail")


def _port(config: Config) -> Iterator[Finding]:
    host, port = config.server.host, config.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as exc:
            text = f"{host}:{port}: {os.strerror(exc.errno or 0)}"
            yield Finding(area="network", name="listen", value=text, status="fail")
        else:
            yield Finding(area="network", name="listen", value=f"{host}:{port} is free")


def _settings(config: Config) -> Iterator[Finding]:
    """Yield every setting with who set it."""
    area = "configuration"
    origins = dict(config.origins)
    yield Finding(area=area, name="source", value=config.source)
    for table in config.__struct_fields__:
        value = getattr(config, table)
        if not isinstance(value, Struct):
            continue
        for key in value.__struct_fields__:
            name = f"{table}.{key}"
            text = msgspec.json.encode(getattr(value, key), enc_hook=repr).decode()
            yield Finding(area=area, name=name, value=f"{text}  ({origins.get(name, 'default')})")
    for array, entries in (
        ("key", config.keys),
        ("deployment", config.deployments),
        ("virtual", config.virtuals),
        ("belief", config.beliefs),
        ("sensor", config.sensors),
        ("meter", config.meters),
    ):
        for entry in entries:
            text = msgspec.json.encode(entry, enc_hook=repr).decode()
            yield Finding(area=area, name=f"[[{array}]]", value=f"{text}  ({config.source})")
