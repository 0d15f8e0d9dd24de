"""Keys are compared as hashes, and never repeated."""

import hashlib

import pytest

from metabolic.config import KeyTable
from metabolic.core.errors import Unauthorized
from metabolic.gateway.auth import ForeignOrigin, Keys, refuse_foreign_origin

KEY = "a-client-key"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()
KEYS = Keys((KeyTable(name="other", sha256="0" * 64), KeyTable(name="one", sha256=DIGEST.upper())))


def test_a_known_key_gives_its_tenant() -> None:
    assert KEYS.tenant({b"authorization": f"Bearer {KEY}".encode()}) == DIGEST[:16]
    assert KEYS.tenant({b"authorization": f"bearer {KEY}".encode()}) == DIGEST[:16]


@pytest.mark.parametrize(
    "header", [b"", b"Bearer", b"Bearer ", b"Basic YTpi", b"a-client-key", b"Bearer a-client-kez"]
)
def test_any_other_key_is_refused_without_being_repeated(header: bytes) -> None:
    with pytest.raises(Unauthorized) as caught:
        KEYS.tenant({b"authorization": header} if header else {})
    assert caught.value.status == 401
    assert "a-client" not in str(caught.value)


def test_the_hash_itself_is_no_key() -> None:
    with pytest.raises(Unauthorized):
        KEYS.tenant({b"authorization": f"Bearer {DIGEST}".encode()})


def test_without_keys_everyone_is_let_in_and_nobody_is_a_tenant() -> None:
    assert not Keys()
    assert Keys().tenant({b"authorization": b"Bearer whatever"}) is None


@pytest.mark.parametrize(
    "origin", [None, b"http://localhost:3000", b"http://127.0.0.1", b"http://[::1]:8080"]
)
def test_pages_of_this_machine_may_ask_without_a_key(origin: bytes | None) -> None:
    refuse_foreign_origin({} if origin is None else {b"origin": origin})


@pytest.mark.parametrize(
    "origin",
    [b"https://evil.example", b"null", b"http://localhost.evil.example", b"http://[", b"\xff"],
)
def test_other_pages_may_not(origin: bytes) -> None:
    with pytest.raises(ForeignOrigin) as caught:
        refuse_foreign_origin({b"origin": origin})
    assert caught.value.status == 403
