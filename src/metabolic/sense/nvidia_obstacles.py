"""Why an NVIDIA GPU cannot be read, in words, and what to do about it."""

__all__ = ["has_driver", "hung", "is_container", "no_driver", "no_library", "recorded_root"]

from metabolic.core.obstacle import Obstacle
from metabolic.sense.files import Folder

_LOADED = 9
_LIBRARY = 12
_MISMATCH = 18
_PERMISSION = 4
_NO_GPU = frozenset({6, 28})

_RUN_WITH_GPU = 'start the container with its GPUs (docker run --gpus all, capability "utility")'
_INSTALL_DRIVER = "install NVIDIA's driver, or its utilities package (libnvidia-ml.so.1)"


def no_library(root: str, *, gpus: int) -> Obstacle:
    """Return why nvidia-ml-py is missing: it is not installed, which only matters with a GPU.

    ``gpus`` is how many NVIDIA GPUs the kernel shows below ``root``.
    """
    if not gpus and not has_driver(root):
        return _absent()
    what = "nvidia-ml-py is not installed, so the GPU's driver cannot be asked"
    return Obstacle(kind="library", what=what, remedy='pip install "metabolic[nvidia]"')


def no_driver(root: str, *, code: int, what: str, gpus: int) -> Obstacle:
    """Return why the driver does not answer, from NVML's ``code`` and its words ``what``."""
    if code in _NO_GPU or (code in {_LIBRARY, _LOADED} and not gpus and not has_driver(root)):
        return _absent()
    if code == _PERMISSION:
        remedy = "allow this user to read and write /dev/nvidiactl and /dev/nvidia0"
        return Obstacle(kind="permission", what=what, remedy=remedy)
    if code == _MISMATCH:
        remedy = "the driver was updated while loaded: restart the machine"
        return Obstacle(kind="driver", what=what, remedy=remedy)
    if code in {_LIBRARY, _LOADED} and is_container(root):
        return Obstacle(kind="container", what=what, remedy=_RUN_WITH_GPU)
    remedy = _INSTALL_DRIVER if code == _LIBRARY else ""
    if code == _LOADED:
        remedy = "load the kernel module (modprobe nvidia), or see dmesg for why it does not load"
    return Obstacle(kind="driver", what=what, remedy=remedy)


def hung(problem: Obstacle | None) -> Obstacle | None:
    """Return a problem with what to do about it, if it is that the driver hangs."""
    if problem is None or problem.kind != "stale":
        return problem
    remedy = "see dmesg for NVRM and Xid; a driver that stays like this needs a restart"
    return Obstacle(kind="stale", what=problem.what, remedy=remedy)


def recorded_root(root: str) -> Obstacle:
    """Return that a driver is not asked while another machine's files are read."""
    what = f"{root} is another machine's files; the driver of this one is left alone"
    return Obstacle(kind="configuration", what=what)


def has_driver(root: str) -> bool:
    """Say whether NVIDIA's kernel driver is loaded, or Windows lends its GPU to this Linux."""
    return (
        Folder(root, "proc/driver/nvidia").exists("version")
        or Folder(root, "dev").exists("nvidiactl")
        or Folder(root, "usr/lib/wsl/lib").exists("libnvidia-ml.so.1")
    )


def is_container(root: str) -> bool:
    """Say whether this is a container, by the files its makers leave."""
    top = root.rstrip("/") or ""
    return Folder(top or "/").exists(".dockerenv") or Folder(top + "/run").exists(".containerenv")


def _absent() -> Obstacle:
    """Return that there is no GPU."""
    return Obstacle(kind="absent", what="no NVIDIA GPU here")
