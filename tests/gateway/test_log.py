"""Log lines are whole, batched, and flushed when it matters."""

import io
import logging

from metabolic.config import Config
from metabolic.gateway import log
from metabolic.gateway.redact import Redactor


def record(level: int = logging.INFO, **extra: object) -> logging.LogRecord:
    made = logging.getLogger("metabolic.test").makeRecord(
        "metabolic.test", level, "", 0, "said %s", ("it",), None, extra=extra
    )
    made.created, made.msecs = 1_700_000_000.25, 250.0
    return made


def test_a_line_says_when_how_bad_who_and_what():
    line = log.RedactingFormatter(Redactor()).format(record(id="mr-1", ms=1.5))
    assert line == "2023-11-14T22:13:20.250Z INFO metabolic.test said it id=mr-1 ms=1.5"


def test_lines_leave_together_and_a_warning_leaves_at_once():
    out = io.StringIO()
    handler = log.BatchHandler(out)
    handler.setFormatter(log.RedactingFormatter(Redactor()))
    handler.emit(record())
    handler.emit(record())
    assert out.getvalue() == ""
    handler.flush()
    assert out.getvalue().count("\n") == 2
    handler.flush()
    assert out.getvalue().count("\n") == 2
    handler.emit(record())
    handler.emit(record(logging.WARNING))
    assert out.getvalue().count("\n") == 4


def test_very_many_lines_do_not_wait_for_a_flush():
    out = io.StringIO()
    handler = log.BatchHandler(out)
    for _ in range(1000):
        handler.emit(record())
    assert out.getvalue().count("\n") >= 512


def test_the_configured_level_holds():
    root, before = logging.getLogger(), list(logging.getLogger().handlers)
    flags = logging.logThreads, logging.logProcesses, logging.logMultiprocessing
    try:
        handler = log.configure(Config())
        assert root.handlers == [handler]
        assert root.level == logging.INFO
        assert logging.getLogger("uvicorn.error").level == logging.WARNING
    finally:
        root.handlers[:] = before
        root.setLevel(logging.WARNING)
        logging.logThreads, logging.logProcesses, logging.logMultiprocessing = flags
