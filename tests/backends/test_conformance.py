"""The fake and the OpenAI backend keep the contract, on both transports and over TLS."""

import ssl
from pathlib import Path
from typing import Any

import pytest

from metabolic.backends import fake, openai
from metabolic.core.errors import Unreachable
from metabolic.core.fleet import Endpoint
from metabolic.testing.backends import check_backend
from metabolic.testing.fakeserver import FakeServer

pytestmark = pytest.mark.anyio


def endpoint_of(server: FakeServer, *, api_key: str | None = "key-1", model: str = "m") -> Endpoint:
    return Endpoint(deployment="d", base_url=server.base_url, model=model, api_key=api_key)


async def test_the_fake_backend_conforms() -> None:
    endpoint = Endpoint(deployment="d", base_url="", model="m")
    await check_backend(fake.create(fake.Options(), endpoint=endpoint))


@pytest.mark.parametrize("transport", ["raw", "aiohttp"])
async def test_the_openai_backend_conforms(transport: Any) -> None:
    async with FakeServer(api_key="key-1") as server:
        options = openai.Options(transport=transport)
        await check_backend(openai.create(options, endpoint=endpoint_of(server)))
    assert all(seen.header("authorization") == "Bearer key-1" for seen in server.seen)
    assert server.seen[1].header("host") == f"127.0.0.1:{server.port}"


async def test_the_check_finds_a_backend_that_breaks_the_contract() -> None:
    silent = fake.FakeBackend(fake.Options(answer=""))
    with pytest.raises(AssertionError, match="says something"):
        await check_backend(silent)


async def test_https_is_verified_and_works(tls: tuple[ssl.SSLContext, Path]) -> None:
    context, authority = tls
    async with FakeServer(tls=context) as server:
        trusting = openai.Options(ca_file=str(authority))
        await check_backend(openai.create(trusting, endpoint=endpoint_of(server)))
        lax = openai.create(openai.Options(verify_tls=False), endpoint=endpoint_of(server))
        assert await lax.healthy()
        await lax.aclose()
        strict = openai.create(openai.Options(), endpoint=endpoint_of(server))
        assert not await strict.healthy()
        with pytest.raises(Unreachable, match="certificate"):
            await strict._transport.fetch("GET", "/health")
        await strict.aclose()
