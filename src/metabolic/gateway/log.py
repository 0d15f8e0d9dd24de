"""The gateway's log: one line a record, nothing secret, written in batches.

A request must not wait for a write: lines are kept for a tenth of a second, or until a warning
comes, and then leave together.
"""

__all__ = ["BatchHandler", "RedactingFormatter", "configure"]

import logging
import sys
import time
from itertools import islice
from typing import TextIO

from metabolic.config import Config
from metabolic.gateway.redact import Redactor, secrets_of

_MOST_LINES = 512


class RedactingFormatter(logging.Formatter):
    """Writes ``time level logger message key=value …``; tracebacks follow, without secrets too.

    Fields given as ``extra`` stand in the order in which they were given. Times are UTC.
    """

    def __init__(self, redact: Redactor) -> None:
        """Keep what redacts."""
        super().__init__()
        self.redact = redact
        self._second = 0
        self._stamp = ""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and what follows it."""
        second = int(record.created)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        parts = [
            f"{self._stamp}.{int(record.msecs):03d}Z",
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
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line; a warning, or very many lines, are written at once."""
        self._lines.append(self.format(record))
        if record.levelno >= logging.WARNING or len(self._lines) >= _MOST_LINES:
            self.flush()

    def flush(self) -> None:
        """Write what is kept."""
        self.acquire()
        try:
            if self._lines:
                lines, self._lines = self._lines, []
                self._out.write("\n".join(lines) + "\n")
                self._out.flush()
        finally:
            self.release()


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
