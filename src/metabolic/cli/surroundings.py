"""Where this process runs: in a container, in a virtual machine, or on the metal."""

__all__ = ["Surroundings", "surroundings"]

import re
from pathlib import Path

from msgspec import Struct

_CONTAINER = re.compile(r"/(docker|kubepods|containerd|libpod|lxc|podman)\b")
_MARKS = (".dockerenv", "run/.containerenv")
_VENDORS = ("qemu", "kvm", "vmware", "virtualbox", "xen", "microsoft corporation", "amazon ec2")
_GUESTS = (*_VENDORS, "google compute engine", "openstack", "parallels", "bhyve", "bochs")


class Surroundings(Struct, frozen=True, kw_only=True):
    """What stands between the process and the hardware; ``None`` is nothing that could be seen."""

    container: str | None = None
    hypervisor: str | None = None

    def said(self) -> str:
        """Return it in words, for people."""
        parts: list[str] = []
        if self.hypervisor is not None:
            parts.append(f"a virtual machine ({self.hypervisor})")
        if self.container is not None:
            parts.append(f"a container ({self.container})")
        return " in ".join(reversed(parts)) or "the machine itself, as far as can be seen"


def surroundings(root: str = "/") -> Surroundings:
    """Look for the marks that containers and hypervisors leave."""
    return Surroundings(container=_container(Path(root)), hypervisor=_hypervisor(Path(root)))


def _container(root: Path) -> str | None:
    """Return the kind of container by its mark, or by the first process's control group."""
    for mark in _MARKS:
        if (root / mark).exists():
            return mark.rpartition(".")[2]
    found = _CONTAINER.search(_text(root / "proc/1/cgroup"))
    return found[1] if found else None


def _hypervisor(root: Path) -> str | None:
    """Return the hypervisor by the firmware's names, else by the processor's flag."""
    if "microsoft" in _text(root / "proc/sys/kernel/osrelease").lower():
        return "WSL2"
    dmi = root / "sys/class/dmi/id"
    names = [_text(dmi / name).strip() for name in ("sys_vendor", "product_name")]
    for name in names:
        if any(word in name.lower() for word in _GUESTS) and "surface" not in names[1].lower():
            return name
    flags = re.search(r"^flags\s*:.*$", _text(root / "proc/cpuinfo"), re.MULTILINE)
    return "hypervisor" if flags and " hypervisor" in flags[0] else None


def _text(path: Path) -> str:
    """Return a small file's text; empty when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
