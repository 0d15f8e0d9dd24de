"""What ``nvidia-smi -q`` prints, as XML (``-x``) or as text, as ``Gpu``s.

Both say the same under other names, and drivers have renamed much: power draw was one figure
until 530 or so and is instant and average since, limits moved into a section of their own in 610.
So every figure has a list of places, newest first, and the first with a number counts. ``N/A``,
``[Unknown Error]`` and "Requested functionality has been deprecated" are no numbers.
Source: recorded output of drivers 418 to 610; see docs/hardware.md.
"""

__all__ = ["parse"]

from collections.abc import Iterator, Mapping
from xml.etree import ElementTree as ET

from metabolic.core.errors import SensorError
from metabolic.core.units import ratio_from_percent
from metabolic.sense.nvidia_gpu import Gpu, held_by

Facts = Mapping[str, str]
"""Every line of one GPU: its path in lower case, words joined by ``_``, levels by ``/``."""

_MIB = 1024.0**2
_UNITS = {"C": 1.0, "W": 1.0, "%": 1.0, "MiB": _MIB}

_TEMPERATURE = ("temperature/gpu_temp", "temperature/gpu_current_temp")
_MEMORY = ("temperature/memory_temp", "temperature/memory_current_temp")
_SLOWDOWN = ("temperature/gpu_temp_slow_threshold", "temperature/gpu_slowdown_temp")
_HIGHEST = ("temperature/gpu_temp_max_gpu_threshold", "temperature/gpu_max_operating_temp")
_MEMORY_HIGHEST = (
    "temperature/gpu_temp_max_mem_threshold",
    "temperature/memory_max_operating_temp",
)
_MARGIN = (
    "temperature/gpu_temp_tlimit",
    "temperature/gpu_t.limit_temp",
    "temperature/gpu_current_t.limit_temp",
)
_SLOWDOWN_MARGIN = (
    "temperature/gpu_temp_slow_tlimit_threshold",
    "temperature/gpu_slowdown_t.limit_temp",
)
_POWER = (
    ("gpu_power_readings/instant_power_draw", "instant"),
    ("gpu_power_readings/instantaneous_power_draw", "instant"),
    ("gpu_power_readings/average_power_draw", "average"),
    ("gpu_power_readings/power_draw", "usage"),
    ("power_readings/power_draw", "usage"),
    ("module_power_readings/instant_power_draw", "instant:module"),
    ("module_power_readings/instantaneous_power_draw", "instant:module"),
    ("module_power_readings/average_power_draw", "average:module"),
    ("module_power_readings/power_draw", "usage:module"),
)
_LIMIT = (
    "gpu_power_readings/gpu_ceiling_power_limit/current_power_limit",
    "gpu_power_readings/current_power_limit",
    "power_readings/enforced_power_limit",
    "power_readings/power_limit",
)
_MODULE_LIMIT = ("module_power_readings/current_power_limit",)
_REASONS = (
    "clocks_event_reasons/clocks_event_reason_",
    "clocks_throttle_reasons/clocks_throttle_reason_",
    "clocks_event_reasons/",
    "clocks_event_reasons/hw_slowdown/",
    "clocks_throttle_reasons/",
    "clocks_throttle_reasons/hw_slowdown/",
)
_BITS = {
    "sw_power_cap": 0x04,
    "hw_slowdown": 0x08,
    "sw_thermal_slowdown": 0x20,
    "hw_thermal_slowdown": 0x40,
    "hw_power_brake_slowdown": 0x80,
}
_ACTIVE = {"Active": True, "Not Active": False}


def parse(text: str) -> tuple[Gpu, ...]:
    """Return every GPU, named by its place in the output.

    Raises:
        SensorError: this is neither, or it is cut off.
    """
    body = text.lstrip("\ufeff \t\r\n\0")
    facts = _from_xml(body) if body.startswith("<") else _from_text(body)
    gpus = tuple(_gpu(f"nvidia{index}", one) for index, one in enumerate(facts))
    if not gpus:
        message = f"nvidia-smi shows no GPU: {body[:200].strip() or 'it printed nothing'}"
        raise SensorError(message)
    return gpus


def _from_xml(text: str) -> Iterator[Facts]:
    """Yield the facts of each GPU of ``nvidia-smi -q -x``."""
    try:
        root = ET.fromstring(text.rstrip("\0 \r\n"))  # noqa: S314 - the driver's own tool
    except ET.ParseError as exc:
        message = f"nvidia-smi's XML cannot be read: {exc}"
        raise SensorError(message) from exc
    for gpu in root.iter("gpu"):
        facts: dict[str, str] = {}
        _walk(gpu, "", facts)
        yield facts


def _walk(element: ET.Element, path: str, facts: dict[str, str]) -> None:
    """Collect all leaves below an element; the first of a name counts."""
    for child in element:
        inner = f"{path}{child.tag}"
        if len(child):
            _walk(child, inner + "/", facts)
        else:
            facts.setdefault(inner, (child.text or "").strip())


def _from_text(text: str) -> tuple[Facts, ...]:
    """Return the facts of each GPU of ``nvidia-smi -q``, whose levels are indents.

    Where the same GPU comes again (a log of several runs) the last counts.
    """
    gpus: dict[str, dict[str, str]] = {}
    facts: dict[str, str] | None = None
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        name, colon, value = line.strip().partition(" : ")
        if not name:
            continue
        if indent == 0:
            facts, above = None, []
            if not colon and _is_header(name):
                facts = gpus[name] = {}
            continue
        if facts is None:
            continue
        while above and above[-1][0] >= indent:
            above.pop()
        key = "_".join(name.lower().split())
        facts.setdefault("/".join([*(part for _, part in above), key]), value.strip())
        above.append((indent, key))
    return tuple(gpu for gpu in gpus.values() if gpu)


def _is_header(line: str) -> bool:
    """Say whether a line begins a GPU: ``GPU`` and its place on the bus."""
    words = line.split()
    return len(words) == 2 and words[0] == "GPU" and words[1].count(":") == 2  # noqa: PLR2004


def _gpu(name: str, facts: Facts) -> Gpu:
    """Return one GPU from its facts."""
    mig = facts.get("mig_mode/current_mig") or facts.get("mig_mode/current")
    shared = {"Enabled": True, "Disabled": False}.get(mig or "")
    watts, kind = _power(facts)
    util = _number(facts, "utilization/gpu_util", "utilization/gpu")
    return Gpu(
        name=name,
        uuid=facts.get("uuid") or facts.get("gpu_uuid") or "",
        model=facts.get("product_name") or "",
        shared=shared,
        temperature_c=_number(facts, *_TEMPERATURE),
        memory_c=_number(facts, *_MEMORY),
        slowdown_c=_number(facts, *_SLOWDOWN),
        highest_c=_number(facts, *_HIGHEST),
        memory_highest_c=_number(facts, *_MEMORY_HIGHEST),
        margin_c=_number(facts, *_MARGIN),
        slowdown_margin_c=_number(facts, *_SLOWDOWN_MARGIN),
        held=_held(facts),
        power_w=watts,
        power_kind=kind,
        power_limit_w=_number(facts, *(_MODULE_LIMIT if kind.endswith("module") else _LIMIT)),
        utilization_ratio=None if shared or util is None else ratio_from_percent(util),
        memory_used_bytes=_number(facts, "fb_memory_usage/used"),
        memory_total_bytes=_number(facts, "fb_memory_usage/total"),
    )


def _power(facts: Facts) -> tuple[float | None, str]:
    """Return the power draw, and of which kind it is."""
    for path, kind in _POWER:
        watts = _number(facts, path)
        if watts is not None:
            return watts, kind
    return None, "usage"


def _held(facts: Facts) -> tuple[str, ...] | None:
    """Return what holds the clocks; ``None`` if the tool does not say."""
    bits, known = 0, False
    for prefix in _REASONS:
        for reason, bit in _BITS.items():
            active = _ACTIVE.get(facts.get(prefix + reason, ""))
            known = known or active is not None
            bits |= bit if active else 0
    return held_by(bits) if known else None


def _number(facts: Facts, *paths: str) -> float | None:
    """Return the first of these figures that is a number with a known unit, in SI units."""
    for path in paths:
        words = facts.get(path, "").split()
        scale = _UNITS.get(words[1]) if len(words) == 2 else None  # noqa: PLR2004 - "41 C"
        if scale is None:
            continue
        try:
            return float(words[0]) * scale
        except ValueError:
            continue
    return None
