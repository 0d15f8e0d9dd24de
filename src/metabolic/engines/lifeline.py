"""What ties a child process to its parent, so that no engine outlives the gateway.

Runs in the child, before anything heavy. Two ties, either is enough:

- On Linux the kernel kills the child when the parent's thread that started it dies
  (``PR_SET_PDEATHSIG``), even by SIGKILL and even while native code holds the interpreter.
- Everywhere the child reads its standard input, a pipe of which the parent holds the other end:
  it ends when the parent does.

The first line of that pipe carries the API key, which so is in no argument list and no
environment. What the child has to say, it says in one line of JSON on the descriptor that was its
standard output; anything else that prints goes to standard error, the log.
"""

__all__ = ["announce", "claim_stdout", "first_line", "hold", "watch"]

import ctypes
import json
import os
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1
"""Source: prctl(2), include/uapi/linux/prctl.h."""

_STDIN = 0
_STDOUT = 1
_STDERR = 2
_ORPHANED = 3


def hold(*, parent: int) -> None:
    """Die with the process ``parent``, which must have started this one."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the kernel was asked to watch
        os._exit(_ORPHANED)


def first_line(descriptor: int = _STDIN) -> str:
    """Return the first line of the pipe, without its end; unbuffered, so nothing else is eaten."""
    line = bytearray()
    while (char := os.read(descriptor, 1)) not in {b"", b"\n"}:
        line += char
    return line.decode()


def claim_stdout() -> int:
    """Return a descriptor for ``announce``; from now on standard output goes to the log."""
    kept = os.dup(_STDOUT)
    os.dup2(_STDERR, _STDOUT)
    return kept


def announce(descriptor: int, **facts: object) -> None:
    """Tell the parent, in one line of JSON."""
    os.write(descriptor, json.dumps(facts).encode() + b"\n")


def watch(descriptor: int = _STDIN) -> threading.Thread:
    """Begin to read the pipe in a thread; the process exits at once when it ends."""

    def read() -> None:
        while os.read(descriptor, 4096):
            pass
        os._exit(0)

    thread = threading.Thread(target=read, name="lifeline", daemon=True)
    thread.start()
    return thread
