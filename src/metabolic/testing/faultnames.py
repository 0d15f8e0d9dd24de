"""The faults the fake server can commit, by the name after ``fault:`` in the model's name.

    by status          <status> (any) · 429 (Retry-After in seconds) · 429-date · 503-busy
                       400-context
    before an answer   late<ms> (then a healthy answer) · reset · reset-headers · garbage
                       giant-headers · giant-header · stall
                       html · empty · array · no-choices · early · redirect · upgrade · stall-error
                       continue (and then a healthy answer)
    in a whole answer  cut-body · short-length · long-length · drip · until-close · until-reset
                       huge
    in a stream        cut<k> · cutbytes<k> · resetat<k> · stall<k> · error-event · error-field
                       malformed · giant-event · no-done · no-finish · crlf · flood
    in either          content-filter
    after the answer   close-idle (closes without having said so) · linger (the body never ends)

``-once`` behind a name commits the fault at the first request for that model only, ``-x3`` at the
first three. ``#`` and anything behind it only tells models with the same fault apart.
"""

__all__ = ["FAULTS", "find", "times"]

from metabolic.testing.faults import (
    Fault,
    after,
    close_idle,
    crlf,
    cut,
    cut_bytes,
    drip,
    early,
    filtered,
    flood,
    giant_header,
    giant_headers,
    go_on,
    head,
    huge,
    late,
    linger,
    long_length,
    no_done,
    no_finish,
    refuse,
    reset,
    reset_headers,
    say,
    short_length,
    stall,
    too_many_date,
    until_close,
    until_reset,
)

_ERROR = b'{"error":{"message":"boom","type":"server_error","param":null,"code":500}}'

FAULTS: dict[str, Fault] = {
    "429": refuse(429, b"retry-after: 7\r\n"),
    "429-date": too_many_date,
    "503-busy": refuse(503, b"retry-after: 2\r\n"),
    "400-context": refuse(400, code=b'"context_length_exceeded"'),
    "array": say(head(200, length=2) + b"[]"),
    "close-idle": close_idle,
    "content-filter": filtered,
    "continue": go_on,
    "crlf": crlf,
    "cut-body": cut(3),
    "drip": drip,
    "early": early,
    "empty": say(head(200, length=0)),
    "error-event": after(3, b"data: " + _ERROR + b"\n\n"),
    "error-field": after(3, b"error: " + _ERROR[9:-1] + b"\n\n"),
    "flood": flood,
    "garbage": say(b"SSH-2.0-OpenSSH_9.6\r\n\r\n", close=True),
    "giant-event": after(3, b"data: " + b"x" * (8 << 20)),
    "giant-header": giant_header,
    "giant-headers": giant_headers,
    "html": say(head(200, b"content-type: text/html\r\n", length=9) + b"<p>hi</p>"),
    "huge": huge,
    "linger": linger,
    "long-length": long_length,
    "malformed": after(3, b'data: {"choices":[{"ind\n\n'),
    "no-choices": say(head(200, length=14) + b'{"choices":[]}'),
    "no-done": no_done,
    "no-finish": no_finish,
    "redirect": refuse(302, b"location: http://127.0.0.1:1/\r\n"),
    "reset": reset,
    "reset-headers": reset_headers,
    "short-length": short_length,
    "stall": stall,
    "until-close": until_close,
    "until-reset": until_reset,
    "stall-error": say(head(500, length=64)),
    "upgrade": say(b"HTTP/1.1 101 X\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
}
"""Faults by name; statuses, ``cut<k>`` and ``stall<k>`` are made by ``find``."""


def times(name: str) -> tuple[str, int | None]:
    """Return a fault's name without its ``-once`` or ``-x<k>``, and how often it is committed."""
    bare, _, last = name.rpartition("-")
    if last == "once":
        return bare, 1
    if bare and last.startswith("x") and last[1:].isdigit():
        return bare, int(last[1:])
    return name, None


def find(name: str) -> Fault | None:
    """Return the fault of this name (without how often); ``None`` when there is none."""
    if name in FAULTS:
        return FAULTS[name]
    if name.isdigit():
        return refuse(int(name))
    if (wait_ms := name.removeprefix("late")) != name and wait_ms.isdigit():
        return late(int(wait_ms) / 1000)
    if (count := name.removeprefix("cutbytes")) != name and count.isdigit():
        return cut_bytes(int(count))
    for prefix, then in (("cut", "close"), ("resetat", "reset"), ("stall", "wait")):
        count = name.removeprefix(prefix)
        if name.startswith(prefix) and count.isdigit():
            return cut(int(count), then=then)
    return None
