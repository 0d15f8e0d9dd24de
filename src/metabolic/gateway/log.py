"""The gateway's log: one line a record, nothing secret, written in batches.

A request must not wait for a write: lines are kept for a tenth of a second, or until a warning
comes, and then leave together.
"""

__all__ = [
    "BatchHandler",
    "RedactingFormatter",
    "RequestLines",
    "Stamp",
    "configure",
    "record_request",
]

import logging
import sys
import time
from collections.abc import Callable
from itertools import islice
from typing import TextIO

from metabolic.config import Config
from metabolic.core.receipt import Receipt
from metabolic.gateway.redact import Redactor, secrets_of

_log = logging.getLogger("metabolic.gateway")

_Late = tuple[Callable[[float, Receipt, int, float], str], float, Receipt, int, float]
"""What makes a line, and of what."""

_MOST_LINES = 128


class Stamp:
    """Writes times as ``2023-11-14T22:13:20.250Z``; most of a time is that of the one before."""

    __slots__ = ("_second", "_text")

    def __init__(self) -> None:
        """Begin with no time."""
        self._second, self._text = -1, ""

    def __call__(self, at_s: float, milliseconds: int) -> str:
        """Return a time in seconds since the epoch, and its milliseconds, as text."""
        second = int(at_s)
        if second != self._second:
            self._second = second
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._text}.{milliseconds:03d}Z"


class RedactingFormatter(logging.Formatter):
    """Writes ``time level logger message key=value …``; tracebacks follow, without secrets too.

    Fields given as ``extra`` stand in the order in which they were given. Times are UTC.
    """

    def __init__(self, redact: Redactor) -> None:
        """Keep what redacts."""
        super().__init__()
        self.redact = redact
        self._stamp = Stamp()

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and what follows it."""
        parts = [
            self._stamp(record.created, int(record.msecs)),
            record.levelname,
            record.name,
            record.getMessage(),
        ]
        # What came in as ``extra`` stands behind what every record has.
        for name, value in islice(record.__dict__.items(), _STANDARD, None):
            parts.append(f"{name}={value}")
        line = " ".join(parts)
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            line += "\n" + record.exc_text
        return self.redact(line)


class BatchHandler(logging.Handler):
    """Keeps lines and writes them together; ``flush`` is to be called now and then."""

    def __init__(self, out: TextIO) -> None:
        """Write to ``out``."""
        super().__init__()
        self._out = out
        self._lines: list[str | _Late] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line; a warning, or very many lines, are written at once."""
        self._lines.append(self.format(record))
        if record.levelno >= logging.WARNING or len(self._lines) >= _MOST_LINES:
            self.flush()

    def keep(self, line: str | _Late) -> None:
        """Keep a line that is without secrets, or what makes it when it is written."""
        lines = self._lines
        lines.append(line)
        if len(lines) >= _MOST_LINES:
            self.flush()

    def flush(self) -> None:
        """Write what is kept; the list stays, so that no thread appends to one that was left."""
        self.acquire()
        try:
            lines = self._lines
            if count := len(lines):
                text = [
                    line if isinstance(line, str) else line[0](*line[1:]) for line in lines[:count]
                ]
                text.append("")
                del lines[:count]
                self._out.write("\n".join(text))
                self._out.flush()
        finally:
            self.release()


class RequestLines:
    """Writes the line of a routed request as the formatter would, at a tenth of its cost.

    A ``LogRecord`` on its way through filters, handlers, a lock and the formatter takes 20 µs.
    Lines are made together when they are written: code that runs many times in a row costs half.
    Nothing in the line comes from a client; names of deployments are redacted once each.
    """

    __slots__ = ("_handler", "_named", "_redact", "_stamp")

    def __init__(self, handler: BatchHandler, redact: Redactor) -> None:
        """Write to ``handler``."""
        self._handler, self._redact, self._stamp = handler, redact, Stamp()
        self._named: dict[str | None, str | None] = {None: None}

    def __call__(self, receipt: Receipt, status: int, seconds: float) -> None:
        """Write what became of a request after ``seconds``."""
        self._handler.keep((self._line, time.time(), receipt, status, seconds))

    def _line(self, at_s: float, receipt: Receipt, status: int, seconds: float) -> str:
        """Return the line of a request that ended at ``at_s``."""
        answer, energy = receipt.answer, receipt.energy
        if answer is None:
            chosen, escalations = None, 0
        else:
            escalations, chosen = answer.escalations, self._named.get(answer.deployment)
            if chosen is None:
                chosen = self._named[answer.deployment] = self._redact(answer.deployment)
        energy_j = None if energy is None else round(energy.energy_j, 3)
        return (
            f"{self._stamp(at_s, int(at_s % 1 * 1000))} INFO metabolic.gateway request"
            f" id={receipt.id} status={status} chosen={chosen} escalations={escalations}"
            f" ms={round(seconds * 1000, 1)} energy_j={energy_j}"
        )


def record_request(receipt: Receipt, status: int, seconds: float) -> None:
    """Log what became of a request after ``seconds``, by way of ``logging``."""
    answer, energy = receipt.answer, receipt.energy
    fields = {
        "id": receipt.id,
        "status": status,
        "chosen": answer.deployment if answer else None,
        "escalations": answer.escalations if answer else 0,
        "ms": round(seconds * 1000, 1),
        "energy_j": round(energy.energy_j, 3) if energy else None,
    }
    _log.info("request", extra=fields)


def configure(config: Config) -> BatchHandler:
    """Log to standard error at the configured level; return the handler, to be flushed."""
    handler = BatchHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter(Redactor(secrets_of(config))))
    logging.basicConfig(level=config.server.log_level.upper(), handlers=[handler], force=True)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    # Nothing shows these; each costs a system call or a look-up for every record.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    return handler


_STANDARD = len(logging.LogRecord("", 0, "", 0, "", (), None).__dict__)
"""How many attributes every record has before ``extra``."""
