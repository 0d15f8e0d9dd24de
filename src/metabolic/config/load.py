"""Read TOML and convert it table by table, so that every error names table and key."""

__all__ = ["load", "override", "parse"]

import math
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar, cast

import msgspec

from metabolic.config.actuators import ActuatorsTable
from metabolic.config.admin import AdminTable
from metabolic.config.capacity import CapacityTable
from metabolic.config.check import check
from metabolic.config.delivery import DeliveryTable
from metabolic.config.lanes import LanesTable, PinTable
from metabolic.config.secret import Secret
from metabolic.config.shadow import ShadowTable
from metabolic.config.speculation import SpeculationTable
from metabolic.config.tables import (
    AdapterTable,
    BeliefTable,
    CertificateTable,
    CheckpointTable,
    Config,
    DeploymentTable,
    EnergyTable,
    EnginesTable,
    KeyTable,
    LedgerTable,
    ModelsTable,
    ProfileTable,
    RoutingTable,
    SenseTable,
    ServerTable,
    VirtualTable,
)
from metabolic.config.tasks import TasksTable
from metabolic.config.wrong import explain, unknown
from metabolic.core.errors import ConfigError

T = TypeVar("T", bound=msgspec.Struct)

_TABLES: dict[str, type[msgspec.Struct]] = {
    "server": ServerTable,
    "actuators": ActuatorsTable,
    "admin": AdminTable,
    "profile": ProfileTable,
    "energy": EnergyTable,
    "sense": SenseTable,
    "models": ModelsTable,
    "engines": EnginesTable,
    "capacity": CapacityTable,
    "speculation": SpeculationTable,
    "routing": RoutingTable,
    "delivery": DeliveryTable,
    "lanes": LanesTable,
    "shadow": ShadowTable,
    "tasks": TasksTable,
    "ledger": LedgerTable,
}
"""``[name]`` and the Struct it becomes."""

_ARRAYS: dict[str, tuple[str, type[msgspec.Struct]]] = {
    "key": ("keys", KeyTable),
    "sensor": ("sensors", AdapterTable),
    "meter": ("meters", AdapterTable),
    "actuator": ("limiters", AdapterTable),
    "deployment": ("deployments", DeploymentTable),
    "virtual": ("virtuals", VirtualTable),
    "belief": ("beliefs", BeliefTable),
    "certificate": ("certificates", CertificateTable),
    "checkpoint": ("checkpoints", CheckpointTable),
    "lane": ("pins", PinTable),
}
"""``[[name]]``, the field of ``Config`` that collects it, and the Struct of one entry."""


def load(path: Path | None = None, *, environ: Mapping[str, str] | None = None) -> Config:
    """Return the configuration in ``path``, or the embedded defaults without one.

    ``environ`` is where ``env:NAME`` secrets are looked up (default: the process environment).

    Raises:
        ConfigError: the file cannot be read, or anything in it is wrong.
    """
    if path is None:
        return parse("", source="embedded defaults", environ=environ)
    try:
        text = path.expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        message = f"{path}: cannot be read: {exc}"
        raise ConfigError(message) from exc
    return parse(text, source=str(path), environ=environ)


def parse(text: str, *, source: str, environ: Mapping[str, str] | None = None) -> Config:
    """Return the configuration in ``text``; ``source`` names it in errors.

    Raises:
        ConfigError: naming ``source``, table and key.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        message = f"{source}: not valid TOML: {exc}"
        raise ConfigError(message) from exc
    reader = _Reader(source, os.environ if environ is None else environ)
    config = reader.config(document)
    check(config)
    return config


def override(
    config: Config,
    *,
    host: str | None = None,
    port: int | None = None,
    profile: Literal["auto", "datacenter", "edge", "mcu"] | None = None,
    shadow: str | None = None,
) -> Config:
    """Return ``config`` with the given command-line flags laid over it.

    Raises:
        ConfigError: the result breaks a rule, as a public host without keys does.
    """
    flags: dict[str, object] = {
        "server.host": host,
        "server.port": port,
        "profile.name": profile,
        "shadow.upstream": shadow,
    }
    given = {key: value for key, value in flags.items() if value is not None}
    changed = config
    for key, value in given.items():
        table, field = key.split(".")
        new = msgspec.structs.replace(getattr(changed, table), **{field: value})
        changed = msgspec.structs.replace(changed, **{table: new})
    origins = dict(config.origins) | dict.fromkeys(given, "command line")
    changed = msgspec.structs.replace(changed, origins=tuple(sorted(origins.items())))
    check(changed)
    return changed


class _Reader:
    """Converts one parsed document; holds what every error must name."""

    def __init__(self, source: str, environ: Mapping[str, str]) -> None:
        self._source = source
        self._environ = environ

    def config(self, document: Mapping[str, Any]) -> Config:
        """Return the whole configuration."""
        self._known("", document, (*_TABLES, *_ARRAYS))
        fields: dict[str, Any] = {"source": self._source}
        for name, struct in _TABLES.items():
            if name in document:
                fields[name] = self._table(f"[{name}]", document[name], struct)
        for name, (field, struct) in _ARRAYS.items():
            fields[field] = tuple(self._entries(name, document.get(name, []), struct))
        origins = tuple((key, self._source) for key in sorted(set(_keys(document))))
        return Config(**fields, origins=origins)

    def _entries(self, name: str, entries: object, struct: type[T]) -> Iterator[T]:
        """Convert each entry of ``[[name]]``."""
        double = isinstance(entries, list) and all(
            isinstance(e, dict) for e in cast("list[object]", entries)
        )
        if not double:
            self._fail(f"[[{name}]]", f"write [[{name}]], with double brackets")
        for index, entry in enumerate(cast("list[dict[str, object]]", entries), start=1):
            label = entry.get("name", f"number {index}")
            yield self._table(f"[[{name}]] {label}", entry, struct)

    def _table(self, where: str, table: object, struct: type[T]) -> T:
        """Convert one table; ``where`` is how errors name it."""
        if not isinstance(table, dict):
            self._fail(where, "expected a table")
        content = cast("dict[str, object]", table)
        self._finite(where, content)
        if struct is AdapterTable:
            return cast("T", self._adapter(where, content))
        self._known(where, content, struct.__struct_fields__)
        if struct is RoutingTable:
            content = self._routing(where, content)
        if isinstance(given := content.get("options"), dict):
            content = content | {"options": self._secrets(where, cast("dict[str, object]", given))}
        try:
            return msgspec.convert(content, struct, dec_hook=self._hook)
        except msgspec.ValidationError as exc:
            problem, key = explain(exc, struct)
            raise self._error(f"{where} {key}".strip(), problem) from exc

    def _adapter(self, where: str, table: object) -> AdapterTable:
        """Split ``kind`` from the adapter's own options; a bare string is a kind."""
        if isinstance(table, str):
            return AdapterTable(kind=table, options={})
        if not isinstance(table, dict):
            self._fail(where, "expected a kind, or a table with a kind")
        content = cast("dict[str, object]", table)
        kind = content.get("kind")
        if not isinstance(kind, str) or not kind:
            self._fail(f"{where} kind", "is missing or not a string")
        options = {key: value for key, value in content.items() if key != "kind"}
        return AdapterTable(kind=kind, options=self._secrets(where, options))

    def _routing(self, where: str, table: dict[str, object]) -> dict[str, object]:
        """Read the adapters that ``[routing]`` names."""
        content = dict(table)
        if "classifier" in content:
            content["classifier"] = self._adapter(f"{where} classifier", content["classifier"])
        if "validators" in content:
            entries = content["validators"]
            if not isinstance(entries, list):
                self._fail(f"{where} validators", "expected a list")
            content["validators"] = tuple(
                self._adapter(f"{where} validators", entry)
                for entry in cast("list[object]", entries)
            )
        return content

    def _hook(self, kind: type, value: object) -> object:
        """Make the types that msgspec does not know."""
        if kind is object:
            return value  # an adapter's option, or a secret among them
        if kind is not Secret:
            message = f"Expected `{kind.__name__}`"
            raise NotImplementedError(message)
        if not isinstance(value, str) or not value.startswith("env:"):
            message = 'secrets are written "env:NAME", never in the file itself'
            raise ValueError(message)
        return self._resolve(value)

    def _secrets(self, where: str, options: Mapping[str, object]) -> dict[str, object]:
        """Resolve every ``env:NAME`` among an adapter's options, in tables of them too."""
        return {key: self._secret(where, key, value) for key, value in options.items()}

    def _secret(self, where: str, key: str, value: object) -> object:
        """Resolve one option."""
        if isinstance(value, dict):
            return self._secrets(f"{where} {key}", cast("dict[str, object]", value))
        if not isinstance(value, str) or not value.startswith("env:"):
            return value
        try:
            return self._resolve(value)
        except ValueError as exc:
            at = f"{where} {key}"
            raise self._error(at, str(exc)) from exc

    def _resolve(self, value: str) -> Secret:
        """Look a secret up. Raises ``ValueError`` when the variable is not set."""
        name = value.removeprefix("env:")
        found = self._environ.get(name)
        if not found:
            message = f"the environment variable {name} is not set"
            raise ValueError(message)
        return Secret(name, found)

    def _known(self, where: str, table: Mapping[str, object], known: tuple[str, ...]) -> None:
        """Refuse keys that do not exist, with the nearest that do."""
        for key in table:
            if key in known:
                continue
            what = "key" if where else "table"
            self._fail(f"{where} {key}".strip(), unknown(what, key, known))

    def _finite(self, where: str, table: Mapping[str, object]) -> None:
        """Refuse ``nan`` and ``inf``, which TOML allows and arithmetic does not survive."""
        for key, value in table.items():
            if isinstance(value, float) and not math.isfinite(value):
                self._fail(f"{where} {key}", "must be a finite number")

    def _error(self, where: str, problem: str) -> ConfigError:
        message = f"{self._source}: {where}: {problem}"
        return ConfigError(message)

    def _fail(self, where: str, problem: str) -> NoReturn:
        raise self._error(where, problem)


def _keys(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the dotted name of every key a document sets."""
    for name, content in document.items():
        entries = cast("list[Any]", content) if isinstance(content, list) else [content]
        for table in entries:
            yield from (f"{name}.{key}" for key in table)
