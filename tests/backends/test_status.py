"""Statuses become errors; nothing an upstream said gets into a message."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabolic.backends.status import error_in_band, failure, retry_after_s
from metabolic.core.errors import BackendError, BadReply, Overloaded, Refused, TimedOut

NOW_S = 1_700_000_000.0


def fail(status: int, body: bytes = b"", headers: Any = (), secret: str | None = None) -> Any:
    return failure(status, headers, body, secret=secret, now_s=NOW_S)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Refused),
        (403, Refused),
        (413, Refused),
        (422, Refused),
        (401, BadReply),
        (404, BadReply),
        (407, BadReply),
        (408, TimedOut),
        (504, TimedOut),
        (429, Overloaded),
        (503, Overloaded),
        (529, Overloaded),
        (500, BadReply),
        (302, BadReply),
        (204, BadReply),
    ],
)
def test_a_status_is_an_error(status: int, kind: Any) -> None:
    assert type(fail(status)) is kind
    assert str(status) in str(fail(status))


def test_a_message_holds_a_code_but_no_text() -> None:
    body = b'{"error":{"message":"your prompt was: secret","code":"context_length_exceeded"}}'
    assert str(fail(400, body)) == "the deployment answered 400 (context_length_exceeded)"
    for odd in (
        b'{"error":{"code":"sk-abc"}}',
        b'{"error":{"code":"a b"}}',
        b'{"error":"x"}',
        b"<",
    ):
        assert str(fail(400, odd)) == "the deployment answered 400"


def test_a_refusals_body_is_passed_on_without_the_key_and_within_bounds() -> None:
    assert fail(400, b"bad key sk-1!", secret="sk-1").body == b"bad key [redacted]!"
    assert fail(400, b"x" * 70_000).body == b""


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ((), None),
        (((b"retry-after", b"7"),), 7.0),
        (((b"retry-after", b"1.5"),), 1.5),
        (((b"retry-after", b"-3"),), 0.0),
        (((b"retry-after", b"inf"),), None),
        (((b"retry-after", b"nan"),), None),
        (((b"retry-after", b"soon"),), None),
        (((b"retry-after", b"9999999"),), 86_400.0),
        (((b"retry-after-ms", b"250"), (b"retry-after", b"1")), 0.25),
        (((b"retry-after", b"Tue, 14 Nov 2023 22:13:50 GMT"),), 30.0),
        (((b"retry-after", b"Tue, 14 Nov 2023 22:13:50 -0000"),), 30.0),
        (((b"retry-after", b"Tue, 14 Nov 2023 22:00:00 GMT"),), 0.0),
    ],
)
def test_retry_after_is_read_in_every_form(headers: Any, seconds: float | None) -> None:
    assert retry_after_s(headers, now_s=NOW_S) == seconds


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (b'{"code":429}', Overloaded),
        (b'{"code":"503"}', Overloaded),
        (b'{"code":400,"message":"x"}', Refused),
        (b'{"type":"rate_limit_error"}', Overloaded),
        (b'{"code":"boom"}', BadReply),
        (b'{"code":7}', BadReply),
        (b'"text"', BadReply),
    ],
)
def test_an_error_in_the_answer_is_an_error(error: bytes, kind: Any) -> None:
    assert type(error_in_band(error, secret=None)) is kind


@given(st.integers(300, 599), st.binary(), st.binary(max_size=40))
def test_whatever_an_upstream_sends_is_a_backend_error(
    status: int, body: bytes, value: bytes
) -> None:
    assert isinstance(fail(status, body, ((b"retry-after", value),)), BackendError)


def test_geminis_list_of_one_error_says_when_to_come_again() -> None:
    body = b'[{"error":{"code":429,"details":[{"retryDelay": "34.5s"}]}}]'
    error = failure(429, (), body, secret=None, now_s=0.0)
    assert isinstance(error, Overloaded)
    assert error.retry_after_s == 34.5


def test_a_header_goes_before_what_the_body_says_of_waiting() -> None:
    body = b'{"error":{"details":[{"retryDelay":"34s"}]}}'
    error = failure(429, ((b"retry-after", b"2"),), body, secret=None, now_s=0.0)
    assert isinstance(error, Overloaded)
    assert error.retry_after_s == 2.0


def test_tgis_word_stands_beside_its_text() -> None:
    body = b'{"error":"Input validation error: too long","error_type":"validation"}'
    error = failure(422, (), body, secret=None, now_s=0.0)
    assert isinstance(error, Refused)
    assert (str(error), error.said) == ("the deployment answered 422 (validation)", "validation")
