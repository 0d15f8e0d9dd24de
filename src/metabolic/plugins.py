"""Adapters by name: built-ins and strangers through the same door, each imported only if named.

An adapter is a module (or any object) with two names: ``Options``, a frozen Struct, and
``create``. Built-ins are listed below; a stranger names its module under
``[project.entry-points."metabolic.<group>"]``. Sensors, meters, classifiers, validators and
ledgers are made by ``create(options)``; backends and hands by ``create(options, endpoint=...)``;
engines by ``create(options, spec=...)``.
"""

__all__ = [
    "BUILTIN",
    "GROUPS",
    "Plugin",
    "actuator",
    "backend",
    "classifier",
    "engine",
    "hand",
    "kinds",
    "ledger",
    "load",
    "meter",
    "options",
    "relay",
    "sensor",
    "traits",
    "validator",
]

import difflib
import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

import msgspec

from metabolic.config import Secret
from metabolic.core.engine import EngineTraits
from metabolic.core.errors import ConfigError
from metabolic.core.fleet import Endpoint, LaunchSpec
from metabolic.core.ports import (
    Actuator,
    Backend,
    Classifier,
    Engine,
    Ledger,
    Meter,
    Sensor,
    Validator,
)
from metabolic.core.relay import Relay

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

BUILTIN: Mapping[str, Mapping[str, str]] = {
    "actuators": {
        "fake": "metabolic.actuate.fake",
        "nvidia_smi": "metabolic.actuate.nvidia_smi",
        "nvml": "metabolic.actuate.nvml",
        "rapl": "metabolic.actuate.rapl",
    },
    "sensors": {
        "amd": "metabolic.sense.amd",
        "amd_smi": "metabolic.sense.amd_smi",
        "apple_pressure": "metabolic.sense.apple_pressure",
        "battery": "metabolic.sense.battery",
        "dcgm": "metabolic.sense.dcgm",
        "fake": "metabolic.sense.fake",
        "host": "metabolic.sense.host",
        "hwmon": "metabolic.sense.hwmon",
        "intel": "metabolic.sense.intel",
        "jetson": "metabolic.sense.jetson",
        "macmon": "metabolic.sense.macmon",
        "nvidia": "metabolic.sense.nvidia",
        "nvidia_smi": "metabolic.sense.nvidia_smi",
        "powermetrics": "metabolic.sense.powermetrics",
        "prometheus": "metabolic.sense.prometheus",
        "rapl": "metabolic.sense.rapl",
        "redfish": "metabolic.sense.redfish",
        "tegrastats": "metabolic.sense.tegrastats",
        "thermal": "metabolic.sense.thermal",
    },
    "meters": {
        "amd": "metabolic.sense.amd_meter",
        "fake": "metabolic.sense.fake_meter",
        "intel": "metabolic.sense.intel_meter",
        "jetson": "metabolic.sense.jetson_meter",
        "macmon": "metabolic.sense.macmon_meter",
        "modelled": "metabolic.sense.modelled",
        "nvidia": "metabolic.sense.nvidia_meter",
        "prometheus": "metabolic.sense.prometheus_meter",
        "rapl": "metabolic.sense.rapl_meter",
        "redfish": "metabolic.sense.redfish_meter",
    },
    "classifiers": {
        "fake": "metabolic.classify.fake",
        "learned": "metabolic.classify.learned",
        "rules": "metabolic.classify.rules",
    },
    "backends": {
        "anthropic": "metabolic.backends.anthropic",
        "fake": "metabolic.backends.fake",
        "openai": "metabolic.backends.openai",
    },
    "validators": {
        "confidence": "metabolic.validate.confidence",
        "content": "metabolic.validate.content",
        "fake": "metabolic.validate.fake",
        "grounding": "metabolic.validate.grounding",
        "judge": "metabolic.validate.judge",
        "learned": "metabolic.validate.learned",
        "shape": "metabolic.validate.shape",
    },
    "engines": {
        "external": "metabolic.engines.external",
        "fake": "metabolic.engines.fake",
        "llamacpp": "metabolic.engines.llamacpp",
    },
    "hands": {
        "command": "metabolic.engines.hand_command",
        "fake": "metabolic.engines.hand_fake",
        "llama_swap": "metabolic.engines.hand_llama_swap",
        "ollama": "metabolic.engines.hand_ollama",
        "systemd": "metabolic.engines.hand_systemd",
        "vllm": "metabolic.engines.hand_vllm",
    },
    "ledgers": {
        "jsonl": "metabolic.ledger.jsonl",
        "memory": "metabolic.ledger.memory",
        "sqlite": "metabolic.ledger.sqlite",
    },
}
"""Group → kind → module."""

GROUPS = tuple(BUILTIN)


class Plugin(Protocol):
    """What an adapter's module offers."""

    Options: type[msgspec.Struct]
    create: Callable[..., Any]


def load(group: str, kind: str) -> Plugin:
    """Return the adapter ``kind`` of ``group``, importing it alone.

    Raises:
        ConfigError: no such adapter (the message lists those that exist), or it cannot be
            imported, or it is not an adapter.
    """
    target = BUILTIN[group].get(kind)
    try:
        found = _resolve(target) if target else _stranger(group, kind)
    except ImportError as exc:
        message = f'{group}: "{kind}" cannot be imported: {exc}'
        raise ConfigError(message) from exc
    if found is None:
        known = kinds(group)
        near = difflib.get_close_matches(kind, known, n=1)
        hint = f' (did you mean "{near[0]}"?)' if near else ""
        message = f'{group}: there is no "{kind}"{hint}; known: {", ".join(known)}'
        raise ConfigError(message)
    if not (hasattr(found, "Options") and hasattr(found, "create")):
        message = f'{group}: "{kind}" is no adapter: it must offer Options and create'
        raise ConfigError(message)
    return cast("Plugin", found)


def kinds(group: str) -> tuple[str, ...]:
    """Return the names of every adapter of ``group``, built in or installed, sorted."""
    return tuple(sorted({*BUILTIN[group], *(point.name for point in _entry_points(group))}))


def options(plugin: Plugin, table: Mapping[str, object], *, where: str) -> msgspec.Struct:
    """Convert a configuration table to the adapter's ``Options``; ``where`` names it in errors.

    Raises:
        ConfigError: an option is unknown or of the wrong type.
    """
    known = plugin.Options.__struct_fields__
    for key in table:
        if key not in known:
            listed = ", ".join(known) or "none"
            message = f"{where} {key}: unknown option; known: {listed}"
            raise ConfigError(message)
    try:
        return msgspec.convert(_revealed(table), plugin.Options)
    except msgspec.ValidationError as exc:
        message = f"{where}: {exc}"
        raise ConfigError(message) from exc


def _revealed(value: object) -> object:
    """Return options with their secrets in the clear, in tables of them too."""
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, Mapping):
        table = cast("Mapping[str, object]", value)
        return {key: _revealed(item) for key, item in table.items()}
    return value


def sensor(kind: str, table: Mapping[str, object] | None = None) -> Sensor:
    """Return a sensor. Raises ``ConfigError``."""
    return cast("Sensor", _create("sensors", kind, table))


def actuator(kind: str, table: Mapping[str, object] | None = None) -> Actuator:
    """Return what sets limits of the machine. Raises ``ConfigError``."""
    return cast("Actuator", _create("actuators", kind, table))


def meter(kind: str, table: Mapping[str, object] | None = None) -> Meter:
    """Return an energy meter. Raises ``ConfigError``."""
    return cast("Meter", _create("meters", kind, table))


def classifier(kind: str, table: Mapping[str, object] | None = None) -> Classifier:
    """Return a classifier. Raises ``ConfigError``."""
    return cast("Classifier", _create("classifiers", kind, table))


def validator(kind: str, table: Mapping[str, object] | None = None) -> Validator:
    """Return a validator. Raises ``ConfigError``."""
    return cast("Validator", _create("validators", kind, table))


def ledger(kind: str, table: Mapping[str, object] | None = None) -> Ledger:
    """Return a ledger. Raises ``ConfigError``."""
    return cast("Ledger", _create("ledgers", kind, table))


def backend(kind: str, table: Mapping[str, object] | None = None, *, endpoint: Endpoint) -> Backend:
    """Return a backend that talks to ``endpoint``. Raises ``ConfigError``."""
    return cast("Backend", _create("backends", kind, table, endpoint=endpoint))


def traits(name: str) -> EngineTraits:
    """Return what differs at an engine from OpenAI's API. Raises ``ConfigError``."""
    found = importlib.import_module("metabolic.backends.traits")
    return cast("EngineTraits", found.find(name))


def relay(endpoint: Endpoint) -> Relay:
    """Return what passes requests on to ``endpoint`` as they are. Raises ``ConfigError``."""
    found = importlib.import_module("metabolic.backends.relay")
    return cast("Relay", found.create(endpoint))


def engine(kind: str, table: Mapping[str, object] | None = None, *, spec: LaunchSpec) -> Engine:
    """Return an engine that can start ``spec``. Raises ``ConfigError``."""
    return cast("Engine", _create("engines", kind, table, spec=spec))


def hand(kind: str, table: Mapping[str, object] | None = None, *, endpoint: Endpoint) -> Engine:
    """Return the engine at ``endpoint`` that a hand wakes and puts to sleep.

    Raises:
        ConfigError: no such hand, or an option it does not have.
    """
    return cast("Engine", _create("hands", kind, table, endpoint=endpoint))


def _create(group: str, kind: str, table: Mapping[str, object] | None, **context: object) -> object:
    """Load, convert the options, make it."""
    plugin = load(group, kind)
    made: object = plugin.create(options(plugin, table or {}, where=f'{group} "{kind}"'), **context)
    return made


def _resolve(target: str) -> object:
    """Import ``module`` or ``module:name``."""
    module, _, name = target.partition(":")
    found: object = importlib.import_module(module)
    return getattr(found, name) if name else found


def _stranger(group: str, kind: str) -> object | None:
    """Import an installed package's adapter; ``None`` when nobody offers ``kind``."""
    for point in _entry_points(group):
        if point.name == kind:
            return cast("object", point.load())
    return None


def _entry_points(group: str) -> "tuple[EntryPoint, ...]":
    """Return what installed packages offer; asked at each start, never cached."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - 20 ms that a built-in saves

    return tuple(entry_points(group=f"metabolic.{group}"))
