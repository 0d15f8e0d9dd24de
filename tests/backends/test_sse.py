"""Events come out whole however the bytes were cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.backends.sse import Splitter, data_of


def events_of(*parts: bytes) -> list[bytes]:
    splitter = Splitter()
    return [event for part in parts for event, _ in splitter.feed(part)]


def test_events_end_with_an_empty_line() -> None:
    assert events_of(b"data: a\n\ndata: b\n\nda") == [b"data: a\n\n", b"data: b\n\n"]
    assert events_of(b"data: a\n", b"\n") == [b"data: a\n\n"]
    assert events_of(b"\n\n\n\ndata: a\n\n\n\n") == [b"data: a\n\n"]


@pytest.mark.parametrize(
    "text",
    [b"data: a\r\n\r\ndata: b\r\n\r\n", b"data: a\r\rdata: b\r\r\n", b"data: a\n\r\ndata: b\r\n\n"],
)
def test_lines_may_end_in_any_way(text: bytes) -> None:
    found = events_of(text)
    assert [data_of(event) for event in found] == [b"a", b"b"]


def test_what_is_unfinished_is_held_and_given_at_the_end() -> None:
    splitter = Splitter()
    assert splitter.feed(b"data: a") == []
    assert splitter.pending_bytes == 7
    assert splitter.finish() == b"data: a"
    assert splitter.finish() == b""


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"data: a\n\n", b"a"),
        (b"data:a\n\n", b"a"),
        (b"data:  a\n\n", b" a"),
        (b"data: a\ndata: b\n\n", b"a\nb"),
        (b"event: x\nid: 3\ndata: a\n\n", b"a"),
        (b": data: comment\n\n", None),
        (b"event: x\n\n", None),
        (b"data\n\n", b""),
        (b'error: {"code":500}\n\n', b'{"error":{"code":500}}'),
        (b'error: {"error":{}}\n\n', b'{"error":{}}'),
    ],
)
def test_data_is_found(event: bytes, data: bytes | None) -> None:
    assert data_of(event) == data


LINES = st.sampled_from([b"\n", b"\r\n"])
TEXTS = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=8)


@given(st.lists(TEXTS, max_size=5), LINES, st.lists(st.integers(0, 60), max_size=6))
def test_cutting_never_matters(texts: list[str], end: bytes, cuts: list[int]) -> None:
    events = [b"data: " + text.encode() + end + end for text in texts]
    stream = b"".join(events)
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    parts = [stream[start:stop] for start, stop in pairwise(edges)]
    splitter = Splitter()
    found = [pair for part in parts for pair in splitter.feed(part)]
    assert b"".join(event for event, _ in found) + splitter.finish() == stream
    assert [data for _, data in found] == [text.encode() for text in texts]
