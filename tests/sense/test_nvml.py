"""The real nvidia-ml-py on a library made for the test, one process a case."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed (extra nvidia)")

HERE = Path(__file__).parent
COMPILER = shutil.which("cc") or shutil.which("gcc")
LIBRARY = "libnvidia-ml.so.1"

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(COMPILER is None, reason="no C compiler to make the stub with"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the stub is an ELF library"),
]


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Compile the stub, as a driver of today and as an old one."""
    made: dict[str, Path] = {}
    for kind, flags in (("new", []), ("old", ["-DOLD"])):
        made[kind] = tmp_path_factory.mktemp(kind)
        command = [COMPILER or "cc", "-O1", "-shared", "-fPIC", f"-Wl,-soname,{LIBRARY}", *flags]
        output = ["-o", str(made[kind] / LIBRARY), str(HERE / "nvml_stub.c")]
        subprocess.run([*command, *output], check=True, timeout=60)
    return made


def run(case: str, library: Path, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(library),
        "NVML_STUB_STATE": str(tmp_path / "state"),
        "NVML_STUB_TRACE": str(tmp_path / "trace"),
    }
    (tmp_path / "root").mkdir()
    done = subprocess.run(
        [sys.executable, "-W", "error", str(HERE / "nvml_cases.py"), case],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "case",
    [
        "normal",
        "not_available",
        "zeros_are_not_thresholds",
        "hang",
        "driver_lost",
        "counter_backwards",
        "mig",
        "hot_unplug",
        "one_gpu_denied",
        "module_power",
        "asleep",
        "asleep_has_not_failed",
        "meter",
        "meter_idle_and_asleep",
    ],
)
def test_on_the_stub(case: str, libraries: dict[str, Path], tmp_path: Path) -> None:
    run(case, libraries["new"], tmp_path)


def test_an_old_driver_lacks_symbols(libraries: dict[str, Path], tmp_path: Path) -> None:
    run("old_driver", libraries["old"], tmp_path)


def test_without_a_driver_there_is_an_obstacle(tmp_path: Path) -> None:
    run("no_library", tmp_path, tmp_path)


def test_a_process_ends_while_the_driver_hangs(libraries: dict[str, Path], tmp_path: Path) -> None:
    began_s = time.monotonic()
    run("exit_while_hung", libraries["new"], tmp_path)
    assert time.monotonic() - began_s < 45
