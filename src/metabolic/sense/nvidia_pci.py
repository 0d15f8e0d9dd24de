"""NVIDIA GPUs on the PCI bus as the kernel sees them, and whether they are asleep.

Asking a laptop's sleeping GPU anything wakes it, even by opening the library; and an open library
keeps it awake (5 to 7 W). The kernel's own files say how it is without touching it.
Source: the kernel's documentation of ``power/runtime_status`` and ``power/control``.
"""

__all__ = ["NvidiaPci", "PciGpu", "bus_of"]

from msgspec import Struct

from metabolic.sense.files import Folder, KernelFile

_VENDOR = "0x10de"
_DISPLAY_CLASS = "0x03"
_ASLEEP = frozenset({"suspended", "suspending"})


class PciGpu(Struct, frozen=True, kw_only=True):
    """One GPU: its address, whether it is asleep, and whether it would be if left alone."""

    bus: str
    asleep: bool
    may_sleep: bool


class _Files(Struct, frozen=True):
    """The files of one GPU."""

    bus: str
    status: KernelFile
    control: KernelFile


class NvidiaPci:
    """Watches the power states of all NVIDIA GPUs below a root."""

    def __init__(self, root: str) -> None:
        """Remember where; nothing is read yet."""
        self._folder = Folder(root, "sys/bus/pci/devices")
        self._found: tuple[_Files, ...] = ()

    def scan(self) -> int:
        """Look for GPUs anew and return how many there are."""
        self.close()
        self._found = tuple(
            _Files(bus_of(name), device.file("power/runtime_status"), device.file("power/control"))
            for name in self._folder.names()
            if _is_gpu(device := self._folder.sub(name))
        )
        return len(self._found)

    def read(self) -> tuple[PciGpu, ...]:
        """Return every GPU in the bus's order; empty where the kernel shows none."""
        return tuple(_state(files) for files in self._found)

    def close(self) -> None:
        """Close all files."""
        for files in self._found:
            files.status.close()
            files.control.close()
        self._found = ()


def bus_of(text: str) -> str:
    """Return a PCI address as one spelling: NVML writes eight digits of domain, the kernel four.

    >>> bus_of("00000000:0C:00.0")
    '0000:0c:00.0'
    """
    domain, _, rest = text.strip().lower().partition(":")
    try:
        return f"{int(domain, 16):04x}:{rest}"
    except ValueError:
        return text.strip().lower()


def _is_gpu(device: Folder) -> bool:
    """Say whether a device is one; ``vendor`` and ``class`` are known without waking it."""
    return device.text("vendor") == _VENDOR and (device.text("class") or "").startswith(
        _DISPLAY_CLASS
    )


def _state(files: _Files) -> PciGpu:
    """Return one GPU's state; what cannot be read is awake and stays so."""
    status, control = files.status.text(), files.control.text()
    asleep = status in _ASLEEP
    may_sleep = asleep or (control == "auto" and status == "active")
    return PciGpu(bus=files.bus, asleep=asleep, may_sleep=may_sleep)
