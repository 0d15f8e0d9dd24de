"""Find recordings of hardware in a folder by what they hold, wherever they lie.

A recording is a file that a tool wrote, or a tree of kernel files. Its kind is told by its
content, never by its name; what nobody knows is ``unknown`` and reported as such. Licences,
readmes, tables and programs are no recordings.
"""

__all__ = ["Recording", "find", "materialise"]

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

_NOT_RECORDINGS = (".md", ".py", ".c", ".h", ".csv", ".toml", ".sh", ".lock")
_NOT_NAMES = re.compile(r"(?i)^(licen[cs]e|readme|notice|copying|changelog)")
_LARGEST_BYTES = 32 * 1024 * 1024
_SECTION = re.compile(r"^#+\n# (?P<name>[^\n]+?) :: query \(-q\)\n#[^\n]*\n#+\n", re.MULTILINE)
_RULE = re.compile(r"^#{20,}$", re.MULTILINE)
_KINDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("nvidia_smi", re.compile(r"<nvidia_smi_log|={5,}NVSMI LOG={5,}")),
    (
        "powermetrics",
        re.compile(r"\*\*\* Sampled system activity|<key>(is_delta|elapsed_ns)</key>"),
    ),
    ("plist", re.compile(r"<!DOCTYPE plist|<plist")),
    ("dcgm", re.compile(r"^DCGM_FI_", re.MULTILINE)),
    (
        "prometheus",
        re.compile(r"^(kepler_node_|scaph_host_|ipmi_dcmi_|all_smi_gpu_)", re.MULTILINE),
    ),
    ("tegrastats", re.compile(r"\bRAM \d+/\d+MB\b.*\b(GR3D_FREQ|cpu@|CPU@)")),
    ("psi", re.compile(r"^some avg10=[\d.]+ avg60=")),
    ("pressure_level", re.compile(r"com\.apple\.system\.thermalpressurelevel \d")),
)


class Recording(Struct, frozen=True, kw_only=True):
    """One recording: its kind, its place, and the digest that expectation and reading share.

    ``text`` is what a tool wrote, for files and for parts of one; a tree has none.
    """

    kind: str
    name: str
    path: Path
    digest: str
    text: str = ""


def find(folder: Path) -> tuple[Recording, ...]:
    """Return every recording below ``folder``, in the order of their names."""
    found: list[Recording] = []
    trees = tuple(_trees(folder))
    for root, kind in trees:
        digest = hashlib.sha256()
        for path in sorted(p for p in root.rglob("*") if p.is_file()):
            digest.update(str(path.relative_to(root)).encode())
            digest.update(path.read_bytes())
        name = root.relative_to(folder).as_posix()
        found.append(Recording(kind=kind, name=name, path=root, digest=digest.hexdigest()))
    inside = tuple(root for root, _ in trees)
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        if any(root in path.parents for root in inside) or not _may_be(path):
            continue
        found += _of_file(path, path.relative_to(folder).as_posix())
    return tuple(sorted(found, key=lambda one: one.name))


def materialise(recording: Recording, into: Path) -> Path:
    """Write a recording where a sensor can read it; return the file, or the tree's root.

    Links that were stored as text become links again; a graphics card's folder is put where the
    kernel has it.
    """
    if recording.kind not in {"host", "card"}:
        into.mkdir(parents=True, exist_ok=True)
        suffix = Path(recording.path.name).suffix or ".txt"
        file = into / f"recording{suffix}"
        if recording.text:
            file.write_text(recording.text, encoding="utf-8")
        else:
            file.write_bytes(recording.path.read_bytes())
        if recording.kind == "psi":
            return _placed(file, into, recording.path.name)
        return file
    base = into / "sys/class/drm" if recording.kind == "card" else into
    for path in sorted(recording.path.rglob("*")):
        inner = base / path.relative_to(recording.path)
        if not path.is_file():
            continue
        inner.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes()
        if content.startswith(b"../") and b"\n" not in content.strip():
            inner.symlink_to(content.decode().strip("\0\n "))
        else:
            inner.write_bytes(content)
    return into


def _placed(file: Path, into: Path, name: str) -> Path:
    """Put a pressure file where the kernel has it; which one it is only its name tells."""
    resource = next((r for r in ("memory", "io", "cpu") if r in name.lower()), "cpu")
    target = into / "root/proc/pressure" / resource
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(file.read_bytes())
    return into / "root"


def _trees(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield the roots of kernel trees: a machine's (``sys``, ``proc``), or a card's alone."""
    taken: list[Path] = []
    for path in sorted((folder, *(p for p in folder.rglob("*") if p.is_dir()))):
        if any(root == path or root in path.parents for root in taken):
            continue
        if (path / "sys/class").is_dir() or (path / "proc/pressure").is_dir():
            taken.append(path)
            yield path, "host"
        elif any((child / "device").is_dir() for child in path.glob("card[0-9]*")):
            taken.append(path)
            yield path, "card"


def _may_be(path: Path) -> bool:
    """Say whether a file may be a recording at all."""
    if path.suffix.lower() in _NOT_RECORDINGS or _NOT_NAMES.match(path.name):
        return False
    return "prototypes" not in path.parts and 0 < path.stat().st_size <= _LARGEST_BYTES


def _of_file(path: Path, name: str) -> list[Recording]:
    """Return the recordings in one file: one, or a capture's several."""
    data = path.read_bytes()
    text = data.decode("utf-8", "replace")
    digest = hashlib.sha256(data).hexdigest()
    kind = _kind(text, path.name)
    parts = _parts(kind, text)
    if not parts:
        return [Recording(kind=kind, name=name, path=path, digest=digest)]
    return [
        Recording(
            kind=kind,
            name=f"{name}#{label}",
            path=path,
            digest=f"{digest}#{label}",
            text=part,
        )
        for label, part in parts
    ]


def _parts(kind: str, text: str) -> list[tuple[str, str]]:
    """Return the samples of a recording that holds several, each under its label."""
    if kind == "nvidia_smi":
        found: list[tuple[str, str]] = []
        for section in _SECTION.finditer(text):
            end = _RULE.search(text, section.end())
            part = text[section.end() : end.start() if end else len(text)]
            found.append((section["name"].strip(), part))
        return found
    parts: list[str] = []
    if kind == "powermetrics":
        parts = re.split(r"^(?=\*\*\* Sampled system activity)", text, flags=re.MULTILINE)
        parts = parts[1:] if len(parts) > 1 else [p for p in text.split("\0") if p.strip()]
    elif kind in {"tegrastats", "macmon"} and not text.lstrip().startswith("{\n"):
        parts = [line + "\n" for line in text.splitlines() if line.strip()]
    return [(str(n), part) for n, part in enumerate(parts, 1)] if len(parts) > 1 else []


def _kind(text: str, name: str) -> str:
    """Return the kind of a file by its content."""
    if text.lstrip()[:1] in {"{", "["}:
        return _json_kind(text)
    for kind, mark in _KINDS:
        if mark.search(text):
            return kind
    return "psi" if name in {"cpu", "memory", "io"} and "avg10=" in text else "unknown"


def _json_kind(text: str) -> str:
    """Return the kind of a JSON file, or of JSON lines."""
    try:
        root = msgspec.json.decode(text.encode(), type=dict[str, object] | list[object])
    except msgspec.DecodeError:
        line = text.splitlines()[0]
        return "macmon" if '"cpu_power"' in line and '"temp"' in line else "unknown"
    if isinstance(root, list) or "gpu_data" in root:
        return "amd_smi" if '"gpu"' in text else "unknown"
    keys = set(root)
    if any(re.fullmatch(r"card\d+", key) for key in keys):
        return "rocm_smi"
    if {"cpu_power", "temp"} <= keys:
        return "macmon"
    if keys & {"PowerControl", "Temperatures", "PowerWatts", "InputPowerWatts"}:
        return "redfish"
    return "redfish" if "@odata.type" in keys else "unknown"
