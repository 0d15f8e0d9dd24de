"""How the OpenAI backend is made: addresses, headers, transports, secrets."""

from typing import Any

import pytest

from metabolic.backends.aio import AioTransport
from metabolic.backends.openai import Options, create
from metabolic.backends.rawhttp import RawTransport
from metabolic.backends.transport import Link, header, target
from metabolic.core.errors import ConfigError
from metabolic.core.fleet import Endpoint, Variant
from metabolic.testing.fakeserver import FakeServer

KEY = "sk-very-secret"


def made(base_url: str = "http://127.0.0.1:1", api_key: str | None = KEY, **options: Any) -> Any:
    endpoint = Endpoint(deployment="d", base_url=base_url, model="m", api_key=api_key)
    return create(Options(**options), endpoint=endpoint)


@pytest.mark.parametrize(
    ("url", "prefix", "host", "port"),
    [
        ("http://127.0.0.1:8080", "/v1", "127.0.0.1", 8080),
        ("http://localhost/", "/v1", "localhost", 80),
        ("https://api.example.com/openai/v1/", "/openai/v1", "api.example.com", 443),
        ("http://[::1]:9/v1", "/v1", "::1", 9),
    ],
)
def test_a_base_url_is_what_openai_clients_take(
    url: str, prefix: str, host: str, port: int
) -> None:
    found = target(url)
    assert (found.prefix, found.host, found.port) == (prefix, host, port)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:80",
        "ftp://a",
        "http://",
        "http://a:b",
        "http://u:p@a",
        "http://a?key=1",
        "http://a/#x",
        "http://a\r\nx: y",
        "http://a b",
        "http://[::1",
    ],
)
def test_what_is_no_base_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigError, match=r"base_url") as caught:
        target(url)
    assert "p@a" not in str(caught.value)


def test_the_transport_follows_from_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert isinstance(made()._transport, RawTransport)
    assert isinstance(made("https://example.com")._transport, AioTransport)
    assert isinstance(made(transport="aiohttp")._transport, AioTransport)
    assert isinstance(made("http://example.com", proxy="http://p:1")._transport, AioTransport)
    with pytest.raises(ConfigError, match="https"):
        made("https://example.com", transport="raw")


def test_the_environments_proxy_is_used_but_not_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    assert isinstance(made("http://gpu-box:8000")._transport, AioTransport)
    assert isinstance(made("http://gpu-box:8000", proxy="")._transport, RawTransport)
    assert isinstance(made("http://127.0.0.1:8000")._transport, RawTransport)
    monkeypatch.setenv("no_proxy", "gpu-box")
    assert isinstance(made("http://gpu-box:8000")._transport, RawTransport)


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"Authorization": "x"}},
        {"headers": {"connection": "close"}},
        {"headers": {"x y": "z"}},
        {"headers": {"": "z"}},
        {"headers": {"x": "a\r\nevil: b"}},
        {"headers": {"x": "\x00"}},
        {"api_key": "sk\r\nevil: b"},
        {"base_url": "https://a", "ca_file": "/nowhere.pem"},
    ],
)
def test_headers_that_could_smuggle_are_refused(options: Any) -> None:
    with pytest.raises(ConfigError):
        made(**options)


def test_no_secret_is_ever_shown() -> None:
    options = Options(headers={"x-key": KEY}, proxy=f"http://u:{KEY}@p:1")
    endpoint = Endpoint(deployment="d", base_url="http://a", model="m", api_key=KEY)
    backend = create(options, endpoint=endpoint)
    link = Link(target=target("http://a"), headers=(("authorization", KEY),))
    for thing in (options, endpoint, backend, link, backend._transport):
        assert KEY not in repr(thing)


def test_a_header_is_found_by_its_name() -> None:
    headers = ((b"a", b"1"), (b"a", b"2"))
    assert header(headers, b"a") == b"1"
    assert header(headers, b"b") is None


@pytest.mark.anyio
async def test_own_headers_and_the_named_variant_go_out(ask: Any, call: Any) -> None:
    async with FakeServer() as server:
        backend = made(
            server.base_url,
            headers={"X-Title": "metabolic"},
            variants=(Variant(name="low", reasoning_effort="low"),),
        )
        await backend.complete(ask(), type(call)(id="c", stage=0, deployment="d", variant="low"))
        await backend.aclose()
    assert server.seen[0].header("x-title") == "metabolic"
    assert b'"reasoning_effort":"low"' in server.seen[0].body
