"""Log lines are whole, batched, and flushed when it matters."""

import io
import logging
import threading

import pytest

from metabolic.config import Config
from metabolic.core.attempt import Answer
from metabolic.core.request import Ask
from metabolic.gateway import log
from metabolic.gateway.redact import Redactor
from metabolic.testing.runtime import fake_record


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


@pytest.mark.parametrize("answer", [None, Answer(call="c0", deployment="small", escalations=2)])
def test_the_short_way_writes_the_line_that_logging_would(
    answer: Answer | None, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "metabolic.gateway")
    receipt = fake_record(Ask(id="mr-1", at_s=1.0), answer).receipt
    log.record_request(receipt, 200, 0.01234)
    (made,) = caplog.records
    del made.message  # which pytest's own formatter has left there
    out = io.StringIO()
    handler = log.BatchHandler(out)
    log.RequestLines(handler, Redactor())(receipt, 200, 0.01234)
    handler.flush()
    (line,) = out.getvalue().splitlines()
    wanted = log.RedactingFormatter(Redactor()).format(made)
    assert line.partition(" ")[2] == wanted.partition(" ")[2]
    assert len(line) == len(wanted)


def test_the_short_way_redacts_names():
    out = io.StringIO()
    handler = log.BatchHandler(out)
    say = log.RequestLines(handler, Redactor(["hush-hush"]))
    for _ in range(2):
        answer = Answer(call="c0", deployment="hush-hush")
        say(fake_record(Ask(id="mr-1", at_s=1.0), answer).receipt, 200, 0.0)
    handler.flush()
    assert out.getvalue().count("chosen=[redacted]") == 2


def test_no_line_is_lost_to_a_flush_from_another_thread():
    out = io.StringIO()
    handler = log.BatchHandler(out)
    done = threading.Event()

    def flush() -> None:
        while not done.is_set():
            handler.flush()

    thread = threading.Thread(target=flush)
    thread.start()
    for number in range(20_000):
        handler.keep(f"line {number}")
    done.set()
    thread.join()
    handler.flush()
    assert out.getvalue().splitlines() == [f"line {number}" for number in range(20_000)]
