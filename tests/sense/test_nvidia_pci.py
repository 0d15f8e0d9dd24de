"""Who sleeps, by the kernel's files."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from metabolic.sense.nvidia_pci import NvidiaPci, PciGpu, bus_of

Write = Callable[[Mapping[str, str]], Path]
DEVICES = "sys/bus/pci/devices/"


def card(bus: str, *, status: str = "active", control: str = "auto") -> dict[str, str]:
    folder = f"{DEVICES}{bus}/"
    return {
        folder + "vendor": "0x10de\n",
        folder + "class": "0x030000\n",
        folder + "power/runtime_status": status + "\n",
        folder + "power/control": control + "\n",
    }


def read(root: Path) -> tuple[PciGpu, ...]:
    pci = NvidiaPci(str(root))
    pci.scan()
    found = pci.read()
    pci.close()
    return found


@pytest.mark.parametrize(
    ("status", "control", "asleep", "may_sleep"),
    [
        ("suspended", "auto", True, True),
        ("suspending", "auto", True, True),
        ("active", "auto", False, True),
        ("active", "on", False, False),
        ("resuming", "auto", False, False),
        ("unsupported", "auto", False, False),
        ("error", "on", False, False),
    ],
)
def test_states(write: Write, status: str, control: str, *, asleep: bool, may_sleep: bool) -> None:
    root = write(card("0000:01:00.0", status=status, control=control))
    assert read(root) == (PciGpu(bus="0000:01:00.0", asleep=asleep, may_sleep=may_sleep),)


def test_only_nvidia_gpus_count_in_the_order_of_the_bus(write: Write) -> None:
    root = write(
        card("0000:0c:00.0")
        | card("0000:01:00.0")
        | {f"{DEVICES}0000:01:00.1/vendor": "0x10de", f"{DEVICES}0000:01:00.1/class": "0x040300"}
        | {f"{DEVICES}0000:02:00.0/vendor": "0x1002", f"{DEVICES}0000:02:00.0/class": "0x030000"}
    )
    assert [gpu.bus for gpu in read(root)] == ["0000:01:00.0", "0000:0c:00.0"]


def test_a_state_is_read_anew_each_time_and_a_machine_without_a_bus_has_none(
    write: Write, tmp_path: Path
) -> None:
    root = write(card("0000:01:00.0"))
    pci = NvidiaPci(str(root))
    assert pci.scan() == 1
    assert [gpu.asleep for gpu in pci.read()] == [False]
    write(card("0000:01:00.0", status="suspended"))
    assert [gpu.asleep for gpu in pci.read()] == [True]
    assert read(tmp_path / "nothing") == ()


def test_an_address_has_one_spelling() -> None:
    assert bus_of("00000000:0C:00.0") == bus_of("0000:0c:00.0") == "0000:0c:00.0"
    assert bus_of("00010000:3B:00.0") == "10000:3b:00.0"
    assert bus_of("GPU-1") == "gpu-1"
